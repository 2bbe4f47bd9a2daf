//! Canaries that stand in the filter's own configuration: header-based A/B routing or a fixed weight, without an agent.

use std::collections::BTreeMap;

use proto::wire::check_routing;
use rollout::base::names::{CanaryId, Upstream};
use rollout::routing::measurement::{Measurement, WarmUp};
use rollout::routing::request::{MatchRule, Pattern, StringMatch};
use rollout::routing::table::{Entry, Epoch, MAX_CANARIES, Routing, Scope, Split, StickyKey, WeightPpm};
use rollout::worker::IDLE_EVERY;
use serde::Deserialize;

use crate::config_error::{ConfigError, bounded};
use crate::cookie::{RawCookie, parse_cookie};
use crate::fuse::{RawFuse, parse_fuse};

/// One static canary as written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawCanary {
    namespace: String,
    name: String,
    hosts: Option<Vec<String>>,
    path_prefix: Option<String>,
    primary: Option<String>,
    canary: Option<String>,
    #[serde(default)]
    weight: f64,
    #[serde(default)]
    mirror_weight: f64,
    #[serde(default, rename = "match")]
    rules: Vec<RawRule>,
    sticky: Option<RawSticky>,
    fuse: Option<RawFuse>,
    salt: Option<String>,
}

/// Conditions that must all hold.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct RawRule {
    headers: BTreeMap<String, RawMatch>,
    without_headers: BTreeMap<String, RawMatch>,
    cookies: BTreeMap<String, RawMatch>,
    query: BTreeMap<String, RawMatch>,
    path: Option<RawMatch>,
}

/// `{"exact": "x"}` and its like; `{"present": true}` asks only for the key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum RawMatch {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(String),
    Present(bool),
}

/// `{"header": "x-user"}` and its like.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum RawSticky {
    Header(String),
    Cookie(String),
    IssuedCookie(RawCookie),
    ClientAddress(bool),
}

