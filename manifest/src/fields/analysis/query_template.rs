//! Queries of MetricTemplates: the part of Go's templates that Flagger's documentation uses, and nothing else.
//!
//! `{{ name }}` and the other values of [`Values`], `{{ variables.key }}` and `{{ index variables "key" }}`. White space
//! inside the braces is free; `{{-` and `-}}` take away the white space outside, as in Go, where the minus must be
//! followed (preceded) by white space. Functions, pipes and conditions are errors that say where they are.

use std::collections::BTreeMap;

use thiserror::Error;

/// What a query may name.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The canary's name.
    pub name: &'a str,
    /// The version's name; `canary` where there are not several.
    pub version: &'a str,
    /// The canary's namespace.
    pub namespace: &'a str,
    /// Name of the target (`targetRef`).
    pub target: &'a str,
    /// Name of the service.
    pub service: &'a str,
    /// Name of the ingress.
    pub ingress: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// The metric's window, as it is written in queries (`1m`).
    pub interval: &'a str,
    /// The metric's `templateVariables`.
    pub variables: &'a BTreeMap<String, String>,
}

/// A template that cannot be filled in; line and column are counted from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct TemplateError {
    /// Where in the template.
    pub line: usize,
    /// Where in that line.
    pub column: usize,
    /// What is wrong, and what is allowed there.
    pub reason: String,
}

/// The query with every `{{ … }}` replaced.
///
/// # Errors
/// When braces are not closed, they hold something other than a known name, or a variable is not given.
pub fn render(template: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let mut query = String::with_capacity(template.len());
    let mut rest = template;
    // Whether the action before said `-}}`.
    let mut trim = false;
    while let Some((text, after)) = rest.split_once("{{") {
        let error = |reason: String| at(template, template.len() - after.len() - 2, reason);
        let (action, behind) = after.split_once("}}").ok_or_else(|| error("{{ is not closed by }}".into()))?;
        let action = Action::read(action);
        let text = if trim { text.trim_start() } else { text };
        query.push_str(if action.trims_before { text.trim_end() } else { text });
        query.push_str(value(action.inner, values).map_err(error)?);
        trim = action.trims_after;
        rest = behind;
    }
    query.push_str(if trim { rest.trim_start() } else { rest });
    Ok(query)
}

struct Action<'a> {
    inner: &'a str,
    trims_before: bool,
    trims_after: bool,
}

impl<'a> Action<'a> {
    fn read(action: &'a str) -> Self {
        let before = action.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace));
        let inner = before.unwrap_or(action);
        let after = inner.strip_suffix('-').filter(|rest| rest.ends_with(char::is_whitespace));
        let (trims_before, trims_after) = (before.is_some(), after.is_some());
        Self { inner: after.unwrap_or(inner).trim(), trims_before, trims_after }
    }
}

fn value<'v>(inner: &str, values: &Values<'v>) -> Result<&'v str, String> {
    match inner {
        "name" => Ok(values.name),
        "version" => Ok(values.version),
        "namespace" => Ok(values.namespace),
        "target" => Ok(values.target),
        "service" => Ok(values.service),
        "ingress" => Ok(values.ingress),
        "route" => Ok(values.route),
        "interval" => Ok(values.interval),
        _ => {
            let key = variable(inner).ok_or_else(|| unknown(inner))?;
            values.variables.get(key).map(String::as_str).ok_or_else(|| missing(key, values.variables))
        }
    }
}

/// The key of `variables.key` or `index variables "key"`.
fn variable(inner: &str) -> Option<&str> {
    if let Some(key) = inner.strip_prefix("variables.") {
        // What Go takes for a name; any other key needs `index`.
        let is_name = key.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && key.chars().all(|c| c.is_alphanumeric() || c == '_');
        return is_name.then_some(key);
    }
    let rest = inner.strip_prefix("index")?;
    let quoted = rest.trim_start().strip_prefix("variables")?.trim_start();
    let is_apart = rest.starts_with(char::is_whitespace);
    let unquote = |quote: char| quoted.strip_prefix(quote)?.strip_suffix(quote).filter(|key| !key.contains(quote));
    is_apart.then(|| unquote('"').filter(|key| !key.contains('\\')).or_else(|| unquote('`'))).flatten()
}

fn unknown(inner: &str) -> String {
    format!(
        "{{{{ {inner} }}}} is not known; there are name, version, namespace, target, service, ingress, route, interval, \
        variables.key and index variables \"key\""
    )
}

