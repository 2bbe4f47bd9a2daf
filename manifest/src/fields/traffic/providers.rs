//! What `analysis.match` means to the provider that Flagger would hand it to. Istio's meaning is the schema's own; the others
//! have fewer conditions, or conditions of other names, and Flagger writes what they have.

use rollout::routing::request::{MatchRule, Pattern, StringMatch};

use crate::reader::{Item, Log};

/// Those that do not read `match` as Istio does, and whose meaning our form can say.
pub(crate) const NOT_AS_ISTIO: &[&str] = &["nginx", "contour", "gloo", "appmesh", "appmesh:v1beta2"];
/// The value of a canary cookie or header that sends a request of nginx to the canary.
const ALWAYS: &str = "always";
/// The one that sends it to the primary.
const NEVER: &str = "never";

type Read<'a, 'i> = Vec<(&'i Item<'a>, MatchRule)>;

/// The rules as the provider would apply them. What it has no condition for holds the release.
pub(crate) fn as_read_by(
    provider: Option<&'static str>,
    list: &Item<'_>,
    rules: Read<'_, '_>,
    log: &mut Log,
) -> Vec<MatchRule> {
    match provider {
        Some("nginx") => nginx(list, rules, log),
        Some("contour") => one_route("contour", rules, contour, log),
        Some("gloo") => one_route("gloo", rules, gloo, log),
        Some("appmesh" | "appmesh:v1beta2") => one_route("appmesh", rules, |_, value, _| Some(value), log),
        Some("istio" | "gatewayapi:v1" | "gatewayapi:v1beta1") => as_written(rules),
        Some("kubernetes") => {
            list.warn(
                log,
                "is dropped by Flagger with provider kubernetes; here it sends whom it matches to the canary",
            );
            as_written(rules)
        }
        Some(other) => {
            let what = format!(
                "is not acted on by Flagger with provider {other}, which shifts everyone's traffic; accepted, it sends whom \
                 it matches to the canary"
            );
            list.hold(log, what);
            as_written(rules)
        }
        None => {
            if rules.iter().any(|(_, rule)| rule.headers.iter().any(depends_on_provider)) {
                list.warn(
                    log,
                    "is read as Istio does, Flagger's default, since spec.provider is missing; nginx, contour and gloo read \
                     cookies and patterns otherwise: set spec.provider",
                );
            }
            as_written(rules)
        }
    }
}

fn as_written(rules: Read<'_, '_>) -> Vec<MatchRule> {
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn depends_on_provider((name, value): &(String, StringMatch)) -> bool {
    name == "cookie" && matches!(value, StringMatch::Exact(_))
}

/// nginx has one header and one cookie, either of which suffices. A cookie's `exact` is its NAME, and `always` the value that
/// counts; a header's `exact` is its value, a `regex` is searched for, and with neither the value is `always` too, or `never`.
fn nginx(list: &Item<'_>, rules: Read<'_, '_>, log: &mut Log) -> Vec<MatchRule> {
    let (mut headers, mut cookies) = (Vec::new(), Vec::new());
    for (item, rule) in rules {
        if !rule.query.is_empty() {
            item.hold(log, "has queryParams, which nginx does not look at; accepted, they are not looked at");
        }
        for (name, value) in rule.headers {
            match (name.as_str(), value) {
                ("cookie", StringMatch::Exact(cookie)) => cookies.push(cookie),
                ("cookie", _) => {
                    item.hold(
                        log,
                        "has a cookie without exact, the cookie's name on nginx; accepted, it matches no request",
                    );
                }
                (_, value) => headers.push((name, value)),
            }
        }
    }
    for (what, count) in [("headers", headers.len()), ("cookies", cookies.len())] {
        if count > 1 {
            let taken = "of which nginx has one, and Flagger takes any; accepted, each sends to the canary";
            list.hold(log, format!("names {count} {what}, {taken}"));
        }
    }
    let mut never = Vec::new();
    let mut read = Vec::new();
    for (name, value) in headers {
        let value = match value {
            StringMatch::Exact(_) => Some(value),
            StringMatch::Regex(pattern) => search(pattern.source(), list, log),
            _ => {
                list.warn(
                    log,
                    format!("has a header {name} with neither exact nor regex: nginx wants its value always"),
                );
                never.push((name.clone(), StringMatch::Exact(NEVER.into())));
                Some(StringMatch::Exact(ALWAYS.into()))
            }
        };
        read.extend(value.map(|value| MatchRule { headers: vec![(name, value)], ..MatchRule::default() }));
    }
    // A header that says never is heard before any cookie.
    let cookie = |name| MatchRule {
        cookies: vec![(name, StringMatch::Exact(ALWAYS.into()))],
        without_headers: never.clone(),
        ..MatchRule::default()
    };
    read.extend(cookies.into_iter().map(cookie));
    read
}

/// Flagger writes all headers of all items into one route, which has all these conditions.
fn one_route(
    provider: &str,
    rules: Read<'_, '_>,
    meant: impl Fn(&Item<'_>, StringMatch, &mut Log) -> Option<StringMatch>,
    log: &mut Log,
) -> Vec<MatchRule> {
    let mut all = MatchRule::default();
    let mut is_possible = true;
    if let [_, (second, _), ..] = rules.as_slice() {
        second.warn(log, format!("must fit as well: with provider {provider} Flagger writes all items into one route"));
    }
    for (item, rule) in rules {
        if !rule.query.is_empty() {
            item.hold(
                log,
                format!("has queryParams, which Flagger does not write for {provider}; accepted, they must fit"),
            );
        }
        all.query.extend(rule.query);
        for (name, value) in rule.headers {
            match meant(item, value, log) {
                Some(value) => all.headers.push((name, value)),
                None => is_possible = false,
            }
        }
    }
    if is_possible && !all.is_empty() { vec![all] } else { Vec::new() }
}

/// Contour has exact values and parts of values: Flagger asks for a prefix or suffix anywhere in the value.
fn contour(item: &Item<'_>, value: StringMatch, log: &mut Log) -> Option<StringMatch> {
    match value {
        StringMatch::Prefix(text) | StringMatch::Suffix(text) => search(&escaped(&text), item, log),
        StringMatch::Regex(_) => {
            item.hold(log, "has a regex, which Flagger does not write for contour; accepted, it matches no request");
            None
        }
        other => Some(other),
    }
}

/// Gloo has exact values and patterns, which are whole values as Istio's.
fn gloo(item: &Item<'_>, value: StringMatch, log: &mut Log) -> Option<StringMatch> {
    match value {
        StringMatch::Prefix(_) | StringMatch::Suffix(_) => {
            item.hold(
                log,
                "has a prefix or suffix, which Flagger does not write for gloo; accepted, it matches no request",
            );
            None
        }
        other => Some(other),
    }
}

/// A pattern that may begin and end anywhere in the value.
fn search(source: &str, item: &Item<'_>, log: &mut Log) -> Option<StringMatch> {
    match Pattern::parse(&format!("(?s:.*)(?:{source})(?s:.*)")) {
        Ok(pattern) => Some(StringMatch::Regex(pattern)),
        Err(error) => {
            item.refuse(log, error.to_string());
            None
        }
    }
}

fn escaped(text: &str) -> String {
    let special = |c: char| c.is_ascii_punctuation();
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
