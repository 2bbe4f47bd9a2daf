//! `spec.analysis.metrics`: the two built-in checks are measured in the proxy; any other holds the release.

use rollout::plan::{Check, Flavour, Metric, ThresholdRange};
use rollout::time::Millis;

use super::reader::{Item, Log, Map, did_you_mean};

/// Flagger's window where none is given.
const WINDOW: Millis = Millis::from_secs(60);
/// The quantile of `request-duration` unless another is chosen.
const QUANTILE: f64 = 0.95;
const SUCCESS_RATE: &str = "request-success-rate";
const DURATION: &str = "request-duration";
const ADVICE: &[(&str, &str)] =
    &[("quantile", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/request-duration-quantile")];

/// A check that can be made.
pub(super) struct Read<'a> {
    /// Its place in the list.
    pub(super) at: usize,
    pub(super) check: Check,
    pub(super) item: Item<'a>,
    /// Its window, if it has one of its own.
    pub(super) window: Option<Item<'a>>,
}

/// Reads the list.
pub(super) fn read<'a>(item: &Item<'a>, flavour: Flavour, quantile: Option<f64>, log: &mut Log) -> Vec<Read<'a>> {
    let items = item.list(log);
    items.iter().enumerate().filter_map(|(n, item)| check(n, item, flavour, quantile, log)).collect()
}

fn check<'a>(at: usize, item: &Item<'a>, flavour: Flavour, quantile: Option<f64>, log: &mut Log) -> Option<Read<'a>> {
    let mut fields = item.map(log)?;
    let name = fields.need("name", log).and_then(|name| name.text(log));
    let own_window = fields.take("interval", log);
    let window = own_window.as_ref().map_or(Some(WINDOW), |item| item.span(log));
    let own_quantile = match flavour {
        Flavour::Serin => fields.take("quantile", log).and_then(|item| Some((item.number(log)?, item))),
        Flavour::Flagger => None,
    };
    let asks_elsewhere = elsewhere(item, &mut fields, name.as_deref(), log);
    let metric = match name.as_deref() {
        Some(SUCCESS_RATE) => Some(Metric::SuccessRate),
        Some(DURATION) => {
            let chosen = own_quantile.as_ref().map(|(quantile, _)| *quantile).or(quantile);
            if flavour == Flavour::Flagger && chosen.is_none() {
                item.warn(
                    log,
                    "is judged at the 95th percentile, where Flagger takes the 99th; to keep that, set \
                    the annotation serin.dev/request-duration-quantile: \"0.99\"",
                );
            }
            Some(Metric::Duration { quantile: chosen.unwrap_or(QUANTILE) })
        }
        _ => None,
    };
    if let (Some((_, item)), Some(Metric::SuccessRate) | None) = (&own_quantile, metric) {
        item.refuse(log, format!("belongs to {DURATION} alone"));
    }
    let range = range(&mut fields, metric, log);
    fields.finish(log, if flavour == Flavour::Flagger { ADVICE } else { &[] });
    let (name, metric) = (name?, metric?);
    if range.min.is_none() && range.max.is_none() && !unbounded(item, metric, flavour, asks_elsewhere, log) {
        return None;
    }
    Some(Read { at, check: Check { name, metric, window: window?, range }, item: item.clone(), window: own_window })
}

/// What must be asked of somebody else: a template, a query, or a name that nobody here knows.
fn elsewhere(item: &Item<'_>, fields: &mut Map<'_>, name: Option<&str>, log: &mut Log) -> bool {
    let template = fields.take("templateRef", log);
    let query = fields.take("query", log);
    if let Some(variables) = fields.take("templateVariables", log).and_then(|item| item.map(log)) {
        variables.rest(log).iter().for_each(|(_, item)| drop(item.text(log)));
    }
    let Some(name) = name else { return template.is_some() || query.is_some() };
    if let Some(template) = &template
        && let Some(mut reference) = template.map(log)
    {
        let named = reference.need("name", log).and_then(|item| item.text(log)).unwrap_or_default();
        if let Some(namespace) = reference.take("namespace", log) {
            namespace.text(log);
        }
        reference.finish(log, &[]);
        item.hold(
            log,
            format!("the metric {name:?} is queried by the MetricTemplate {named:?}, which this build cannot do"),
        );
    }
    if let Some(query) = &query {
        query.text(log);
        item.hold(log, format!("the metric {name:?} has a query of its own, which this build cannot send"));
    }
    let known = [SUCCESS_RATE, DURATION].contains(&name);
    if template.is_none() && query.is_none() && !known {
        let near = did_you_mean(name, &[SUCCESS_RATE, DURATION]);
        item.hold(log, format!("the metric {name:?} is not built in and has neither templateRef nor query{near}"));
    }
    template.is_some() || query.is_some()
}

/// `thresholdRange`, or the older `threshold`: the least success rate, the greatest of anything else.
fn range(fields: &mut Map<'_>, metric: Option<Metric>, log: &mut Log) -> ThresholdRange {
    let old = fields.take("threshold", log);
    let mut range = ThresholdRange::default();
    if let Some(item) = fields.take("thresholdRange", log) {
        if let Some(mut ends) = item.map(log) {
            range.min = ends.take("min", log).and_then(|item| item.number(log));
            range.max = ends.take("max", log).and_then(|item| item.number(log));
            ends.finish(log, &[]);
        }
        if let Some(old) = old {
            old.warn(log, "is not used, since thresholdRange is given");
        }
        return range;
    }
    let Some(old) = old else { return range };
    let value = old.number(log);
    match metric {
        Some(Metric::SuccessRate) => {
            range.min = value;
            old.warn(log, "is deprecated and read as thresholdRange.min");
        }
        _ => {
            range.max = value;
            old.warn(log, "is deprecated and read as thresholdRange.max");
        }
    }
    range
}

/// A built-in metric without bounds: whether it may stay as a check that always passes.
fn unbounded(item: &Item<'_>, metric: Metric, flavour: Flavour, asks_elsewhere: bool, log: &mut Log) -> bool {
    if log.problems.iter().any(|problem| problem.field.starts_with(&item.path)) {
        return false;
    }
    if metric == Metric::SuccessRate && flavour == Flavour::Flagger {
        item.warn(log, "has no bounds and always passes, as in Flagger; give thresholdRange.min");
        return true;
    }
    if !asks_elsewhere {
        item.refuse(log, "has no bounds, so it checks nothing; give thresholdRange with min, max or both");
    }
    false
}
