//! `spec.analysis`: how fast a release climbs, what is checked, and what aborts it.

use rollout::base::time::Millis;
use rollout::judgement::guards::Guards;
use rollout::release::default_guards::guards_of;
use rollout::release::integrations::{Alert, Hook, HookKind};
use rollout::release::plan::{
    Advance, Check, Course, ExternalMetric, Flavour, Metric, Outside, Stop, Strategy, linear_steps,
};
use rollout::routing::measurement::Measurement;
use rollout::routing::request::MatchRule;
use rollout::routing::table::{StickyKey, WeightPpm};

use crate::fields::analysis::advance;
use crate::fields::analysis::alerts;
use crate::fields::analysis::measurement;
use crate::fields::analysis::metrics;
use crate::fields::analysis::metrics::Read;
use crate::fields::analysis::schedule;
use crate::fields::analysis::units;
use crate::fields::context::Around;
use crate::fields::guards;
use crate::fields::traffic::affinity;
use crate::fields::traffic::rules;
use crate::fields::traffic::versions;
use crate::fields::unsupported_fields;
use crate::fields::values::{percent, ppm};
use crate::fields::webhooks;
use crate::reader::shape::warn_groups;
use crate::reader::{Item, Log, MAX_ITEMS, Map};

/// Flagger's interval where none is given.
const INTERVAL: Millis = Millis::from_secs(60);
/// How many checks may find a metric server blind in our own kind.
pub(crate) const BLIND_LIMIT: u32 = 10;
/// Below it Flagger waits longer than configured.
const FLAGGERS_SHORTEST: Millis = Millis::from_secs(10);

/// What was read.
pub(crate) struct Analysis {
    pub(crate) rules: Vec<MatchRule>,
    /// What keeps a user on one version.
    pub(crate) sticky: Option<StickyKey>,
    pub(crate) strategy: Strategy,
    pub(crate) interval: Millis,
    pub(crate) threshold: u32,
    pub(crate) checks: Vec<Check>,
    pub(crate) measurement: Measurement,
    pub(crate) guards: Guards,
    pub(crate) advance: Advance,
    pub(crate) course: Course,
    pub(crate) outside: Outside,
    /// For each check, which of the document's metrics it is.
    pub(crate) check_at: Vec<usize>,
    /// Whether the weights are in `steps`.
    pub(crate) has_steps: bool,
}

/// Reads `analysis`; `None` when it is no map.
pub(crate) fn read(item: &Item<'_>, around: &Around<'_>, log: &mut Log) -> Option<Analysis> {
    let mut fields = item.map(log)?;
    let flavour = around.flavour;
    let (interval, threshold) = (fields.take("interval", log), fields.take("threshold", log));
    let blind_limit = if flavour == Flavour::Serin { fields.take("metricsBlindLimit", log) } else { None };
    let matched = fields.take("match", log);
    let rules = matched.as_ref().map(|item| rules::read(item, flavour, around.provider, log)).unwrap_or_default();
    if let Some(item) = matched.as_ref().filter(|_| around.has_versions) {
        versions::refuse_shared(item, log);
    }
    let Ways { strategy, stops, has_steps } = strategy(&mut fields, matched.as_ref(), flavour, log);
    let has_metrics = fields.has("metrics");
    let metrics = fields.take("metrics", log).map(|item| metrics::read(&item, around, log)).unwrap_or_default();
    let checks: Vec<Check> = metrics.checks.iter().map(|read| read.check.clone()).collect();
    let measurement = measurement::read(&mut fields, flavour, log);
    let mut settings = guards::read(&mut fields, flavour, around.choices.guards, log);
    settings.latency_end = measurement.latency_end;
    let sticky = affinity::read(&mut fields, around.choices.sticky.as_ref(), log);
    let guards = guards_of(&checks, sticky.is_some(), &settings);
    let advance = advance::read(&mut fields, flavour, &guards, &strategy, log);
    let is_checked = matches!(advance, Advance::Interval);
    metrics.checks.iter().filter(|_| !is_checked).for_each(|read| warn_unchecked(read, log));
    let check_at = metrics.checks.iter().map(|read| read.at).collect();
    let course = schedule::read(&mut fields, &strategy, !rules.is_empty(), stops, around, log);
    let (hooks, alerts) = hooks_and_alerts(&mut fields, around, log);
    if !has_metrics {
        warn_no_metrics(&hooks, &fields, log);
    }
    let counts = |kind| matches!(kind, HookKind::PreRollout | HookKind::Rollout);
    let is_counted = is_checked || !metrics.external.is_empty() || hooks.iter().any(|hook| counts(hook.kind));
    let is_timed = is_counted || course.promotion_step.is_some() || !hooks.is_empty();
    let interval = span_of(interval, is_timed, &fields, flavour, log);
    let threshold = count_of(threshold, is_counted, &fields, flavour, log);
    let blind_limit = blind_limit_of(blind_limit.as_ref(), &metrics.external, threshold, flavour, log);
    warn_groups(&mut fields, unsupported_fields::ANALYSIS, log);
    fields.finish(log, if flavour == Flavour::Flagger { ADVICE } else { OWN_ADVICE });
    let outside = Outside { hooks, metrics: metrics.external, blind_limit, alerts };
    Some(Analysis {
        rules,
        sticky,
        strategy,
        interval,
        threshold,
        checks,
        measurement,
        guards,
        advance,
        course,
        outside,
        check_at,
        has_steps,
    })
}

