//! `spec.analysis.match`: who is sent to the canary whatever the weight. Items are OR, conditions inside one are AND.

use rollout::release::plan::Flavour;
use rollout::routing::request::{MatchRule, Pattern, PatternError, StringMatch};

use crate::fields::traffic::providers;
use crate::fields::values::is_token;
use crate::reader::{Item, Log};

const ADVICE: &[(&str, &str)] = &[
    ("withoutHeaders", "is a field of serin.dev/v1alpha1 here; Flagger knows headers, queryParams and sourceLabels"),
    ("cookies", "is a field of serin.dev/v1alpha1; here match the header cookie by a regex"),
    ("path", "is a field of serin.dev/v1alpha1; Flagger knows headers, queryParams and sourceLabels"),
];

/// Reads the list. A rule that needs what the proxy cannot know is left out, so that it matches no request. Flagger hands
/// the list to `provider`, and not all of them read it as Istio does.
pub(crate) fn read(item: &Item<'_>, flavour: Flavour, provider: Option<&'static str>, log: &mut Log) -> Vec<MatchRule> {
    let items = item.list(log);
    let rules = items.iter().filter_map(|item| Some((item, rule(item, flavour, log)?))).collect();
    match flavour {
        Flavour::Flagger => providers::as_read_by(provider, item, rules, log),
        Flavour::Serin => rules.into_iter().map(|(_, rule)| rule).collect(),
    }
}

fn rule(item: &Item<'_>, flavour: Flavour, log: &mut Log) -> Option<MatchRule> {
    let mut fields = item.map(log)?;
    let mut rule = MatchRule::default();
    let before = log.problems.len();
    let own = flavour == Flavour::Serin;
    let mut named =
        |key, log: &mut Log| fields.take(key, log).map(|item| conditions(&item, own, log)).unwrap_or_default();
    rule.headers = header_names(named("headers", log), log);
    rule.query = bare(named("queryParams", log));
    if own {
        rule.without_headers = header_names(named("withoutHeaders", log), log);
        rule.cookies = bare(named("cookies", log));
        rule.path = fields.take("path", log).and_then(|item| string_match(&item, own, log));
    }
    let labels = fields.take("sourceLabels", log);
    fields.finish(log, if own { &[] } else { ADVICE });
    if let Some(labels) = labels {
        labels.hold(
            log,
            "asks for the labels of the calling pod, which the proxy does not know; the rule matches no request",
        );
        return None;
    }
    if rule.is_empty() && log.problems.len() == before {
        item.refuse(log, "has no condition and would match every request");
    }
    (log.problems.len() == before).then_some(rule)
}

type Form = fn(String) -> Result<StringMatch, PatternError>;
type Conditions<'a> = Vec<(String, Item<'a>, StringMatch)>;

fn conditions<'a>(item: &Item<'a>, own: bool, log: &mut Log) -> Conditions<'a> {
    let Some(map) = item.map(log) else { return Vec::new() };
    let entries = map.rest(log);
    let read = |(name, item): (String, Item<'a>)| {
        let value = string_match(&item, own, log)?;
        Some((name, item, value))
    };
    entries.into_iter().filter_map(read).collect()
}

/// Header names reach the filter in lower case; `:method` and its like are headers there as well.
fn header_names(conditions: Conditions<'_>, log: &mut Log) -> Vec<(String, StringMatch)> {
    let mut named = Vec::new();
    for (name, item, value) in conditions {
        if is_token(name.strip_prefix(':').unwrap_or(&name)) {
            named.push((name.to_ascii_lowercase(), value));
        } else {
            log.problem(item.at, &item.path, format!("{name:?}"), "cannot be the name of a header");
        }
    }
    named
}

fn bare(conditions: Conditions<'_>) -> Vec<(String, StringMatch)> {
    conditions.into_iter().map(|(name, _, value)| (name, value)).collect()
}

fn string_match(item: &Item<'_>, own: bool, log: &mut Log) -> Option<StringMatch> {
    let mut fields = item.map(log)?;
    let mut found = Vec::new();
    let forms: [(&'static str, Form); 4] = [
        ("exact", |text| StringMatch::Exact(text).checked()),
        ("prefix", |text| StringMatch::Prefix(text).checked()),
        ("suffix", |text| StringMatch::Suffix(text).checked()),
        ("regex", |text| Pattern::parse(&text).map(StringMatch::Regex)),
    ];
    let before = log.problems.len();
    for (key, make) in forms {
        let Some(form) = fields.take(key, log) else { continue };
        let Some(text) = form.text(log) else { continue };
        match make(text) {
            Ok(value) => found.push(value),
            Err(error) => form.refuse(log, error.to_string()),
        }
    }
    if own && fields.take("present", log).and_then(|form| form.on(log)).is_some() {
        found.push(StringMatch::Present);
    }
    fields.finish(log, &[("present", "is a field of serin.dev/v1alpha1; here write regex: .*")]);
    if found.len() != 1 && log.problems.len() == before {
        let present = if own { ", present: true" } else { "" };
        item.refuse(log, format!("must have exactly one of exact, prefix, suffix, regex{present}"));
    }
    found.pop()
}
