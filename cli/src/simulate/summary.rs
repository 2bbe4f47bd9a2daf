//! Outcomes of many runs become what a person or program wants to know. This is also the form of `-o json`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rollout::base::time::Millis;
use serde::Serialize;
use sim::Outcome;

use super::options::SimulateArgs;
use super::parallel::Played;
use super::situation::Situation;

/// Everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// `namespace/name`.
    pub(super) canary: String,
    pub(super) requests_per_second: f64,
    pub(super) workers: u16,
    pub(super) runs: u32,
    /// How long each was watched at most.
    pub(super) watched_ms: u64,
    /// Of the first run; the others count on.
    pub(super) seed: u64,
    /// The share of requests that fail on a good day, 0 to 1.
    pub(super) base_failures: f64,
    /// What is wrong with the canary; null for a healthy one.
    pub(super) fault: Option<Fault>,
    /// The bound on false aborts that the plan's guards keep; null where they cannot abort.
    pub(super) alpha: Option<f64>,
    /// Serin first.
    pub(super) rules: Vec<RuleSummary>,
}

/// What is wrong with the canary.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fault {
    /// Share of its requests that fail, 0 to 1.
    pub(super) failures: f64,
    /// `error`, `timeout` or `hang`.
    pub(super) fails_by: String,
    /// Its median latency, milliseconds.
    pub(super) latency_ms: u64,
    /// Whether it is slower than the primary.
    pub(super) is_slow: bool,
    /// Since the beginning of the release.
    pub(super) after_ms: u64,
}

/// One rule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleSummary {
    /// `serin`, or another tool's with its settings.
    pub(super) rule: String,
    /// With the fault; null without one.
    pub(super) faulty: Option<Runs>,
    /// Without it: what is aborted here is aborted falsely.
    pub(super) healthy: Runs,
}

/// What came of all runs of one kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Runs {
    pub(super) aborted: usize,
    pub(super) promoted: usize,
    /// Neither, while they were watched.
    pub(super) unfinished: usize,
    /// Why those stood still at the end that are neither, the most frequent reason first.
    pub(super) held: Vec<Held>,
    /// Share of runs, 0 to 1.
    pub(super) abort_probability: f64,
    /// Of those aborted, from the fault's beginning.
    pub(super) aborted_after_ms: Option<Spread>,
    /// Of those promoted, from the release's beginning.
    pub(super) promoted_after_ms: Option<Spread>,
    /// What users got from the canary until it was aborted or promoted: failed, or never answered.
    pub(super) bad_responses: Option<Spread>,
    /// And good answers above the plan's latency limit.
    pub(super) slow_responses: Option<Spread>,
    /// All of its answers.
    pub(super) canary_requests: Option<Spread>,
    /// The two unwelcome kinds together.
    pub(super) bad_or_slow: Option<Spread>,
}

/// Why some runs never ended.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    /// How many.
    pub(super) runs: usize,
    /// In words; null where the time was over before they had climbed all steps.
    pub(super) why: Option<String>,
}

impl Held {
    /// The reasons of all that are unfinished.
    fn of(outcomes: &[&Outcome]) -> Vec<Self> {
        let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        let unfinished = outcomes.iter().filter(|outcome| outcome.end.is_none());
        unfinished.for_each(|outcome| *counts.entry(outcome.held.as_deref()).or_default() += 1);
        let mut held: Vec<Self> =
            counts.into_iter().map(|(why, runs)| Self { runs, why: why.map(str::to_owned) }).collect();
        held.sort_by_key(|held| Reverse(held.runs));
        held
    }
}

/// The middle and the bad end of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spread {
    pub(super) median: u64,
    pub(super) p95: u64,
    pub(super) max: u64,
}

