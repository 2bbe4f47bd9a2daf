//! What a manifest says of guards and certificates: every field, its default, and every rule that it may break.

use rollout::base::time::{Micros, Millis};
use rollout::judgement::certificate::{Certificate, Otherwise};
use rollout::judgement::guards::{GuardAction, GuardRule, Guards};
use rollout::release::plan::Advance;
use rollout::routing::failure_codes::FailureCodes;

use super::{EXAMPLE, WEIGHTED, plan_of, read, warnings};

/// The shipped example with lines put into its analysis.
fn with(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    EXAMPLE.replacen("    advance: certificate\n", &lines, 1)
}

fn guards(lines: &str) -> Guards {
    plan_of(&with(lines)).guards.clone()
}

fn actions(guards: &Guards) -> Vec<(&'static str, GuardAction)> {
    guards.guards.iter().map(|guard| (guard.rule.name().name(), guard.action)).collect()
}

fn refused(lines: &str) -> String {
    let refused = read("f.yaml", &with(lines)).documents.remove(0).result.unwrap_err();
    refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn certificate(text: &str) -> Certificate {
    let Advance::Certificate(certificate) = plan_of(text).advance else { panic!("{text}") };
    certificate
}

#[test]
fn guards_follow_from_the_thresholds() {
    let guards = guards("");
    let (aborting, others): (Vec<_>, Vec<_>) =
        actions(&guards).into_iter().partition(|(_, action)| *action == GuardAction::Abort);
    assert_eq!(aborting, ["slo", "regression", "latency"].map(|guard| (guard, GuardAction::Abort)));
    let pause = ["clientErrors", "abandonment", "latencyRegression"].map(|guard| (guard, GuardAction::Pause));
    assert_eq!(others, pause);
    assert!(guards.guards.iter().filter(|guard| guard.rule.limit().is_some()).all(|guard| guard.rule.forgives()));
    assert_eq!(guards.sample_ratio.map(|ratio| ratio.action), Some(GuardAction::Pause));
    assert!((guards.alpha - 0.01).abs() < 1e-12 && guards.max_cluster == 1);
}

#[test]
fn one_word_softens_all_or_switches_them_off() {
    assert!(actions(&guards("guards: notify")).iter().all(|(_, action)| *action == GuardAction::Notify));
    let off = plan_of(&with("guards: off"));
    assert!(off.guards.is_empty() && off.advance == Advance::Interval, "nothing to certify is left");
    assert!(refused("guards: of").contains("spec.analysis.guards"));
}

#[test]
fn each_guard_can_be_set() {
    let guards = guards(
        "guards:\n  action: pause\n  alpha: 0.001\n  maxCluster: 4\n  slo: { action: abort, unlessPrimaryAlso: false }\n  \
         regression: { margin: 2, floor: 0.2 }\n  latency: off\n  clientErrors: { margin: 3, floor: 2 }\n  abandonment: off\n  latencyRegression: { margin: 1.3, floor: 100ms, \
         action: notify }\n  sampleRatio: { tolerance: 10, alpha: 0.01, action: notify }",
    );
    let expected = [
        ("slo", GuardAction::Abort),
        ("regression", GuardAction::Pause),
        ("clientErrors", GuardAction::Pause),
        ("latencyRegression", GuardAction::Notify),
    ];
    assert_eq!(actions(&guards), expected);
    assert_eq!((guards.alpha, guards.max_cluster), (0.001, 4));
    assert!(matches!(guards.guards[0].rule, GuardRule::Slo { unless_primary_also: false, .. }));
    assert!(matches!(guards.guards[1].rule, GuardRule::Regression { margin: 2.0, floor_rate: 0.002 }));
    assert!(matches!(guards.guards[2].rule, GuardRule::ClientErrors { margin: 3.0, floor_rate: 0.02 }));
    let GuardRule::LatencyRegression { margin, floor_latency, .. } = guards.guards[3].rule else {
        panic!("{guards:?}")
    };
    assert_eq!((margin, floor_latency), (1.3, Micros(100_000)));
    let ratio = guards.sample_ratio.unwrap();
    assert_eq!((ratio.tolerance, ratio.alpha, ratio.action), (0.1, 0.01, GuardAction::Notify));
}

#[test]
fn a_release_advances_on_certificate_unless_told_otherwise() {
    let usual = certificate(EXAMPLE);
    assert_eq!((usual.alpha, usual.min_dwell), (0.05, Millis::from_secs(10)));
    assert_eq!(usual.undecided.then, Otherwise::Hold);
    let set = certificate(&with(
        "certificate: { alpha: 0.01, minDwell: 1m, undecided: { after: 1h, then: fail }, noData: { after: 5m, then: pause } }",
    ));
    assert_eq!((set.alpha, set.min_dwell), (0.01, Millis::from_secs(60)));
    assert_eq!((set.undecided.after, set.undecided.then), (Millis::from_secs(3_600), Otherwise::Fail));
    assert_eq!((set.no_data.after, set.no_data.then), (Millis::from_secs(300), Otherwise::Pause));
}

#[test]
fn checks_at_each_interval_stay_available_and_what_has_no_use_is_named() {
    let text = with("advance: interval\ninterval: 20s\nthreshold: 4");
    let plan = plan_of(&text);
    assert_eq!((plan.advance, plan.interval, plan.threshold), (Advance::Interval, Millis::from_secs(20), 4));
    assert_eq!(warnings(&text), [""; 0]);
    let shown = warnings(&with("advance: certificate\ninterval: 20s\nthreshold: 4"));
    assert!(shown.len() == 2 && shown.iter().all(|line| line.contains("advances on certificate")), "{shown:?}");
    let shown = warnings(&with("advance: interval\ninterval: 20s\nthreshold: 4\ncertificate: { alpha: 0.1 }"));
    assert!(shown.len() == 1 && shown[0].contains("spec.analysis.certificate: is not used"), "{shown:?}");
}

#[test]
fn each_rule_is_named_with_field_and_value() {
    for (lines, field, value) in [
        ("guards: { alpha: 0.5 }", "spec.analysis.guards.alpha", "0.5"),
        ("guards: { alpha: 0 }", "spec.analysis.guards.alpha", "0"),
        ("guards: { maxCluster: 0 }", "spec.analysis.guards.maxCluster", "0"),
        ("guards: { maxCluster: 1001 }", "spec.analysis.guards.maxCluster", "1001"),
        ("guards: { regression: { margin: 0.9 } }", "spec.analysis.guards.regression.margin", "0.9"),
        ("guards: { regression: { floor: 100 } }", "spec.analysis.guards.regression.floor", "100"),
        ("guards: { clientErrors: { margin: 0.5 } }", "spec.analysis.guards.clientErrors.margin", "0.5"),
        ("guards: { abandonment: { floor: 0 } }", "spec.analysis.guards.abandonment.floor", "0"),
        (
            "guards: { latency: { unlessPrimaryAlso: perhaps } }",
            "spec.analysis.guards.latency.unlessPrimaryAlso",
            "perhaps",
        ),
        ("guards: { latencyRegression: { margin: 0 } }", "spec.analysis.guards.latencyRegression.margin", "0"),
        ("guards: { sampleRatio: { tolerance: 100 } }", "spec.analysis.guards.sampleRatio.tolerance", "100"),
        ("guards: { sampleRatio: { alpha: 1 } }", "spec.analysis.guards.sampleRatio.alpha", "1"),
        ("guards: { sloo: abort }", "spec.analysis.guards.sloo", "slo"),
        ("guards: { slo: maybe }", "spec.analysis.guards.slo", "maybe"),
        ("guards: 5", "spec.analysis.guards", "5"),
        ("certificate: { alpha: 0.7 }", "spec.analysis.certificate.alpha", "0.7"),
        ("certificate: { minDwell: 48h }", "spec.analysis.certificate.minDwell", "172800s"),
        ("certificate: { undecided: { after: 0s } }", "spec.analysis.certificate.undecided.after", "0s"),
        ("certificate: { noData: { then: abort } }", "spec.analysis.certificate.noData.then", "fail"),
        ("advance: certificate\nguards: notify", "spec.analysis.advance", "nothing to certify"),
        ("advance: sometimes", "spec.analysis.advance", "interval"),
    ] {
        let shown = refused(lines);
        assert!(shown.contains(field) && shown.contains(value), "{lines}: {shown}");
    }
}

/// The guards run beside Flagger's checks and may only abort earlier; a switch turns them off.
#[test]
fn a_flagger_manifest_keeps_its_intervals() {
    let plan = plan_of(WEIGHTED);
    assert_eq!(plan.advance, Advance::Interval);
    let told_only = actions(&plan.guards).into_iter().filter(|(_, action)| *action != GuardAction::Abort);
    let expected = ["clientErrors", "abandonment", "latencyRegression"].map(|guard| (guard, GuardAction::Notify));
    assert!(told_only.clone().eq(expected), "{:?}", plan.guards);
    let annotated = |word: &str| {
        let head = format!("kind: Canary\nmetadata:\n  annotations: {{ serin.dev/guards: {word} }}\n");
        WEIGHTED.replacen("kind: Canary\nmetadata:\n", &head, 1)
    };
    let paused = actions(&plan_of(&annotated("pause")).guards);
    assert!(paused.iter().all(|(_, action)| *action <= GuardAction::Pause), "{paused:?}");
    assert!(plan_of(&annotated("off")).guards.is_empty());
    let misplaced = WEIGHTED.replacen("  analysis:\n", "  analysis:\n    advance: certificate\n", 1);
    let documents = read("f.yaml", &misplaced).documents;
    let shown: Vec<_> = documents.iter().filter_map(|document| document.result.as_ref().err()).flatten().collect();
    assert!(shown.len() == 1 && shown[0].to_string().contains("advances at each interval"), "{shown:?}");
}

/// A release by certificate looks at its requests, not at a clock.
#[test]
fn a_missing_interval_is_named_only_where_it_counts() {
    let own = |analysis: &str| {
        format!(
            "apiVersion: serin.dev/v1alpha1\nkind: Canary\nmetadata: {{name: web}}\nspec:\n  analysis: {{stepWeights: [10], {analysis}}}\n"
        )
    };
    let rate = "metrics: [{name: request-success-rate, thresholdRange: {min: 99}}]";
    let named = |text: &str| warnings(text).iter().any(|line| line.contains("spec.analysis.interval: is missing"));
    assert!(!named(&own(rate)));
    assert!(!named(&own(&format!("advance: certificate, {rate}"))));
    assert!(named(&own(&format!("advance: interval, {rate}"))));
    assert!(
        named(&own(&format!("webhooks: [{{name: go, type: rollout, url: \"http://a.b/\"}}], {rate}"))),
        "hooks are asked by it"
    );
}

#[test]
fn statuses_that_are_failures_can_be_set() {
    let failures = |lines: &str| plan_of(&with(lines)).measurement.failures;
    assert_eq!(failures("guards: abort"), FailureCodes::USUAL);
    let set = failures("failures: { httpExcept: [501, 505], grpc: [UNAVAILABLE, RESOURCE_EXHAUSTED] }");
    assert_eq!(set, FailureCodes::new([501, 505], [8, 14]).unwrap());
    assert_eq!(
        failures("failures: { httpExcept: [501] }"),
        FailureCodes::new([501], FailureCodes::USUAL.grpc()).unwrap()
    );
    for (lines, field, value) in [
        ("failures: { httpExcept: [404] }", "failures.httpExcept", "404"),
        ("failures: { httpExcept: 501 }", "failures.httpExcept", "501"),
        ("failures: { grpc: [OK] }", "failures.grpc", "OK"),
        ("failures: { grpc: [UNAVAILBLE] }", "failures.grpc", "UNAVAILABLE"),
        ("failures: { http: [500] }", "failures.http", "is not a field"),
        ("failures: none", "failures", "none"),
    ] {
        let shown = refused(lines);
        assert!(shown.contains(field) && shown.contains(value), "{lines}: {shown}");
    }
}
