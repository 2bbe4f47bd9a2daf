//! `measure`, `warmUp`, `streamGoodAfter`: what counts as a version's own time, and which of its first requests have none.

use rollout::release::plan::Flavour;
use rollout::routing::measurement::{LatencyEnd, Measurement, WarmUp};

use crate::reader::{Item, Log, Map};

/// Reads them. A Flagger manifest has none of these fields and what is usual.
pub(crate) fn read(fields: &mut Map<'_>, flavour: Flavour, log: &mut Log) -> Measurement {
    let mut measurement = Measurement::USUAL;
    if flavour == Flavour::Flagger {
        return measurement;
    }
    if let Some(item) = fields.take("measure", log) {
        measurement.latency_end = match item.one_of(log, &["responseHeaders", "lastByte"]) {
            Some("lastByte") => LatencyEnd::LastByte,
            _ => LatencyEnd::ResponseHeaders,
        };
    }
    if let Some(item) = fields.take("warmUp", log) {
        measurement.warm_up = warm_up(&item, log).unwrap_or(measurement.warm_up);
    }
    if let Some(span) = fields.take("streamGoodAfter", log).and_then(|item| item.span(log)) {
        measurement.good_after = span;
    }
    measurement
}

/// What is not written of a map is nothing: `{ requests: 100 }` takes no time.
fn warm_up(item: &Item<'_>, log: &mut Log) -> Option<WarmUp> {
    if item.is_text() {
        return item.one_of(log, &["off"]).map(|_| WarmUp::NONE);
    }
    let mut fields = item.map(log)?;
    let time = fields.take("time", log).and_then(|item| item.span(log)).unwrap_or_default();
    let requests = fields.take("requests", log).and_then(|item| item.whole(log, 0, i64::from(u32::MAX)));
    fields.finish(log, &[]);
    Some(WarmUp { time, requests: requests.and_then(|count| u32::try_from(count).ok()).unwrap_or(0) })
}
