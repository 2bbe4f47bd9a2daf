//! Entries: how one canary's traffic is routed, with every rule that keeps a worker's time and memory bounded.

use rollout::base::names::{CanaryId, MAX_NAME_BYTES};
use rollout::base::time::{Micros, Millis};
use rollout::routing::failure_codes::{FailureCodes, FailureCodesError, GRPC_NAMES, HTTP_FAILURES};
use rollout::routing::lane::Lane;
use rollout::routing::measurement::{GOOD_AFTER, LatencyEnd, MAX_WARM_UP, Measurement, WarmUp};
use rollout::routing::request::{MatchRule, Pattern, StringMatch};
use rollout::routing::table::{Entry, Routing, Scope, Split, StickyKey, WeightPpm};

use crate::cookie::{decode_cookie, encode_cookie};
use crate::error::{WireError, at_most, bounded, each};
use crate::fuse::{decode_fuse, encode_fuse};
use crate::limits::{
    MAX_CONDITIONS, MAX_HOSTS, MAX_PATH_PREFIX_BYTES, MAX_PATH_PREFIXES, MAX_REGEXES, MAX_RULES, MAX_SALT_BYTES,
    MAX_SLOT_MS,
};
use crate::names::{decode_canary, decode_epoch, decode_upstream};
use crate::v1;

pub(crate) fn encode_entry(entry: &Entry) -> v1::Entry {
    v1::Entry {
        canary: entry.canary.as_str().into(),
        epoch: entry.epoch.0,
        routing: entry.routing.as_ref().map(encode_routing),
    }
}

pub(crate) fn decode_entry(entry: v1::Entry) -> Result<Entry, WireError> {
    Ok(Entry {
        canary: decode_canary(&entry.canary)?,
        epoch: decode_epoch(entry.epoch)?,
        routing: entry
            .routing
            .map(|routing| decode_routing(routing).map_err(|error| error.within("routing")))
            .transpose()?,
    })
}

fn encode_routing(routing: &Routing) -> v1::Routing {
    v1::Routing {
        scope: Some(v1::Scope {
            hosts: routing.scope.hosts.clone(),
            path_prefixes: routing.scope.path_prefixes.clone(),
            lane: routing.scope.lane.as_ref().map(encode_lane),
        }),
        primary: routing.primary.as_str().into(),
        split: routing.split.as_ref().map(encode_split),
    }
}

fn decode_routing(routing: v1::Routing) -> Result<Routing, WireError> {
    let scope = routing.scope.ok_or_else(|| WireError::missing("scope"))?;
    Ok(Routing {
        scope: decode_scope(scope).map_err(|error| error.within("scope"))?,
        primary: decode_upstream("primary", &routing.primary)?,
        split: routing.split.map(|split| decode_split(split).map_err(|error| error.within("split"))).transpose()?,
    })
}

fn decode_scope(scope: v1::Scope) -> Result<Scope, WireError> {
    if scope.hosts.is_empty() {
        return Err(WireError::missing("hosts"));
    }
    at_most("hosts", scope.hosts.len(), MAX_HOSTS)?;
    for host in &scope.hosts {
        let fits = (1..=MAX_NAME_BYTES).contains(&host.len())
            && host.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
        if !fits {
            let rule = "is not a valid host; give 1 to 253 printable characters in lower case, without port: a name, *.suffix, or *";
            return Err(WireError::text("hosts", host, rule));
        }
    }
    if scope.path_prefixes.is_empty() {
        return Err(WireError::missing("path_prefixes"));
    }
    at_most("path_prefixes", scope.path_prefixes.len(), MAX_PATH_PREFIXES)?;
    for prefix in &scope.path_prefixes {
        bounded("path_prefixes", prefix.clone(), MAX_PATH_PREFIX_BYTES)?;
        if !prefix.starts_with('/') {
            return Err(WireError::text("path_prefixes", prefix, "does not begin with /"));
        }
    }
    let lane = scope.lane.map(|lane| decode_lane(&lane).map_err(|error| error.within("lane"))).transpose()?;
    Ok(Scope { hosts: scope.hosts, path_prefixes: scope.path_prefixes, lane })
}

fn encode_lane(lane: &Lane) -> v1::Lane {
    v1::Lane { of: lane.of().as_str().into(), from_ppm: lane.from().ppm(), to_ppm: lane.to().ppm() }
}

fn decode_lane(lane: &v1::Lane) -> Result<Lane, WireError> {
    let of = CanaryId::parse(&lane.of).map_err(|error| WireError::text("of", &lane.of, error))?;
    let (from, to) = (decode_share("from_ppm", lane.from_ppm)?, decode_share("to_ppm", lane.to_ppm)?);
    Lane::new(of, from, to).map_err(|_| WireError::number("to_ppm", lane.to_ppm, "does not lie behind from_ppm"))
}

