//! `spec.analysis.metrics`: the two built-in checks are measured in the proxy, any other is asked of a metric server.

use rollout::base::time::Millis;
use rollout::release::plan::{Check, ExternalMetric, Flavour, Metric, ThresholdRange};

use crate::fields::analysis::queries::{self, Asked, Wanted};
use crate::fields::analysis::units;
use crate::fields::context::Around;
use crate::fields::webhooks::named;
use crate::reader::{Item, Log, Map, did_you_mean};

/// Flagger's window where none is given.
const WINDOW: Millis = Millis::from_secs(60);
/// The quantile of `request-duration` unless another is chosen.
pub(crate) const QUANTILE: f64 = 0.95;
const SUCCESS_RATE: &str = "request-success-rate";
const DURATION: &str = "request-duration";
const ADVICE: &[(&str, &str)] =
    &[("quantile", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/request-duration-quantile")];

/// A check that can be made.
pub(crate) struct Read<'a> {
    /// Its place in the list.
    pub(crate) at: usize,
    pub(crate) check: Check,
    pub(crate) item: Item<'a>,
    /// Its window, if it has one of its own.
    pub(crate) window: Option<Item<'a>>,
}

/// The list.
#[derive(Default)]
pub(crate) struct Metrics<'a> {
    /// What is measured in the proxy.
    pub(crate) checks: Vec<Read<'a>>,
    /// What others are asked for.
    pub(crate) external: Vec<ExternalMetric>,
}

/// Reads the list.
pub(crate) fn read<'a>(item: &Item<'a>, around: &Around<'_>, log: &mut Log) -> Metrics<'a> {
    let mut metrics = Metrics::default();
    for (at, item) in item.list(log).iter().enumerate() {
        let Some((check, external)) = metric(at, item, around, log) else { continue };
        if external.iter().any(|new| metrics.external.iter().any(|other| other.name == new.name)) {
            item.warn(log, "has the name of a metric above it; the history cannot tell them apart");
        }
        metrics.checks.extend(check);
        metrics.external.extend(external);
    }
    metrics
}

fn metric<'a>(
    at: usize,
    item: &Item<'a>,
    around: &Around<'_>,
    log: &mut Log,
) -> Option<(Option<Read<'a>>, Vec<ExternalMetric>)> {
    let flavour = around.flavour;
    let mut fields = item.map(log)?;
    let name = fields.need("name", log).and_then(|name| named(&name, log));
    let own_window = fields.take("interval", log);
    let window = own_window.as_ref().map_or(Some(WINDOW), |item| item.span(log));
    let own_quantile = match flavour {
        Flavour::Serin => fields.take("quantile", log).and_then(|item| Some((item.number(log)?, item))),
        Flavour::Flagger => None,
    };
    let asked = Asked::take(&mut fields, log);
    let chosen = own_quantile.as_ref().map(|(quantile, _)| *quantile).or(around.choices.quantile);
    let metric = name.as_deref().and_then(|name| built_in(name, chosen, item, flavour, log));
    if let (Some((_, item)), Some(Metric::SuccessRate) | None) = (&own_quantile, metric) {
        item.refuse(log, format!("belongs to {DURATION} alone"));
    }
    let (range, elsewhere) = ranges(&mut fields, metric, &asked, log);
    fields.finish(log, if flavour == Flavour::Flagger { ADVICE } else { &[] });
    let name = name?;
    let mut external = Vec::new();
    if asked.is_any() {
        if metric.is_some() {
            item.warn(
                log,
                "is measured in the proxy, by its name, and also queried from a metric server, as in Flagger",
            );
        }
        let range = elsewhere_bounds(item, elsewhere, flavour, log);
        external = queries::read(&asked, &Wanted { name: &name, window: own_window.as_ref(), range }, around, log);
    } else {
        queries::read(&asked, &Wanted { name: &name, window: None, range }, around, log);
        if metric.is_none() {
            let near = did_you_mean(&name, &[SUCCESS_RATE, DURATION]);
            item.hold(log, format!("the metric {name:?} is not built in and has neither templateRef nor query{near}"));
        }
    }
    let checked = metric.filter(|metric| is_bounded(item, *metric, range, flavour, log));
    let read = checked.zip(window).map(|(metric, window)| Read {
        at,
        check: Check { name, metric, window, range },
        item: item.clone(),
        window: own_window,
    });
    Some((read, external))
}

