//! The guards that thresholds mean when a manifest says nothing else of guards.

use crate::base::time::Micros;
use crate::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
use crate::judgement::sample_ratio::SampleRatio;
use crate::release::plan::{Check, Metric, ThresholdRange};
use crate::routing::measurement::LatencyEnd;

/// The bound on a false abort over a whole release.
const ALPHA: f64 = 0.01;
/// A failure-rate objective of 100 % is taken as this.
const LEAST_FAILURE_RATE: f64 = 1e-6;
/// How many times the primary's failure rate is a regression.
const REGRESSION_MARGIN: f64 = 1.5;
/// Failures of one user that are taken as one, with stickiness.
const STICKY_CLUSTER: u32 = 3;

/// How many times slower than the primary is a regression.
const LATENCY_MARGIN: f64 = 1.1;
/// How far off the canary's share may be; a hash and whole requests are never exact.
const RATIO_TOLERANCE: f64 = 0.05;
/// The bound on a false alarm about the share.
const RATIO_ALPHA: f64 = 0.001;

/// What an operator may set of the guards; the limits themselves are the checks'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardSettings {
    /// The bound on a false abort over a whole release.
    pub alpha: f64,
    /// Most failures that are one event; `None` is 1, or more with stickiness.
    pub max_cluster: Option<u32>,
    /// What the SLO guard does; `None` turns it off, as for the others.
    pub slo: Option<GuardAction>,
    /// Whether it forgives what the primary suffers too.
    pub unless_primary_also: bool,
    /// Whether the latency guard does.
    pub latency_unless_primary_also: bool,
    /// What the regression guard does.
    pub regression: Option<GuardAction>,
    /// How many times the primary's failure rate is too much.
    pub margin: f64,
    /// The failure rate, 0 to 1, below which that does not matter; `None` is half the SLO's.
    pub floor_rate: Option<f64>,
    /// What the latency guard does.
    pub latency: Option<GuardAction>,
    /// Where the time ends that it looks at.
    pub latency_end: LatencyEnd,
    /// What the latency regression guard does.
    pub latency_regression: Option<GuardAction>,
    /// How many times slower than the primary is too slow.
    pub latency_margin: f64,
    /// The latency below which that does not matter; `None` is half the limit.
    pub floor_latency: Option<Micros>,
    /// What the guard on client errors does.
    pub client_errors: Option<GuardAction>,
    /// See [`RelativeSettings`].
    pub client_errors_beyond: RelativeSettings,
    /// What the guard on requests that clients gave up does.
    pub abandonment: Option<GuardAction>,
    /// See [`RelativeSettings`].
    pub abandonment_beyond: RelativeSettings,
    /// What is asked of the canary's share.
    pub sample_ratio: Option<SampleRatio>,
}

/// From when on a share that only the primary's makes wrong is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelativeSettings {
    /// How many times the primary's share.
    pub margin: f64,
    /// The share, 0 to 1, below which that does not matter.
    pub floor_rate: f64,
}

impl RelativeSettings {
    const USUAL: Self = Self { margin: 2.0, floor_rate: 0.01 };
}

impl GuardSettings {
    /// All guards doing `action`, or off; but those that find fault with a canary within its limits, or with the evidence,
    /// never do more than `comparison`: a person should look first.
    pub fn all(action: Option<GuardAction>, comparison: GuardAction) -> Self {
        let capped = |action: GuardAction| action.min(comparison);
        Self {
            alpha: ALPHA,
            max_cluster: None,
            slo: action,
            unless_primary_also: true,
            latency_unless_primary_also: true,
            regression: action,
            margin: REGRESSION_MARGIN,
            floor_rate: None,
            latency: action,
            latency_end: LatencyEnd::ResponseHeaders,
            latency_regression: action.map(capped),
            latency_margin: LATENCY_MARGIN,
            floor_latency: None,
            client_errors: action.map(capped),
            client_errors_beyond: RelativeSettings::USUAL,
            abandonment: action.map(capped),
            abandonment_beyond: RelativeSettings::USUAL,
            sample_ratio: action.map(|action| SampleRatio {
                tolerance: RATIO_TOLERANCE,
                alpha: RATIO_ALPHA,
                action: action.min(GuardAction::Pause),
            }),
        }
    }
}