impl Summary {
    pub(super) fn new(args: &SimulateArgs, situation: &Situation, played: &[Played]) -> Self {
        let plan = &situation.healthy.plan;
        let fault = situation.faulty.as_ref().map(|_| Fault {
            failures: args.fault.unwrap_or(args.base_failures),
            fails_by: format!("{:?}", args.fails_by).to_lowercase(),
            latency_ms: millis(args.slow.unwrap_or(args.latency)),
            is_slow: args.slow.is_some(),
            after_ms: millis(args.fault_after),
        });
        let names = ["serin"].into_iter().chain(situation.rivals.iter().map(sim::rivals::Rival::name));
        let rules = names.enumerate().map(|(place, name)| RuleSummary {
            rule: name.into(),
            faulty: situation.faulty.as_ref().map(|_| {
                let outcomes: Vec<&Outcome> = played.iter().filter_map(|played| played.faulty.get(place)).collect();
                Runs::new(&outcomes, Millis(millis(args.fault_after)))
            }),
            healthy: {
                let outcomes: Vec<&Outcome> = played.iter().filter_map(|played| played.healthy.get(place)).collect();
                Runs::new(&outcomes, Millis(0))
            },
        });
        let aborts =
            plan.guards.guards.iter().any(|guard| guard.action == rollout::judgement::guards::GuardAction::Abort);
        Self {
            canary: plan.id.to_string(),
            requests_per_second: args.rps,
            workers: args.workers,
            runs: u32::try_from(played.len()).unwrap_or(u32::MAX),
            watched_ms: millis(args.watched_for),
            seed: args.seed,
            base_failures: args.base_failures,
            fault,
            alpha: aborts.then_some(plan.guards.alpha),
            rules: rules.collect(),
        }
    }
}

impl Runs {
    fn new(outcomes: &[&Outcome], fault_at: Millis) -> Self {
        let spread = |of: &dyn Fn(&Outcome) -> Option<u64>| Spread::of(outcomes.iter().filter_map(|o| of(o)));
        let aborted = outcomes.iter().filter(|outcome| outcome.aborted().is_some()).count();
        let promoted = outcomes.iter().filter(|outcome| outcome.promoted().is_some()).count();
        Self {
            aborted,
            promoted,
            unfinished: outcomes.len() - aborted - promoted,
            held: Held::of(outcomes),
            abort_probability: aborted as f64 / outcomes.len().max(1) as f64,
            aborted_after_ms: spread(&|outcome| outcome.aborted().map(|(at, _)| at.since(fault_at).0)),
            promoted_after_ms: spread(&|outcome| outcome.promoted().map(|at| at.0)),
            bad_responses: spread(&|outcome| Some(outcome.canary.bad)),
            slow_responses: spread(&|outcome| Some(outcome.canary.slow)),
            canary_requests: spread(&|outcome| Some(outcome.canary.requests)),
            bad_or_slow: spread(&|outcome| Some(outcome.canary.bad + outcome.canary.slow)),
        }
    }
}

impl Spread {
    /// `None` without numbers. The p95 is the smallest that at least 95 of 100 do not exceed.
    fn of(numbers: impl Iterator<Item = u64>) -> Option<Self> {
        let mut sorted: Vec<u64> = numbers.collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { median: at(50)?, p95: at(95)?, max: at(100)? })
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_those_that_ended_have_none() {
        let held = |why: &str| Outcome { held: Some(why.into()), ..Outcome::default() };
        let ended = Outcome { end: Some(sim::outcome::End::Promoted { at: Millis(1) }), ..Outcome::default() };
        let outcomes = [held("a"), held("b"), Outcome::default(), held("b"), ended];
        let held = Held::of(&outcomes.iter().collect::<Vec<_>>());
        let shown: Vec<_> = held.iter().map(|held| (held.runs, held.why.as_deref())).collect();
        assert_eq!(shown, [(2, Some("b")), (1, None), (1, Some("a"))]);
    }

    #[test]
    fn the_p95_is_no_better_than_95_of_100() {
        assert_eq!(Spread::of([].into_iter()), None);
        assert_eq!(Spread::of([7].into_iter()), Some(Spread { median: 7, p95: 7, max: 7 }));
        assert_eq!(Spread::of((1..=100).rev()), Some(Spread { median: 50, p95: 95, max: 100 }));
        assert_eq!(Spread::of(1..=50), Some(Spread { median: 25, p95: 48, max: 50 }));
    }
}
