//! Each rule of a plan, broken once; and the plan that the tests of other modules begin with.

use super::*;
use crate::routing::measurement::WarmUp;

/// A plan that keeps every rule; tests change what they are about.
pub(crate) fn spec() -> Spec {
    let id = CanaryId::new("prod", "web").unwrap();
    Spec {
        flavour: Flavour::Flagger,
        scope: Scope::of_service(&id),
        id,
        primary: Upstream::parse("web-primary").unwrap(),
        canary: Upstream::parse("web-canary").unwrap(),
        rules: vec![],
        sticky: None,
        strategy: Strategy::Steps([10, 20, 30].map(|percent| WeightPpm::new(percent * 10_000).unwrap()).to_vec()),
        interval: Millis::from_secs(10),
        threshold: 3,
        checks: vec![
            Check {
                name: "request-success-rate".into(),
                metric: Metric::SuccessRate,
                window: Millis::from_secs(10),
                range: ThresholdRange { min: Some(99.0), max: None },
            },
            Check {
                name: "request-duration".into(),
                metric: Metric::Duration { quantile: 0.95 },
                window: Millis::from_secs(10),
                range: ThresholdRange { min: None, max: Some(500.0) },
            },
        ],
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        guards: Guards { guards: Vec::new(), alpha: 0.01, max_cluster: 1, sample_ratio: None },
        advance: Advance::Interval,
        promotion: Promotion::Copy { hook: None },
        course: Course::default(),
        outside: Outside::default(),
        unsupported: vec![],
    }
}

fn refused(change: impl FnOnce(&mut Spec), field: &str, value: &str) {
    let mut spec = spec();
    change(&mut spec);
    let broken = Plan::new(spec).unwrap_err();
    let named = broken.iter().any(|error| error.field == field && error.value == value);
    assert!(named, "{field} {value} is not named in {broken:?}");
}

#[test]
fn each_rule_is_named_with_field_and_value() {
    let weights =
        |percents: &[u32]| Strategy::Steps(percents.iter().map(|p| WeightPpm::new(p * 10_000).unwrap()).collect());
    assert!(Plan::new(spec()).is_ok());
    refused(|s| s.strategy = weights(&[10, 10]), "spec.analysis.stepWeights[1]", "10");
    refused(|s| s.strategy = weights(&[0]), "spec.analysis.stepWeights[0]", "0");
    refused(|s| s.strategy = weights(&[20, 10]), "spec.analysis.stepWeights[1]", "10");
    refused(|s| s.strategy = weights(&[]), "spec.analysis.stepWeights", "0");
    refused(|s| s.strategy = Strategy::Iterations(0), "spec.analysis.iterations", "0");
    refused(|s| s.interval = Millis(10), "spec.analysis.interval", "10ms");
    refused(|s| s.threshold = 0, "spec.analysis.threshold", "0");
    refused(|s| s.canary = s.primary.clone(), "spec.upstreams.canary", "web-primary");
    refused(|s| s.rules = vec![MatchRule::default()], "spec.analysis.match[0]", "{}");
    refused(|s| s.checks[0].range.min = Some(101.0), "spec.analysis.metrics[0].thresholdRange.min", "101");
    refused(|s| s.checks[0].range.min = Some(f64::NAN), "spec.analysis.metrics[0].thresholdRange.min", "NaN");
    refused(|s| s.checks[1].range.min = Some(900.0), "spec.analysis.metrics[1].thresholdRange.min", "900");
    refused(|s| s.checks[1].metric = Metric::Duration { quantile: 95.0 }, "spec.analysis.metrics[1].quantile", "95");
    refused(|s| s.scope.path_prefixes = vec!["shop".into()], "spec.service.match", "shop");
}

#[test]
fn linear_steps_are_flaggers() {
    assert_eq!(linear_steps(10.0, 50.0), [10.0, 20.0, 30.0, 40.0, 50.0]);
    assert_eq!(linear_steps(20.0, 50.0), [20.0, 40.0, 60.0]);
    assert_eq!(linear_steps(30.0, 100.0), [30.0, 60.0, 90.0, 100.0]);
    assert_eq!(linear_steps(0.0, 50.0), [0.0; 0]);
}