/// The entries of all static canaries; they carry epoch 0, so any entry from an agent replaces them.
///
/// # Errors
/// The first thing that is wrong, or that no worker would accept from an agent either.
pub(crate) fn fixed_entries(raw: Vec<RawCanary>) -> Result<Vec<Entry>, ConfigError> {
    if raw.len() > MAX_CANARIES {
        let rule = format!("{} items are too many; at most {MAX_CANARIES} are allowed", raw.len());
        return Err(ConfigError::new("canaries", rule));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
    for (at, raw) in raw.into_iter().enumerate() {
        let entry = fixed_entry(&format!("canaries[{at}]"), raw)?;
        if entries.iter().any(|other| other.canary == entry.canary) {
            let rule = format!("{} is listed twice", entry.canary);
            return Err(ConfigError::new(format!("canaries[{at}].name"), rule));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn fixed_entry(at: &str, raw: RawCanary) -> Result<Entry, ConfigError> {
    let canary = CanaryId::new(&raw.namespace, &raw.name).map_err(|error| {
        let rule = format!("{:?} and name {:?}: one {error}", raw.namespace, raw.name);
        ConfigError::new(format!("{at}.namespace"), rule)
    })?;
    let scope = Scope::of_service(&canary);
    let upstream = |field: &str, name: Option<String>| {
        let name = name.unwrap_or_else(|| format!("{}-{field}", raw.name));
        Upstream::parse(&name).map_err(|error| ConfigError::new(format!("{at}.{field}"), format!("{name:?} {error}")))
    };
    let percent = bounded(&format!("{at}.weight"), raw.weight, 0.0, 100.0)?;
    let sticky = raw.sticky.map(|key| parse_sticky(at, key)).transpose()?;
    let fuse = raw.fuse.map(|raw| parse_fuse(&format!("{at}.fuse"), &raw, sticky.is_some())).transpose()?;
    let rules = raw.rules.into_iter().enumerate();
    let rules = rules.map(|(n, rule)| parse_rule(&format!("{at}.match[{n}]"), rule));
    let split = Split {
        canary: upstream("canary", raw.canary)?,
        weight: parse_weight(percent),
        mirror: parse_weight(bounded(&format!("{at}.mirrorWeight"), raw.mirror_weight, 0.0, 100.0)?),
        rules: rules.collect::<Result<_, _>>()?,
        sticky,
        salt: raw.salt.unwrap_or_else(|| canary.to_string()),
        // Slots are compared by an agent, and here is none.
        slot: IDLE_EVERY,
        latency_limit: fuse.as_ref().and_then(|(_, limit)| *limit),
        // There is no release that could begin.
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        fuse: fuse.map(|(plan, _)| plan),
    };
    let hosts = raw.hosts.map(|hosts| hosts.iter().map(|host| host.to_ascii_lowercase()).collect());
    let routing = Routing {
        // Only an agent runs several versions at once: their lanes must fit each other.
        scope: Scope {
            hosts: hosts.unwrap_or(scope.hosts),
            path_prefixes: raw.path_prefix.map_or(scope.path_prefixes, |prefix| vec![prefix]),
            lane: None,
        },
        primary: upstream("primary", raw.primary)?,
        split: Some(split),
    };
    check_routing(&canary, &routing).map_err(|error| ConfigError::new(at, error.to_string()))?;
    Ok(Entry { canary, epoch: Epoch(0), routing: Some(routing) })
}

/// Percent with at most four decimals is exact in parts per million.
fn parse_weight(percent: f64) -> WeightPpm {
    WeightPpm::new((percent * 10_000.0).round() as u32).unwrap_or(WeightPpm::ZERO)
}

fn parse_sticky(at: &str, raw: RawSticky) -> Result<StickyKey, ConfigError> {
    match raw {
        RawSticky::Header(name) => Ok(StickyKey::Header(name.to_ascii_lowercase())),
        RawSticky::Cookie(name) => Ok(StickyKey::Cookie(name)),
        RawSticky::IssuedCookie(raw) => {
            parse_cookie(&format!("{at}.sticky.issuedCookie"), raw).map(StickyKey::IssuedCookie)
        }
        RawSticky::ClientAddress(true) => Ok(StickyKey::ClientAddress),
        RawSticky::ClientAddress(false) => Err(ConfigError::new(
            format!("{at}.sticky.clientAddress"),
            "is false; leave `sticky` out to decide for each request",
        )),
    }
}

fn parse_rule(at: &str, raw: RawRule) -> Result<MatchRule, ConfigError> {
    let list = |field: &str, items: BTreeMap<String, RawMatch>, is_header: bool| {
        let items = items.into_iter().map(|(name, value)| {
            let value = parse_match(&format!("{at}.{field}.{name}"), value)?;
            let name = if is_header { name.to_ascii_lowercase() } else { name };
            Ok((name, value))
        });
        items.collect::<Result<Vec<_>, ConfigError>>()
    };
    Ok(MatchRule {
        headers: list("headers", raw.headers, true)?,
        without_headers: list("withoutHeaders", raw.without_headers, true)?,
        cookies: list("cookies", raw.cookies, false)?,
        query: list("query", raw.query, false)?,
        path: raw.path.map(|value| parse_match(&format!("{at}.path"), value)).transpose()?,
    })
}

fn parse_match(at: &str, raw: RawMatch) -> Result<StringMatch, ConfigError> {
    match raw {
        RawMatch::Exact(text) => Ok(StringMatch::Exact(text)),
        RawMatch::Prefix(text) => Ok(StringMatch::Prefix(text)),
        RawMatch::Suffix(text) => Ok(StringMatch::Suffix(text)),
        RawMatch::Regex(text) => Pattern::parse(&text)
            .map(StringMatch::Regex)
            .map_err(|error| ConfigError::new(at, format!("{text:?} {error}"))),
        RawMatch::Present(true) => Ok(StringMatch::Present),
        RawMatch::Present(false) => {
            let rule = "present is false; use withoutHeaders with present: true for absence";
            Err(ConfigError::new(at, rule))
        }
    }
}
