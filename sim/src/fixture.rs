//! The plan that this crate's unit tests begin with.

use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::Millis;
use rollout::judgement::guards::GuardAction;
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::plan::{Advance, Check, Flavour, Metric, Plan, Promotion, Spec, Strategy, ThresholdRange};
use rollout::routing::measurement::{Measurement, WarmUp};
use rollout::routing::table::{Scope, WeightPpm};

/// 10 and 50 %, a check every 10 s, the second failed one rolls back; at least 99 % good, p95 at most 500 ms.
pub(crate) fn plan() -> Plan {
    let id = CanaryId::new("prod", "web").unwrap();
    let check = |name: &str, metric, range| Check { name: name.into(), metric, window: Millis(10_000), range };
    let checks = vec![
        check("request-success-rate", Metric::SuccessRate, ThresholdRange { min: Some(99.0), max: None }),
        check("request-duration", Metric::Duration { quantile: 0.95 }, ThresholdRange { min: None, max: Some(500.0) }),
    ];
    let spec = Spec {
        flavour: Flavour::Flagger,
        scope: Scope::of_service(&id),
        primary: Upstream::parse("web-primary").unwrap(),
        canary: Upstream::parse("web-canary").unwrap(),
        id,
        rules: vec![],
        sticky: None,
        strategy: Strategy::Steps([10, 50].map(|percent| WeightPpm::new(percent * 10_000).unwrap()).to_vec()),
        interval: Millis(10_000),
        threshold: 2,
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        guards: guards_of(&checks, false, &GuardSettings::all(Some(GuardAction::Abort), GuardAction::Pause)),
        advance: Advance::Interval,
        checks,
        promotion: Promotion::Copy { hook: None },
        course: rollout::release::plan::Course::default(),
        outside: rollout::release::plan::Outside::default(),
        unsupported: vec![],
    };
    Plan::new(spec).unwrap()
}