/// Hooks and alerts.
fn hooks_and_alerts(fields: &mut Map<'_>, around: &Around<'_>, log: &mut Log) -> (Vec<Hook>, Vec<Alert>) {
    let hooks = fields.take("webhooks", log);
    let hooks = hooks.map(|item| webhooks::read(&item, around.flavour, &around.namespace, log)).unwrap_or_default();
    let alerts = fields.take("alerts", log).map(|item| alerts::read(&item, around, log)).unwrap_or_default();
    (hooks, alerts)
}

/// How many checks may find a metric server blind. For Flagger those are failed checks as any other, so that the number
/// that rolls back is the same; here they are counted apart.
fn blind_limit_of(
    item: Option<&Item<'_>>,
    metrics: &[ExternalMetric],
    threshold: u32,
    flavour: Flavour,
    log: &mut Log,
) -> u32 {
    let usual = if flavour == Flavour::Flagger { threshold.saturating_sub(1) } else { BLIND_LIMIT };
    let given = item.and_then(|item| item.whole(log, 0, i64::from(i32::MAX)));
    if metrics.is_empty() {
        if let Some(item) = item {
            item.warn(log, "is not used: no metric comes from a metric server");
        }
        return 0;
    }
    given.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(usual)
}

/// Advice for fields that only our own kind has.
const ADVICE: &[(&str, &str)] = &[
    ("guards", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/guards"),
    ("gates", "is an earlier name of guards; here use the annotation serin.dev/guards"),
    ("advance", "is a field of serin.dev/v1alpha1; a flagger.app release advances at each interval"),
    ("certificate", "is a field of serin.dev/v1alpha1; a flagger.app release advances at each interval"),
    ("measure", "is a field of serin.dev/v1alpha1; here time runs to the response headers"),
    ("warmUp", "is a field of serin.dev/v1alpha1; here it is 10s; `serin convert` makes one of this document"),
    ("streamGoodAfter", "is a field of serin.dev/v1alpha1; here it is 10s"),
    ("failures", "is a field of serin.dev/v1alpha1; here they are the usual ones"),
    ("steps", "is a field of serin.dev/v1alpha1; here write stepWeights"),
    ("bakeTime", "is a field of serin.dev/v1alpha1; `serin convert` makes one of this document"),
    ("deadlines", "is a field of serin.dev/v1alpha1; `serin convert` makes one of this document"),
    ("onPrimaryFailure", "is a field of serin.dev/v1alpha1; here it is hold: the canary keeps its share"),
    ("metricsBlindLimit", "is a field of serin.dev/v1alpha1; here it is one less than threshold"),
];
/// Advice for fields that our own kind had once.
const OWN_ADVICE: &[(&str, &str)] = &[("gates", "is an earlier name of guards: guards judge, gates are approvals")];
/// What is said of a field of Flagger's that a release on certificate has no use for.
const UNCHECKED: &str = "is not used: the release advances on certificate; advance: interval checks at each interval";

/// A check of which a certificate takes only one end, and no window.
fn warn_unchecked(read: &Read<'_>, log: &mut Log) {
    if let Some(window) = &read.window {
        window.warn(log, UNCHECKED);
    }
    let unused = match read.check.metric {
        Metric::SuccessRate => read.check.range.max.map(|_| "max"),
        Metric::Duration { .. } => read.check.range.min.map(|_| "min"),
    };
    if let Some(end) = unused {
        read.item.warn(log, format!("has a {end}, which no certificate covers; advance: interval checks it"));
    }
    if read.check.metric == Metric::SuccessRate && read.check.range.min.is_some_and(|min| min >= 100.0) {
        log.warning_in(&format!("{}.thresholdRange.min", read.item.path), units::UNPROVABLE);
    }
}

/// A manifest that was cut off while it was written may still be valid.
fn warn_no_metrics(hooks: &[Hook], fields: &Map<'_>, log: &mut Log) {
    let judges = if hooks.is_empty() { "nothing" } else { "nothing but its webhooks" };
    let reason = format!(
        "is missing: {judges} judges the canary, whatever share of its requests fails; give request-success-rate and \
         request-duration, or complete the file if it was cut off"
    );
    log.warning(fields.at, &format!("{}.metrics", fields.path), reason);
}

fn span_of(item: Option<Item<'_>>, is_used: bool, fields: &Map<'_>, flavour: Flavour, log: &mut Log) -> Millis {
    let Some(item) = item else {
        if is_used {
            log.warning(fields.at, &format!("{}.interval", fields.path), "is missing; 60s is used");
        }
        return INTERVAL;
    };
    let interval = item.span(log).unwrap_or(INTERVAL);
    if !is_used {
        item.warn(log, UNCHECKED);
    } else if flavour == Flavour::Flagger && interval < FLAGGERS_SHORTEST {
        item.warn(log, "is used as written; Flagger would check every 10s");
    }
    interval
}

fn count_of(item: Option<Item<'_>>, is_used: bool, fields: &Map<'_>, flavour: Flavour, log: &mut Log) -> u32 {
    let Some(item) = item else {
        if is_used {
            let reason = "is missing; 1 is used: the first failed check rolls back";
            log.warning(fields.at, &format!("{}.threshold", fields.path), reason);
        }
        return 1;
    };
    let least = if flavour == Flavour::Flagger { i64::from(i32::MIN) } else { 1 };
    let Some(value) = item.whole(log, least, i64::from(i32::MAX)) else { return 1 };
    if !is_used {
        item.warn(log, UNCHECKED);
    } else if value < 1 {
        item.warn(log, "means 1, as in Flagger: the first failed check rolls back");
    }
    u32::try_from(value.max(1)).unwrap_or(1)
}

/// How traffic is given.
struct Ways {
    strategy: Strategy,
    stops: Vec<Stop>,
    has_steps: bool,
}

impl From<Strategy> for Ways {
    fn from(strategy: Strategy) -> Self {
        Self { strategy, stops: Vec::new(), has_steps: false }
    }
}

/// Exactly one of the ways; after a mistake some valid strategy, since the document is refused anyway.
fn strategy(fields: &mut Map<'_>, matched: Option<&Item<'_>>, flavour: Flavour, log: &mut Log) -> Ways {
    const WAYS: &[&str] = &["stepWeight", "stepWeights", "iterations", "steps"];
    let max = fields.take("maxWeight", log).and_then(|item| Some((percent(&item, flavour, log)?, item)));
    let (ways, named) = match flavour {
        Flavour::Flagger => (WAYS.get(..3).unwrap_or_default(), "stepWeight, stepWeights and iterations"),
        Flavour::Serin => (WAYS, "stepWeight, stepWeights, steps and iterations"),
    };
    let given: Vec<_> = ways.iter().filter_map(|key| Some((*key, fields.take(key, log)?))).collect();
    let fallback = Strategy::Steps(vec![WeightPpm::WHOLE]);
    let (way, item) = match given.as_slice() {
        [only] => only,
        [] => {
            let rule = format!("must have one of {}", named.replace(" and ", " or "));
            log.problem(fields.at, &fields.path, "", rule);
            return fallback.into();
        }
        [(first, _), others @ ..] => {
            for (_, item) in others {
                item.refuse(log, format!("is given beside {first}; keep only one of {named}"));
            }
            return fallback.into();
        }
    };
    if let (Some((_, item)), "iterations" | "steps") = (&max, *way) {
        item.warn(log, format!("is not used: {way} say how far the weight goes"));
    }
    if *way == "iterations" {
        return iterations(item, log).into();
    }
    if flavour == Flavour::Flagger
        && let Some(matched) = matched
    {
        matched.warn(
            log,
            "pins those it matches to the canary while all others follow the weight; \
            Flagger on Istio would give the canary that share of the matched ones alone",
        );
    }
    let steps = match *way {
        "stepWeight" => linear(item, max.as_ref().map_or(100.0, |(max, _)| *max), flavour, log),
        "stepWeights" => listed(item, max.as_ref(), flavour, log),
        _ => {
            let (weights, stops) = schedule::steps(item, flavour, log).unwrap_or((vec![WeightPpm::WHOLE], Vec::new()));
            return Ways { strategy: Strategy::Steps(weights), stops, has_steps: true };
        }
    };
    steps.map_or(fallback, Strategy::Steps).into()
}

/// With `match` an A/B test, without it blue/green.
fn iterations(item: &Item<'_>, log: &mut Log) -> Strategy {
    let count = item.whole(log, 1, i64::from(i32::MAX)).and_then(|count| u32::try_from(count).ok());
    Strategy::Iterations(count.unwrap_or(1))
}

fn linear(item: &Item<'_>, max: f64, flavour: Flavour, log: &mut Log) -> Option<Vec<WeightPpm>> {
    let step = percent(item, flavour, log)?;
    if step <= 0.0 {
        item.refuse(log, "must be greater than 0");
        return None;
    }
    let steps = linear_steps(step, max);
    if steps.last().is_none_or(|last| *last < max.min(100.0)) {
        item.refuse(log, format!("needs more than {MAX_ITEMS} steps to reach {max}; take larger steps"));
        return None;
    }
    steps.into_iter().map(ppm).collect()
}

/// Flagger begins to promote at the first weight that reaches `maxWeight`; what follows is never used.
fn listed(item: &Item<'_>, max: Option<&(f64, Item<'_>)>, flavour: Flavour, log: &mut Log) -> Option<Vec<WeightPpm>> {
    let items = item.list(log);
    let weights: Vec<f64> = items.iter().filter_map(|item| percent(item, flavour, log)).collect();
    if weights.len() < items.len() {
        return None;
    }
    let mut steps: Vec<WeightPpm> = weights.iter().copied().filter_map(ppm).collect();
    if let Some((max, at)) = max {
        match weights.iter().position(|weight| weight >= max) {
            Some(last) if last + 1 < steps.len() => {
                steps.truncate(last + 1);
                at.warn(log, format!("is reached by stepWeights[{last}]; the steps after it are not used"));
            }
            Some(_) => {}
            None => at.warn(log, "is never reached by stepWeights; promotion follows the last of them"),
        }
    }
    Some(steps)
}