/// The built-in metric of that name.
fn built_in(name: &str, quantile: Option<f64>, item: &Item<'_>, flavour: Flavour, log: &mut Log) -> Option<Metric> {
    match name {
        SUCCESS_RATE => Some(Metric::SuccessRate),
        DURATION => {
            if flavour == Flavour::Flagger && quantile.is_none() {
                item.warn(
                    log,
                    "is judged at the 95th percentile, where Flagger takes the 99th; to keep that, set \
                    the annotation serin.dev/request-duration-quantile: \"0.99\"",
                );
            }
            Some(Metric::Duration { quantile: quantile.unwrap_or(QUANTILE) })
        }
        _ => None,
    }
}

/// What is good: in the proxy, and of what a metric server says. They differ by the older `threshold` alone, which is the
/// least success rate, but the greatest of anything asked elsewhere, whatever its name.
fn ranges(
    fields: &mut Map<'_>,
    metric: Option<Metric>,
    asked: &Asked<'_>,
    log: &mut Log,
) -> (ThresholdRange, Option<ThresholdRange>) {
    let old = fields.take("threshold", log);
    let mut range = ThresholdRange::default();
    if let Some(item) = fields.take("thresholdRange", log) {
        if let Some(mut ends) = item.map(log) {
            let (min, max) = (ends.take("min", log), ends.take("max", log));
            range.min = min.as_ref().and_then(|item| item.number(log));
            range.max = max.as_ref().and_then(|item| item.number(log));
            ends.finish(log, &[]);
            if let Some(metric) = metric {
                units::warn(metric, range, [min.as_ref(), max.as_ref()], log);
            }
            if let (true, Some(item), Some(low), Some(high)) = (metric.is_none(), min, range.min, range.max)
                && low > high
            {
                item.refuse(log, format!("is greater than max, {high}"));
            }
        }
        if let Some(old) = old {
            old.warn(log, "is not used, since thresholdRange is given");
        }
        return (range, Some(range));
    }
    let Some(old) = old else { return (range, None) };
    let value = old.number(log);
    let most = ThresholdRange { min: None, max: value };
    if metric == Some(Metric::SuccessRate) {
        let also = if asked.is_any() { "; for the metric server's value it is the max, as in Flagger" } else { "" };
        old.warn(log, format!("is deprecated and read as thresholdRange.min{also}"));
        let range = ThresholdRange { min: value, max: None };
        units::warn(Metric::SuccessRate, range, [Some(&old), None], log);
        return (range, Some(most));
    }
    old.warn(log, "is deprecated and read as thresholdRange.max");
    if let Some(metric) = metric {
        units::warn(metric, most, [None, Some(&old)], log);
    }
    (most, Some(most))
}

/// Without bounds Flagger takes 0 as the greatest good value; an empty range lets everything pass.
fn elsewhere_bounds(item: &Item<'_>, range: Option<ThresholdRange>, flavour: Flavour, log: &mut Log) -> ThresholdRange {
    let Some(range) = range else {
        match flavour {
            Flavour::Flagger => item.warn(log, "has no thresholdRange; as in Flagger the greatest good value is 0"),
            Flavour::Serin => no_bounds(item, log),
        }
        return ThresholdRange { min: None, max: Some(0.0) };
    };
    if range == ThresholdRange::default() {
        match flavour {
            Flavour::Flagger => item.warn(log, "has an empty thresholdRange, so any value passes, as in Flagger"),
            Flavour::Serin => no_bounds(item, log),
        }
    }
    range
}

fn no_bounds(item: &Item<'_>, log: &mut Log) {
    // What is wrong inside it has been reported, and may be why there are none.
    let inside = |field: &str| {
        field.strip_prefix(&item.path).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if !log.problems.iter().any(|problem| inside(&problem.field)) {
        item.refuse(log, "has no bounds, so it checks nothing; give thresholdRange with min, max or both");
    }
}

/// Whether a built-in metric can be checked. Flagger's success rate may be without bounds and always passes.
fn is_bounded(item: &Item<'_>, metric: Metric, range: ThresholdRange, flavour: Flavour, log: &mut Log) -> bool {
    if range != ThresholdRange::default() {
        return true;
    }
    if metric == Metric::SuccessRate && flavour == Flavour::Flagger {
        item.warn(log, "has no bounds and always passes, as in Flagger; give thresholdRange.min");
        return true;
    }
    no_bounds(item, log);
    false
}