fn missing(key: &str, variables: &BTreeMap<String, String>) -> String {
    let given: Vec<_> = variables.keys().map(String::as_str).collect();
    let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
    format!("the variable {key:?} is not among templateVariables (given: {given})")
}

fn at(template: &str, offset: usize, reason: String) -> TemplateError {
    let before = template.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    TemplateError { line: before.matches('\n').count() + 1, column, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> Result<String, TemplateError> {
        let variables = [("direction", "inbound"), ("my-key", "k"), ("empty", "")];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let values = Values {
            name: "web",
            version: "green",
            namespace: "prod",
            target: "web-deploy",
            service: "web-svc",
            ingress: "web-ingress",
            route: "web-route",
            interval: "1m",
            variables: &variables,
        };
        render(template, &values)
    }

    #[test]
    fn every_value_has_its_place() {
        for (template, query) in [
            ("", ""),
            ("up", "up"),
            ("{{name}}", "web"),
            ("{{ version }}", "green"),
            ("{{ name }}.{{ namespace }}/{{target}}", "web.prod/web-deploy"),
            ("{{ service }} {{ ingress }} {{ route }}", "web-svc web-ingress web-route"),
            ("rate(x{app=\"{{\tname\n}}\"}[{{ interval }}])", "rate(x{app=\"web\"}[1m])"),
            ("{{ variables.direction }}", "inbound"),
            ("{{ index variables \"my-key\" }}{{ index  variables  `direction` }}", "kinbound"),
            ("[{{ variables.empty }}]", "[]"),
            // Braces of PromQL are no braces of ours.
            ("sum(x{a=\"b\"}) by (c) }}", "sum(x{a=\"b\"}) by (c) }}"),
            ("ä {{ name }} ö", "ä web ö"),
        ] {
            assert_eq!(rendered(template).as_deref(), Ok(query), "{template}");
        }
    }

    #[test]
    fn a_minus_takes_the_white_space_outside() {
        for (template, query) in [
            ("a \n {{- name }} b", "aweb b"),
            ("a {{ name -}} \n b", "a webb"),
            ("a {{- name -}} {{- interval -}} b", "aweb1mb"),
            ("{{- name -}}", "web"),
        ] {
            assert_eq!(rendered(template).as_deref(), Ok(query), "{template}");
        }
        // Go reads these as numbers or as nothing it knows.
        assert!(rendered("{{-name}}").is_err() && rendered("{{name-}}").is_err());
    }

    #[test]
    fn a_value_is_text_and_not_rendered_again() {
        let variables = [("a".to_owned(), "{{ name }}".to_owned())].into();
        let values = Values {
            name: "",
            version: "green",
            namespace: "",
            target: "",
            service: "",
            ingress: "",
            route: "",
            interval: "",
            variables: &variables,
        };
        assert_eq!(render("{{ variables.a }}", &values).as_deref(), Ok("{{ name }}"));
    }

    #[test]
    fn anything_else_is_an_error_with_its_place() {
        for (template, place, part) in [
            ("{{ nam }}", (1, 1), "{{ nam }} is not known; there are name"),
            ("a\n ü{{ .Name }}", (2, 3), "{{ .Name }} is not known"),
            ("{{ name | upper }}", (1, 1), "is not known"),
            ("{{ if name }}x{{ end }}", (1, 1), "is not known"),
            ("{{ variables }}", (1, 1), "is not known"),
            ("{{ variables.my-key }}", (1, 1), "is not known"),
            ("{{ variables.a.b }}", (1, 1), "is not known"),
            ("{{ indexvariables \"a\" }}", (1, 1), "is not known"),
            ("{{ index variables direction }}", (1, 1), "is not known"),
            ("{{ index variables \"a\\\"b\" }}", (1, 1), "is not known"),
            ("{{}}", (1, 1), "is not known"),
            ("{{ name }} {{ interval", (1, 12), "{{ is not closed by }}"),
            ("x\n\n{{ variables.other }}", (3, 1), "the variable \"other\" is not among templateVariables"),
            ("{{ index variables \"other\" }}", (1, 1), "(given: direction, empty, my-key)"),
        ] {
            let error = rendered(template).unwrap_err();
            assert_eq!((error.line, error.column), place, "{template}: {error}");
            assert!(error.reason.contains(part), "{template}: {error}");
        }
        let shown = rendered("\n {{ x }}").unwrap_err().to_string();
        assert!(shown.starts_with("line 2, column 2: {{ x }} is not known"), "{shown}");
    }
}
