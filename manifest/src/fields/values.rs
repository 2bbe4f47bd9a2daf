//! Values that many fields hold: addresses, names, shares of traffic.

use std::fmt::Display;

use rollout::base::names::Upstream;
use rollout::release::plan::Flavour;
use rollout::routing::table::WeightPpm;

use crate::reader::{Item, Log};

/// A web address.
pub(crate) fn url(item: &Item<'_>, log: &mut Log) -> Option<String> {
    let text = item.text(log)?;
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && text.chars().all(|c| c.is_ascii_graphic())
    {
        return Some(text);
    }
    item.refuse(log, "is not a valid URL; write http://host/path or https://host/path");
    None
}

/// An upstream's name.
pub(crate) fn upstream(item: &Item<'_>, log: &mut Log) -> Option<Upstream> {
    let text = item.text(log)?;
    parsed(item, Upstream::parse(&text), log)
}

/// What a parser makes of it.
pub(crate) fn parsed<T, E: Display>(item: &Item<'_>, result: Result<T, E>, log: &mut Log) -> Option<T> {
    result.map_err(|error| item.refuse(log, error.to_string())).ok()
}

/// A header's or cookie's name.
pub(crate) fn token(item: &Item<'_>, log: &mut Log) -> Option<String> {
    let text = item.text(log)?;
    if is_token(&text) {
        return Some(text);
    }
    item.refuse(log, "cannot be the name of a header or cookie");
    None
}

/// Whether a text can be the name of a header or cookie (RFC 9110's token).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 256
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// 0 to 100, to the precision that a share of traffic has.
pub(crate) fn percent(item: &Item<'_>, flavour: Flavour, log: &mut Log) -> Option<f64> {
    let value = item.number(log)?;
    let share = value * 10_000.0;
    if !(0.0..=100.0).contains(&value) {
        item.refuse(log, "must be from 0 to 100 percent");
        return None;
    }
    if (share - share.round()).abs() > 1e-6 {
        item.refuse(log, "has more than four decimals; a share of traffic is counted in millionths");
        return None;
    }
    if flavour == Flavour::Flagger && value.fract() != 0.0 {
        item.warn(log, "is used as written; Flagger itself does not accept fractions here");
    }
    Some(value)
}

/// Percent as a share.
pub(crate) fn ppm(percent: f64) -> Option<WeightPpm> {
    WeightPpm::new((percent * 10_000.0).round() as u32).ok()
}
