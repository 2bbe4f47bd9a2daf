//! `spec.analysis`: how fast a release climbs, what is checked, and when it is cut.

use rollout::default_gates::gates_of;
use rollout::gates::Gates;
use rollout::matching::MatchRule;
use rollout::plan::{Advance, Check, Flavour, Metric, Strategy, linear_steps};
use rollout::table::WeightPpm;
use rollout::time::Millis;

use super::choices::Choices;
use super::metrics::Read;
use super::reader::{Item, Log, MAX_ITEMS, Map};
use super::{advance, gates, hooks, metrics, rules};

/// Flagger's interval where none is given.
const INTERVAL: Millis = Millis::from_secs(60);
/// Below it Flagger waits longer than it is told to.
const FLAGGERS_SHORTEST: Millis = Millis::from_secs(10);

/// What was read.
pub(super) struct Analysis {
    pub(super) rules: Vec<MatchRule>,
    pub(super) strategy: Strategy,
    pub(super) interval: Millis,
    pub(super) threshold: u32,
    pub(super) checks: Vec<Check>,
    pub(super) gates: Gates,
    pub(super) advance: Advance,
    /// For each check, which of the document's metrics it is.
    pub(super) check_at: Vec<usize>,
}

const NOT_OURS: &[(&[&str], &str)] = &[(
    &["primaryReadyThreshold", "canaryReadyThreshold"],
    "is not acted on: a standalone agent sees no pods; a version that is not ready fails its requests and is judged by them",
)];

/// Reads `analysis`; `None` when it is no map.
pub(super) fn read(item: &Item<'_>, flavour: Flavour, choices: &Choices, log: &mut Log) -> Option<Analysis> {
    let mut fields = item.map(log)?;
    let (interval, threshold) = (fields.take("interval", log), fields.take("threshold", log));
    let matched = fields.take("match", log);
    let rules = matched.as_ref().map(|item| rules::read(item, flavour, log)).unwrap_or_default();
    let strategy = strategy(&mut fields, matched.as_ref(), flavour, log);
    let quantile = choices.quantile;
    let metrics =
        fields.take("metrics", log).map(|item| metrics::read(&item, flavour, quantile, log)).unwrap_or_default();
    let checks: Vec<Check> = metrics.iter().map(|read| read.check.clone()).collect();
    let settings = gates::read(&mut fields, flavour, choices.gates, log);
    let gates = gates_of(&checks, choices.sticky.is_some(), &settings);
    let advance = advance::read(&mut fields, flavour, &gates, &strategy, log);
    let is_checked = matches!(advance, Advance::Interval);
    metrics.iter().filter(|_| !is_checked).for_each(|read| warn_unchecked(read, log));
    let check_at = metrics.iter().map(|read| read.at).collect();
    let interval = span_of(interval, is_checked, &fields, flavour, log);
    let threshold = count_of(threshold, is_checked, &fields, flavour, log);
    hooks::read(&mut fields, log);
    held_switches(&mut fields, log);
    fields.warn_groups(NOT_OURS, log);
    fields.finish(log, if flavour == Flavour::Flagger { ADVICE } else { &[] });
    Some(Analysis { rules, strategy, interval, threshold, checks, gates, advance, check_at })
}

/// Advice for fields that only our own kind has.
const ADVICE: &[(&str, &str)] = &[
    ("gates", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/gates"),
    ("advance", "is a field of serin.dev/v1alpha1; a flagger.app release advances at each interval"),
    ("certificate", "is a field of serin.dev/v1alpha1; a flagger.app release advances at each interval"),
];
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
        read.item.warn(log, format!("has a {end}, which no certificate is about; advance: interval checks it"));
    }
}

