//! The gates that thresholds mean when a manifest says nothing else of gates.

use crate::gates::{Action, Gate, Gates, Rule};
use crate::outcome::HUNG;
use crate::plan::{Check, Metric, ThresholdRange};
use crate::time::Micros;

/// The bound on a false abort over a whole release.
const ALPHA: f64 = 0.01;
/// A failure-rate objective of 100 % is taken as this.
const LEAST_FAILURE_RATE: f64 = 1e-6;
/// How many times the primary's failure rate is a regression.
const REGRESSION_MARGIN: f64 = 1.5;
/// Share of requests that may hang where no latency limit is set.
const HUNG_SHARE: f64 = 0.05;
/// Failures of one user that are taken as one, with stickiness.
const STICKY_CLUSTER: u32 = 3;

/// The gates that a plan's checks mean when nothing else is said: the success rate's minimum is the objective, a duration's
/// maximum the latency limit, each to be kept with one bound on false aborts; and no regression against the primary.
///
/// Each does `action` when it trips; without one there are none.
pub fn gates_of(checks: &[Check], is_sticky: bool, action: Option<Action>) -> Gates {
    let mut rules = Vec::new();
    for check in checks {
        match (check.metric, check.range) {
            (Metric::SuccessRate, ThresholdRange { min: Some(min), .. }) => {
                let limit = (1.0 - min / 100.0).clamp(LEAST_FAILURE_RATE, 1.0 - LEAST_FAILURE_RATE);
                rules.push(Rule::Slo { limit, unless_primary_also: false });
                rules.push(Rule::Regression { margin: REGRESSION_MARGIN, floor: limit / 2.0 });
            }
            (Metric::Duration { quantile }, ThresholdRange { max: Some(max), .. }) => {
                let limit = Micros((max * 1000.0) as u64);
                rules.push(Rule::Latency { limit, share: 1.0 - quantile });
            }
            _ => {}
        }
    }
    if !rules.iter().any(|rule| matches!(rule, Rule::Latency { .. })) && !rules.is_empty() {
        // Nobody asked about latency, but a canary that never answers is bad whoever asks.
        rules.push(Rule::Latency { limit: HUNG, share: HUNG_SHARE });
    }
    rules.dedup_by_key(|rule| rule.name());
    let gates = action.map(|action| rules.into_iter().map(|rule| Gate { rule, action }).collect()).unwrap_or_default();
    // A sticky user's failures are one event, as far as anybody can tell.
    Gates { gates, alpha: ALPHA, max_cluster: if is_sticky { STICKY_CLUSTER } else { 1 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    fn check(metric: Metric, min: Option<f64>, max: Option<f64>) -> Check {
        Check { name: String::new(), metric, window: Millis(1000), range: ThresholdRange { min, max } }
    }

    #[test]
    fn thresholds_become_objectives() {
        let checks = [
            check(Metric::SuccessRate, Some(99.0), None),
            check(Metric::Duration { quantile: 0.95 }, None, Some(500.0)),
        ];
        let gates = gates_of(&checks, false, Some(Action::Abort));
        let [slo, regression, latency] = gates.gates[..] else { panic!("{gates:?}") };
        assert!(matches!(slo.rule, Rule::Slo { limit, .. } if (limit - 0.01).abs() < 1e-12));
        assert!(matches!(regression.rule, Rule::Regression { floor, .. } if (floor - 0.005).abs() < 1e-12));
        let Rule::Latency { limit, share } = latency.rule else { panic!("{latency:?}") };
        assert!(limit == Micros(500_000) && (share - 0.05).abs() < 1e-12);
        assert_eq!(gates_of(&checks, true, Some(Action::Abort)).max_cluster, STICKY_CLUSTER);
    }

    #[test]
    fn a_canary_that_never_answers_is_bad_whatever_is_checked() {
        let gates = gates_of(&[check(Metric::SuccessRate, Some(100.0), None)], false, Some(Action::Abort));
        assert_eq!(gates.latency_limit(), Some(HUNG));
        assert!(gates_of(&[], false, Some(Action::Abort)).gates.is_empty(), "no threshold is no promise");
        let check = check(Metric::SuccessRate, Some(99.0), None);
        assert!(gates_of(&[check], false, None).gates.is_empty(), "switched off");
    }
}
