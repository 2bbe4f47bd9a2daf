//! Options and plan become scenarios for the simulator, and rivals to play against.

use std::time::Duration;

use rollout::base::time::Millis;
use rollout::release::plan::{Plan, Strategy};
use rollout::routing::table::WeightPpm;
use sim::behaviour::{Behaviour, Course, Failing, Latency};
use sim::rivals::{ARGO_INTERVAL, FailedChecks, Limits, Rival, RivalRule, Steps};
use sim::scenario::{Proxy, Scenario};

use super::options::{FailsBy, SimulateArgs};
use crate::failure::Failure;
use crate::text;

/// Flagger waits at least this long between two checks.
const FLAGGERS_SHORTEST: Millis = Millis(10_000);
/// How long a proxy waits for an answer: Envoy's default.
const ROUTE_TIMEOUT: Millis = Millis(15_000);
/// Spread of latency: puts the p95 at 2.3 times the median.
const SIGMA: f64 = 0.5;

/// What is played.
#[derive(Debug)]
pub(super) struct Situation {
    /// The release with its fault, if there is one.
    pub(super) faulty: Option<Scenario>,
    /// The release without it.
    pub(super) healthy: Scenario,
    /// Each rule at its beginning.
    pub(super) rivals: Vec<Rival>,
}

impl Situation {
    pub(super) fn new(args: &SimulateArgs, plan: Plan) -> Result<Self, Failure> {
        let rivals = rivals(&plan)?;
        let good = Behaviour {
            failure_rate: Course::Constant(args.base_failures),
            latency: Latency { median: millis(args.latency), sigma: SIGMA },
            ..Behaviour::default()
        };
        let mut healthy = Scenario::healthy(plan);
        healthy.proxies = vec![Proxy::default(); usize::from(args.workers)];
        healthy.traffic.per_second = args.rps;
        healthy.watched_for = millis(args.watched_for);
        (healthy.primary, healthy.canary) = (good, good);
        let faulty = (args.fault.is_some() || args.slow.is_some()).then(|| {
            let mut faulty = healthy.clone();
            faulty.canary = broken(args, good);
            faulty
        });
        Ok(Self { faulty, healthy, rivals })
    }
}

fn broken(args: &SimulateArgs, good: Behaviour) -> Behaviour {
    let at = millis(args.fault_after);
    let failing = match args.fails_by {
        FailsBy::Error => Failing::Fast,
        FailsBy::Timeout => Failing::TimesOut(ROUTE_TIMEOUT),
        FailsBy::Hang => Failing::Hangs,
    };
    let after = args.fault.unwrap_or(args.base_failures);
    let failure_rate = Course::From { before: args.base_failures, at, after };
    Behaviour { failure_rate, failing, slower: args.slow.map(|slow| (at, millis(slow))), ..good }
}

fn rivals(plan: &Plan) -> Result<Vec<Rival>, Failure> {
    let Strategy::Steps(weights) = &plan.strategy else {
        return Err(Failure::Refused(
            "spec.analysis.iterations: such a release gives the canary no share of the traffic, only what its match \
             rules place; the simulator plays stepWeight and stepWeights"
                .into(),
        ));
    };
    let limits = Limits::of(plan);
    let flagger = |interval: Millis, threshold| {
        let rule = RivalRule::Flagger { interval, threshold, failed_checks: FailedChecks::Cumulative };
        let name = format!("Flagger {} x {threshold}", text::span(Duration::from_millis(interval.0)));
        Rival::new(name, rule, limits, steps(weights, plan.interval))
    };
    let argo = |failure_limit| {
        // Who pauses for less than the usual 30 s measures as often, or steps would pass without a measurement.
        let interval = plan.interval.min(ARGO_INTERVAL);
        let name = format!("Argo {}, failureLimit {failure_limit}", text::span(Duration::from_millis(interval.0)));
        Rival::new(name, RivalRule::Argo { interval, failure_limit }, limits, steps(weights, plan.interval))
    };
    let mut rivals = vec![flagger(plan.interval.max(FLAGGERS_SHORTEST), plan.threshold)];
    let quick = flagger(FLAGGERS_SHORTEST, 2);
    if rivals.iter().all(|rival| rival.name() != quick.name()) {
        rivals.push(quick);
    }
    rivals.extend([argo(0), argo(3)]);
    Ok(rivals)
}

fn steps(weights: &[WeightPpm], pause: Millis) -> Steps {
    Steps { weights: weights.to_vec(), pause, promotes: true }
}

fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