/// The guards that a plan's checks mean: the success rate's minimum is the objective, a duration's maximum the latency
/// limit, each to be kept with one bound on false aborts; and no regression against the primary.
pub fn guards_of(checks: &[Check], is_sticky: bool, settings: &GuardSettings) -> Guards {
    let mut guards = Vec::new();
    let mut put = |rule: GuardRule, action: Option<GuardAction>| {
        let is_first = !guards.iter().any(|guard: &Guard| guard.rule.name() == rule.name());
        guards.extend(action.filter(|_| is_first).map(|action| Guard { rule, action }));
    };
    for check in checks {
        match (check.metric, check.range) {
            (Metric::SuccessRate, ThresholdRange { min: Some(min), .. }) => {
                let limit = (1.0 - min / 100.0).clamp(LEAST_FAILURE_RATE, 1.0 - LEAST_FAILURE_RATE);
                put(GuardRule::Slo { limit, unless_primary_also: settings.unless_primary_also }, settings.slo);
                let floor_rate = settings.floor_rate.unwrap_or(limit / 2.0);
                put(GuardRule::Regression { margin: settings.margin, floor_rate }, settings.regression);
                let RelativeSettings { margin, floor_rate } = settings.client_errors_beyond;
                put(GuardRule::ClientErrors { margin, floor_rate }, settings.client_errors);
                let RelativeSettings { margin, floor_rate } = settings.abandonment_beyond;
                put(GuardRule::Abandonment { margin, floor_rate }, settings.abandonment);
            }
            (Metric::Duration { quantile }, ThresholdRange { max: Some(max), .. }) => {
                let (limit, share) = (Micros((max * 1000.0) as u64), 1.0 - quantile);
                let (unless_primary_also, end) = (settings.latency_unless_primary_also, settings.latency_end);
                put(GuardRule::Latency { limit, share, unless_primary_also, end }, settings.latency);
                let margin = settings.latency_margin;
                let floor_latency = settings.floor_latency.unwrap_or(Micros(limit.0 / 2));
                put(GuardRule::LatencyRegression { margin, floor_latency, share }, settings.latency_regression);
            }
            _ => {}
        }
    }
    // A sticky user's failures are one event, as far as is known; and users, not requests, are given by weight.
    let (cluster, sample_ratio) = if is_sticky { (STICKY_CLUSTER, None) } else { (1, settings.sample_ratio) };
    Guards { guards, alpha: settings.alpha, max_cluster: settings.max_cluster.unwrap_or(cluster), sample_ratio }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Millis;
    use crate::judgement::sequential::Test;
    use crate::statistics::boundary::Boundary;

    fn check(metric: Metric, min: Option<f64>, max: Option<f64>) -> Check {
        Check { name: String::new(), metric, window: Millis(1000), range: ThresholdRange { min, max } }
    }

    fn all(action: Option<GuardAction>) -> GuardSettings {
        GuardSettings::all(action, GuardAction::Pause)
    }

    #[test]
    fn thresholds_become_objectives() {
        let checks = [
            check(Metric::SuccessRate, Some(99.0), None),
            check(Metric::Duration { quantile: 0.95 }, None, Some(500.0)),
        ];
        let guards = guards_of(&checks, false, &all(Some(GuardAction::Abort)));
        let [slo, regression, client_errors, abandonment, latency, slower] = guards.guards[..] else {
            panic!("{guards:?}")
        };
        assert!(matches!(slo.rule, GuardRule::Slo { limit, .. } if (limit - 0.01).abs() < 1e-12));
        assert!(
            matches!(regression.rule, GuardRule::Regression { floor_rate, .. } if (floor_rate - 0.005).abs() < 1e-12)
        );
        let GuardRule::Latency { limit, share, .. } = latency.rule else { panic!("{latency:?}") };
        assert!(limit == Micros(500_000) && (share - 0.05).abs() < 1e-12);
        assert!(matches!(slower.rule, GuardRule::LatencyRegression { floor_latency: Micros(250_000), .. }));
        assert_eq!([slo, regression, latency].map(|guard| guard.action), [GuardAction::Abort; 3]);
        let advisory = [slower, client_errors, abandonment].map(|guard| guard.action);
        assert_eq!(advisory, [GuardAction::Pause; 3], "worse than the primary but within the limit: a person looks");
        assert_eq!(guards.sample_ratio.map(|ratio| ratio.action), Some(GuardAction::Pause));
    }

    #[test]
    fn with_stickiness_failures_cluster_and_shares_are_not_judged() {
        let checks = [check(Metric::SuccessRate, Some(99.0), None)];
        let guards = guards_of(&checks, true, &all(Some(GuardAction::Abort)));
        assert_eq!((guards.max_cluster, guards.sample_ratio), (STICKY_CLUSTER, None));
        let settings = GuardSettings { max_cluster: Some(7), ..all(Some(GuardAction::Abort)) };
        assert_eq!(guards_of(&checks, true, &settings).max_cluster, 7);
    }

    #[test]
    fn without_a_latency_limit_there_is_no_latency_guard() {
        let abort = all(Some(GuardAction::Abort));
        let guards = guards_of(&[check(Metric::SuccessRate, Some(100.0), None)], false, &abort);
        assert_eq!(guards.latency_limit(), None);
        assert!(guards_of(&[], false, &abort).guards.is_empty(), "no threshold is no promise");
    }

    #[test]
    fn what_depends_on_the_client_is_held_against_the_primary_alone() {
        let abort = all(Some(GuardAction::Abort));
        let checks = [check(Metric::Duration { quantile: 0.95 }, None, Some(500.0))];
        for (latency_end, is_relative) in [(LatencyEnd::LastByte, true), (LatencyEnd::ResponseHeaders, false)] {
            let settings = GuardSettings { latency_end, latency_unless_primary_also: false, ..abort };
            let tests = guards_of(&checks, false, &settings).guards[0].rule.tests();
            assert_eq!(matches!(tests[..], [Test { boundary: Boundary::Both { .. }, .. }]), is_relative);
        }
    }

    #[test]
    fn each_guard_can_be_softened_or_switched_off() {
        let check = check(Metric::SuccessRate, Some(99.0), None);
        assert!(guards_of(std::slice::from_ref(&check), false, &all(None)).is_empty());
        let settings = GuardSettings {
            regression: None,
            client_errors: None,
            abandonment: None,
            slo: Some(GuardAction::Notify),
            ..all(Some(GuardAction::Abort))
        };
        let guards = guards_of(&[check], false, &settings).guards;
        let named: Vec<_> = guards.iter().map(|guard| (guard.rule.name().name(), guard.action)).collect();
        assert_eq!(named, [("slo", GuardAction::Notify)]);
    }
}