fn span_of(item: Option<Item<'_>>, is_checked: bool, fields: &Map<'_>, flavour: Flavour, log: &mut Log) -> Millis {
    let Some(item) = item else {
        if is_checked {
            log.warning(fields.at, &format!("{}.interval", fields.path), "is missing; 60s is used");
        }
        return INTERVAL;
    };
    let interval = item.span(log).unwrap_or(INTERVAL);
    if !is_checked {
        item.warn(log, UNCHECKED);
    } else if flavour == Flavour::Flagger && interval < FLAGGERS_SHORTEST {
        item.warn(log, "is honoured as it stands; Flagger would check every 10s");
    }
    interval
}

fn count_of(item: Option<Item<'_>>, is_checked: bool, fields: &Map<'_>, flavour: Flavour, log: &mut Log) -> u32 {
    let Some(item) = item else {
        if is_checked {
            let reason = "is missing; 1 is used: the first failed check rolls back";
            log.warning(fields.at, &format!("{}.threshold", fields.path), reason);
        }
        return 1;
    };
    let least = if flavour == Flavour::Flagger { i64::from(i32::MIN) } else { 1 };
    let Some(value) = item.whole(log, least, i64::from(i32::MAX)) else { return 1 };
    if !is_checked {
        item.warn(log, UNCHECKED);
    } else if value < 1 {
        item.warn(log, "means 1, as in Flagger: the first failed check rolls back");
    }
    u32::try_from(value.max(1)).unwrap_or(1)
}

/// Exactly one of the three ways; after a mistake some valid strategy, since the document is refused anyway.
fn strategy(fields: &mut Map<'_>, matched: Option<&Item<'_>>, flavour: Flavour, log: &mut Log) -> Strategy {
    let max = fields.take("maxWeight", log).and_then(|item| Some((percent(&item, flavour, log)?, item)));
    let ways = ["stepWeight", "stepWeights", "iterations"].map(|key| fields.take(key, log).map(|item| (key, item)));
    let given: Vec<_> = ways.into_iter().flatten().collect();
    let fallback = Strategy::Steps(vec![WeightPpm::WHOLE]);
    let (way, item) = match given.as_slice() {
        [only] => only,
        [] => {
            log.problem(fields.at, &fields.path, "", "must have one of stepWeight, stepWeights or iterations");
            return fallback;
        }
        [(first, _), others @ ..] => {
            for (_, item) in others {
                item.refuse(
                    log,
                    format!("stands beside {first}; keep only one of stepWeight, stepWeights and iterations"),
                );
            }
            return fallback;
        }
    };
    if *way == "iterations" {
        return iterations(item, matched, log);
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
        _ => listed(item, max.as_ref(), flavour, log),
    };
    steps.map_or(fallback, Strategy::Steps)
}

fn iterations(item: &Item<'_>, matched: Option<&Item<'_>>, log: &mut Log) -> Strategy {
    if matched.is_none() {
        item.hold(log, "without match asks for a blue/green release, whose switch of all traffic this build cannot do");
    }
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

/// 0 to 100, to the precision that a share of traffic has.
fn percent(item: &Item<'_>, flavour: Flavour, log: &mut Log) -> Option<f64> {
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
        item.warn(log, "is honoured as it stands; Flagger itself cannot read fractions here");
    }
    Some(value)
}

fn ppm(percent: f64) -> Option<WeightPpm> {
    WeightPpm::new((percent * 10_000.0).round() as u32).ok()
}

/// Ways of moving traffic that this build does not have.
fn held_switches(fields: &mut Map<'_>, log: &mut Log) {
    if let Some(item) = fields.take("mirror", log)
        && item.boolean(log) == Some(true)
    {
        item.hold(log, "asks for mirrored requests before the first step, which this build does not send");
    }
    if let Some(item) = fields.take("mirrorWeight", log) {
        percent(&item, Flavour::Serin, log);
        item.warn(log, "is not used: this build does not mirror");
    }
    if let Some(item) = fields.take("stepWeightPromotion", log)
        && percent(&item, Flavour::Serin, log).is_some_and(|step| step > 0.0)
    {
        item.hold(log, "asks that traffic return to the primary in steps; this build returns it at once");
    }
}