fn encode_split(split: &Split) -> v1::Split {
    v1::Split {
        canary: split.canary.as_str().into(),
        weight_ppm: split.weight.ppm(),
        mirror_ppm: split.mirror.ppm(),
        rules: split.rules.iter().map(encode_rule).collect(),
        sticky: split.sticky.as_ref().map(|key| v1::StickyKey { key: Some(encode_key(key)) }),
        salt: split.salt.clone(),
        slot_ms: u32::try_from(split.slot.0).unwrap_or(MAX_SLOT_MS),
        latency_limit_us: split.latency_limit.map(|limit| limit.0),
        fuse: split.fuse.as_ref().map(encode_fuse),
        measurement: Some(encode_measurement(split.measurement)),
    }
}

fn decode_split(split: v1::Split) -> Result<Split, WireError> {
    at_most("rules", split.rules.len(), MAX_RULES)?;
    // Counted before any is compiled: compiling is the expensive part.
    at_most("rules.regex", split.rules.iter().map(regexes).sum(), MAX_REGEXES)?;
    Ok(Split {
        canary: decode_upstream("canary", &split.canary)?,
        weight: decode_share("weight_ppm", split.weight_ppm)?,
        mirror: decode_share("mirror_ppm", split.mirror_ppm)?,
        rules: each("rules", split.rules, decode_rule)?,
        sticky: split.sticky.map(|sticky| decode_key(sticky).map_err(|error| error.within("sticky"))).transpose()?,
        salt: bounded("salt", split.salt, MAX_SALT_BYTES)?,
        slot: decode_slot(split.slot_ms)?,
        latency_limit: split.latency_limit_us.map(Micros),
        measurement: decode_measurement(split.measurement.ok_or_else(|| WireError::missing("measurement"))?)
            .map_err(|error| error.within("measurement"))?,
        fuse: split.fuse.map(|fuse| decode_fuse(&fuse).map_err(|error| error.within("fuse"))).transpose()?,
    })
}

fn encode_measurement(measurement: Measurement) -> v1::Measurement {
    let Measurement { latency_end, warm_up: WarmUp { time, requests }, good_after, failures } = measurement;
    let latency_end = match latency_end {
        LatencyEnd::ResponseHeaders => v1::LatencyEnd::ResponseHeaders,
        LatencyEnd::LastByte => v1::LatencyEnd::LastByte,
    };
    v1::Measurement {
        latency_end: latency_end as i32,
        warm_up_ms: time.0 as u32,
        warm_up_requests: requests,
        good_after_ms: good_after.0 as u32,
        http_except: failures.http_except().map(u32::from).collect(),
        grpc_failures: failures.grpc().collect(),
    }
}

fn decode_measurement(measurement: v1::Measurement) -> Result<Measurement, WireError> {
    let latency_end = match v1::LatencyEnd::try_from(measurement.latency_end) {
        Ok(v1::LatencyEnd::ResponseHeaders) => LatencyEnd::ResponseHeaders,
        Ok(v1::LatencyEnd::LastByte) => LatencyEnd::LastByte,
        Ok(v1::LatencyEnd::Unspecified) | Err(_) => {
            let rule = "is not a value this build knows";
            return Err(WireError::number("latency_end", measurement.latency_end, rule));
        }
    };
    let time = Millis(measurement.warm_up_ms.into());
    if time > MAX_WARM_UP {
        return Err(WireError::number("warm_up_ms", time.0, "is outside 0 to 300000"));
    }
    let good_after = Millis(measurement.good_after_ms.into());
    if !GOOD_AFTER.contains(&good_after) {
        return Err(WireError::number("good_after_ms", good_after.0, "is outside 1000 to 3600000"));
    }
    let warm_up = WarmUp { time, requests: measurement.warm_up_requests };
    let failures = decode_failures(measurement.http_except, measurement.grpc_failures)?;
    Ok(Measurement { latency_end, warm_up, good_after, failures })
}

/// Each status at most once, so that a list cannot grow.
fn decode_failures(http_except: Vec<u32>, grpc: Vec<u32>) -> Result<FailureCodes, WireError> {
    at_most("http_except", http_except.len(), HTTP_FAILURES.count())?;
    at_most("grpc_failures", grpc.len(), GRPC_NAMES.len())?;
    let http_except = http_except.into_iter().map(|status| u16::try_from(status).unwrap_or(u16::MAX));
    FailureCodes::new(http_except, grpc).map_err(|error| match error {
        FailureCodesError::Http(status) => WireError::number("http_except", status, "is outside 500 to 599"),
        FailureCodesError::Grpc(status) => WireError::number("grpc_failures", status, "is outside 1 to 16"),
    })
}

fn decode_share(field: &str, ppm: u32) -> Result<WeightPpm, WireError> {
    WeightPpm::new(ppm).map_err(|_| WireError::number(field, ppm, "is outside 0 to 1000000"))
}

fn decode_slot(slot_ms: u32) -> Result<Millis, WireError> {
    if slot_ms == 0 || slot_ms > MAX_SLOT_MS {
        return Err(WireError::number("slot_ms", slot_ms, "is outside 1 to 86400000"));
    }
    Ok(Millis(slot_ms.into()))
}

