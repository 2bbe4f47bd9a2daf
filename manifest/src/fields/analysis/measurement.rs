//! `measure`, `warmUp`, `streamGoodAfter`, `failures`: what counts as a version's own time, which of its first requests have
//! none, and which statuses are failures.

use rollout::release::plan::Flavour;
use rollout::routing::failure_codes::{FailureCodes, GRPC_NAMES, HTTP_FAILURES};
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
    if let Some(item) = fields.take("failures", log) {
        measurement.failures = failures(&item, log).unwrap_or_default();
    }
    measurement
}

/// What is not written of the map is as usual.
fn failures(item: &Item<'_>, log: &mut Log) -> Option<FailureCodes> {
    let mut fields = item.map(log)?;
    let (least, most) = (i64::from(*HTTP_FAILURES.start()), i64::from(*HTTP_FAILURES.end()));
    let statuses = fields.take("httpExcept", log).map(|item| item.list(log)).unwrap_or_default();
    let http_except = statuses.iter().filter_map(|item| u16::try_from(item.whole(log, least, most)?).ok());
    let http_except: Vec<u16> = http_except.collect();
    let names = GRPC_NAMES.get(1..).unwrap_or_default();
    let grpc = fields.take("grpc", log).map(|item| {
        let named = item.list(log);
        let of = |item: &Item<'_>, log: &mut Log| {
            let name = item.one_of(log, names)?;
            GRPC_NAMES.iter().position(|known| *known == name).and_then(|status| u32::try_from(status).ok())
        };
        named.iter().filter_map(|item| of(item, log)).collect::<Vec<u32>>()
    });
    fields.finish(log, &[]);
    FailureCodes::new(http_except, grpc.unwrap_or_else(|| FailureCodes::USUAL.grpc().collect())).ok()
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