fn encode_key(key: &StickyKey) -> v1::sticky_key::Key {
    use v1::sticky_key::Key;
    match key {
        StickyKey::Header(name) => Key::Header(name.clone()),
        StickyKey::Cookie(name) => Key::Cookie(name.clone()),
        StickyKey::IssuedCookie(cookie) => Key::IssuedCookie(encode_cookie(cookie)),
        StickyKey::ClientAddress => Key::ClientAddress(v1::ClientAddress {}),
    }
}

fn decode_key(sticky: v1::StickyKey) -> Result<StickyKey, WireError> {
    use v1::sticky_key::Key;
    match sticky.key.ok_or_else(|| WireError::missing("key"))? {
        Key::Header(name) => Ok(StickyKey::Header(decode_header("header", name)?)),
        Key::Cookie(name) => Ok(StickyKey::Cookie(decode_name("cookie", name)?)),
        Key::IssuedCookie(cookie) => {
            decode_cookie(cookie).map(StickyKey::IssuedCookie).map_err(|error| error.within("issued_cookie"))
        }
        Key::ClientAddress(_) => Ok(StickyKey::ClientAddress),
    }
}

fn encode_rule(rule: &MatchRule) -> v1::MatchRule {
    let conditions = |list: &[(String, StringMatch)]| {
        list.iter()
            .map(|(name, value)| v1::Condition { name: name.clone(), value: Some(encode_match(value)) })
            .collect()
    };
    v1::MatchRule {
        headers: conditions(&rule.headers),
        without_headers: conditions(&rule.without_headers),
        cookies: conditions(&rule.cookies),
        query: conditions(&rule.query),
        path: rule.path.as_ref().map(encode_match),
    }
}

fn decode_rule(rule: v1::MatchRule) -> Result<MatchRule, WireError> {
    let count = conditions(&rule).count() + usize::from(rule.path.is_some());
    if count == 0 {
        return Err(WireError::number("conditions", 0, "would fit every request; give at least one"));
    }
    at_most("conditions", count, MAX_CONDITIONS)?;
    type Name = fn(&str, String) -> Result<String, WireError>;
    let list = |field: &str, items: Vec<v1::Condition>, name: Name| {
        each(field, items, |item| Ok((name("name", item.name)?, decode_match("value", item.value)?)))
    };
    Ok(MatchRule {
        headers: list("headers", rule.headers, decode_header)?,
        without_headers: list("without_headers", rule.without_headers, decode_header)?,
        cookies: list("cookies", rule.cookies, decode_name)?,
        query: list("query", rule.query, decode_name)?,
        path: match rule.path {
            Some(path) => Some(decode_match("path", Some(path))?),
            None => None,
        },
    })
}

fn conditions(rule: &v1::MatchRule) -> impl Iterator<Item = &v1::Condition> {
    let lists = [&rule.headers, &rule.without_headers, &rule.cookies, &rule.query];
    lists.into_iter().flatten()
}

fn regexes(rule: &v1::MatchRule) -> usize {
    let values = conditions(rule).filter_map(|condition| condition.value.as_ref());
    let is_regex = |value: &&v1::StringMatch| matches!(value.r#match, Some(v1::string_match::Match::Regex(_)));
    values.chain(&rule.path).filter(is_regex).count()
}

fn encode_match(value: &StringMatch) -> v1::StringMatch {
    use v1::string_match::Match;
    let value = match value {
        StringMatch::Exact(text) => Match::Exact(text.clone()),
        StringMatch::Prefix(text) => Match::Prefix(text.clone()),
        StringMatch::Suffix(text) => Match::Suffix(text.clone()),
        StringMatch::Regex(pattern) => Match::Regex(pattern.source().into()),
        StringMatch::Present => Match::Present(v1::Present {}),
    };
    v1::StringMatch { r#match: Some(value) }
}

fn decode_match(field: &str, value: Option<v1::StringMatch>) -> Result<StringMatch, WireError> {
    use v1::string_match::Match;
    let value = value.and_then(|value| value.r#match).ok_or_else(|| WireError::missing(field))?;
    let (shown, checked) = match value {
        Match::Exact(text) => (text.clone(), StringMatch::Exact(text).checked()),
        Match::Prefix(text) => (text.clone(), StringMatch::Prefix(text).checked()),
        Match::Suffix(text) => (text.clone(), StringMatch::Suffix(text).checked()),
        Match::Regex(text) => {
            let pattern = Pattern::parse(&text).map(StringMatch::Regex);
            (text, pattern)
        }
        Match::Present(_) => return Ok(StringMatch::Present),
    };
    checked.map_err(|error| WireError::text(field, &shown, error))
}

fn decode_header(field: &str, name: String) -> Result<String, WireError> {
    let name = decode_name(field, name)?;
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(WireError::text(field, &name, "has upper case; headers are compared in lower case"));
    }
    Ok(name)
}

fn decode_name(field: &str, name: String) -> Result<String, WireError> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(WireError::text(
            field,
            &name,
            "is not a valid name; give 1 to 253 printable characters without spaces",
        ));
    }
    bounded(field, name, MAX_NAME_BYTES)
}
