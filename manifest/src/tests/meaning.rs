//! What hooks, metrics of other servers, alerts and the course of a release mean in the plan.

use rollout::release::integrations::{
    Alert, Hook, HookCall, HookKind, ProviderKind, ReceiverKind, SecretRef, Severity,
};
use rollout::release::plan::{Deadlines, ExternalMetric, Stop, ThresholdRange};
use rollout::routing::table::WeightPpm;

use super::*;

fn percent(percent: f64) -> WeightPpm {
    WeightPpm::new((percent * 10_000.0) as u32).unwrap()
}

fn call(hook: &Hook) -> &HookCall {
    match &hook.target {
        HookTarget::Call(call) => call,
        HookTarget::Gate => panic!("{} is a gate", hook.name),
    }
}

fn secret(namespace: &str, name: &str) -> Option<SecretRef> {
    Some(SecretRef { namespace: namespace.into(), name: name.into() })
}

fn most(max: f64) -> ThresholdRange {
    ThresholdRange { min: None, max: Some(max) }
}

/// An own canary with these lines in its analysis.
fn own(lines: &str) -> String {
    format!(
        "apiVersion: serin.dev/v1alpha1\nkind: Canary\nmetadata: {{name: web}}\nspec:\n  analysis:\n    interval: 10s\n    \
         threshold: 2\n{lines}\n"
    )
}

/// A Flagger canary with these lines in its analysis.
fn flaggers(lines: &str) -> String {
    format!(
        "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {{name: web, namespace: prod}}\nspec:\n  targetRef: \
         {{apiVersion: apps/v1, kind: Deployment, name: web}}\n  analysis:\n    interval: 10s\n    threshold: 3\n{lines}\n"
    )
}

const TEMPLATE: &str = "---\napiVersion: flagger.app/v1beta1\nkind: MetricTemplate\nmetadata: {name: t, namespace: prod}\n\
                        spec: {provider: {type: prometheus, address: \"http://p\"}, query: \"q[{{ interval }}]\"}\n";

#[test]
fn every_hook_of_flagger_is_called() {
    let plan = plan_of(FULL);
    let kinds: Vec<_> = plan.outside.hooks.iter().map(|hook| (hook.name.as_str(), hook.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("change-board", HookKind::ConfirmRollout),
            ("smoke", HookKind::PreRollout),
            ("load", HookKind::Rollout),
            ("more", HookKind::ConfirmTrafficIncrease),
            ("promote", HookKind::ConfirmPromotion),
            ("done", HookKind::PostRollout),
            ("undo", HookKind::Rollback),
            ("log", HookKind::Event),
            ("again", HookKind::Rollout),
        ]
    );
    let [board, smoke, load, ..] = plan.outside.hooks.as_slice() else { panic!("hooks") };
    assert!(board.mute_alert && !smoke.mute_alert);
    assert_eq!((call(board).timeout, call(board).retries), (Millis::from_secs(10), 0));
    assert_eq!((call(smoke).timeout, call(smoke).retries), (Millis::from_secs(180), 2));
    assert_eq!(call(load).metadata["cmd"], "hey -z 1m http://book-canary.shop/");
    assert!(call(load).insecure_skip_verify && !call(smoke).insecure_skip_verify);
    assert_eq!((&call(load).headers, &call(load).signature), (&None, &None));
    let of_hooks = plan.unsupported.iter().filter(|unsupported| unsupported.field.contains("webhooks"));
    assert_eq!(of_hooks.count(), 0);
}

#[test]
fn metrics_of_other_servers_are_asked_with_their_query_filled_in() {
    let plan = plan_of(FULL);
    assert_eq!(plan.checks.len(), 2);
    let [errors, missing, saturation] = plan.outside.metrics.as_slice() else { panic!("{:?}", plan.outside.metrics) };
    assert_eq!(
        errors.query,
        "rate(errors{name=\"book\",ns=\"shop\",target=\"book-app\",svc=\"book\",ing=\"book-ingress\",\n\
         route=\"book-route\",dir=\"inbound\"}[2m])\n"
    );
    assert_eq!((errors.window, errors.range), (Millis::from_secs(120), most(1.5)));
    assert_eq!(errors.provider.kind, ProviderKind::Prometheus);
    assert_eq!(errors.provider.address.as_deref(), Some("http://prometheus.observability:9090"));
    assert_eq!(errors.provider.headers["X-Scope-OrgID"], ["shop", "all"]);
    assert_eq!(errors.provider.secret, secret("observability", "prometheus"));
    assert!(errors.provider.insecure_skip_verify);
    assert_eq!(missing.query, "sum(rate(http_requests_total{status=\"404\",app=\"book-app\"}[1m]))");
    assert_eq!((missing.window, missing.range), (Millis::from_secs(60), most(5.0)));
    assert_eq!(missing.provider.address.as_deref(), Some("http://prometheus.monitoring:9090"));
    assert_eq!((saturation.provider.kind, saturation.range), (ProviderKind::CloudWatch, most(0.0)));
    assert_eq!(saturation.provider.region.as_deref(), Some("eu-central-1"));
    assert_eq!(plan.outside.blind_limit, 3, "the 4th rolls back, as the 4th failed check does");
}

#[test]
fn alerts_know_their_receivers() {
    let plan = plan_of(FULL);
    let shown: Vec<_> = plan.outside.alerts.iter().map(|alert| (alert.name.as_str(), alert.severity)).collect();
    assert_eq!(shown, [("on-call", Severity::Error), ("team", Severity::Info), ("ops", Severity::Warn)]);
    let [Alert { receiver: slack, .. }, Alert { receiver: teams, .. }, ..] = plan.outside.alerts.as_slice() else {
        panic!("alerts")
    };
    assert_eq!(
        (slack.kind, slack.channel.as_str(), slack.username.as_str()),
        (ReceiverKind::Slack, "on-call", "releases")
    );
    assert_eq!(slack.secret, secret("observability", "slack"), "an address beside it is no mistake");
    assert_eq!(slack.address.as_deref(), Some("https://hooks.example.com/T1"));
    assert_eq!(slack.proxy.as_deref(), Some("http://proxy.shop:3128"));
    assert_eq!(
        (teams.kind, teams.channel.as_str(), teams.username.as_str()),
        (ReceiverKind::MsTeams, "general", "flagger")
    );
}

#[test]
fn every_field_that_is_not_acted_on_is_named() {
    let shown = warnings(FULL).join("\n");
    for field in [
        "spec.provider",
        "spec.progressDeadlineSeconds",
        "spec.targetRef",
        "spec.autoscalerRef",
        "spec.ingressRef",
        "spec.routeRef",
        "spec.upstreamRef",
        "spec.revertOnDeletion",
        "spec.service.port: (also portName, targetPort, portDiscovery, \
        appProtocol, headless, trafficDistribution)",
        "spec.service.apex: (also primary, canary, unmanagedMetadata)",
        "spec.service.gateways: (also gatewayRefs, delegation, meshName, backends)",
        "spec.service.rewrite: (also retries, headers, corsPolicy, trafficPolicy, timeout, backendTimeout, mirror)",
        "spec.service.match[0].headers",
        "spec.analysis.primaryReadyThreshold: (also canaryReadyThreshold)",
        "spec.analysis.metrics[0].threshold: is deprecated and read as thresholdRange.min",
        "spec.analysis.metrics[3].query: is deprecated",
        "spec.analysis.metrics[3].threshold: is deprecated and read as thresholdRange.max",
        "spec.analysis.metrics[4]: has no thresholdRange; as in Flagger the greatest good value is 0",
    ] {
        assert!(shown.lines().any(|line| line.contains(field)), "{field} is not among\n{shown}");
    }
    assert!(!shown.contains("metricsServer"), "a query is sent there:\n{shown}");
}

#[test]
fn the_course_of_a_flagger_release() {
    let plan = plan_of(FULL);
    assert_eq!((plan.course.mirror, plan.course.promotion_step), (Some(percent(25.0)), Some(percent(20.0))));
    assert_eq!((plan.course.skip_analysis, plan.course.suspend), (false, false));
    for (lines, mirror) in [
        ("    stepWeight: 10\n    mirror: true", Some(100.0)),
        ("    stepWeight: 10\n    mirror: true\n    mirrorWeight: 0", Some(100.0)),
        ("    iterations: 3\n    mirror: true\n    mirrorWeight: 5", Some(5.0)),
        ("    stepWeight: 10\n    mirror: false\n    mirrorWeight: 5", None),
        ("    iterations: 3\n    mirror: true\n    match: [{headers: {x: {exact: a}}}]", None),
    ] {
        let text = flaggers(lines).replace("  analysis:", "  service: {port: 80}\n  analysis:");
        let plan = plan_of(&text);
        assert_eq!(plan.course.mirror, mirror.map(percent), "{lines}");
        assert_eq!(plan.unsupported, [], "{lines}");
    }
    for (line, skip, suspend) in [("skipAnalysis", true, false), ("suspend", false, true)] {
        let text = FULL.replace(&format!("{line}: false"), &format!("{line}: true"));
        let course = plan_of(&text).course.clone();
        assert_eq!((course.skip_analysis, course.suspend), (skip, suspend));
    }
    let blue_green = plan_of(&flaggers("    iterations: 3"));
    assert!(blue_green.switches() && blue_green.unsupported.is_empty());
}

#[test]
fn our_own_kind_has_steps_bake_time_and_deadlines() {
    let plan = plan_of(FULL_OWN);
    assert_eq!(percents(&plan), [0.5, 10.0, 50.0]);
    let stop = |dwell: u64, pause| Stop { dwell: Millis::from_secs(dwell), pause };
    let course = &plan.course;
    assert_eq!(course.stops, [stop(300, false), stop(0, true), stop(90, false)]);
    assert_eq!((course.bake, course.suspend), (Some(Millis::from_secs(600)), true));
    assert_eq!((course.mirror, course.promotion_step), (Some(WeightPpm::WHOLE), Some(percent(25.0))));
    let hours = |hours: u64| Some(Millis::from_secs(hours * 3600));
    let deadlines = Deadlines {
        waiting: hours(24),
        progressing: hours(2),
        waiting_promotion: hours(8),
        promoting: Some(Millis::from_secs(1800)),
    };
    assert_eq!(course.deadlines, deadlines);
    assert_eq!(warnings(FULL_OWN), [""; 0]);
}

#[test]
fn our_own_kind_has_gates_and_signed_hooks() {
    let plan = plan_of(FULL_OWN);
    let [board, button, load] = plan.outside.hooks.as_slice() else { panic!("{:?}", plan.outside.hooks) };
    assert_eq!([&board.target, &button.target], [&HookTarget::Gate; 2]);
    assert_eq!((board.kind, board.mute_alert, button.kind), (HookKind::ConfirmRollout, true, HookKind::Rollback));
    assert_eq!(call(load).headers, secret("secrets", "load-headers"));
    assert_eq!(call(load).signature, secret("shop", "load-key"));
    let Promotion::Copy { hook: Some(hook) } = &plan.promotion else { panic!("a hook") };
    assert_eq!((call(hook).retries, call(hook).metadata["app"].as_str()), (3, "till"));
    assert_eq!(call(hook).signature, secret("shop", "deploy-key"));
    let [ExternalMetric { provider, query, window, .. }] = plan.outside.metrics.as_slice() else { panic!("a metric") };
    assert_eq!(
        (provider.kind, window.0, query.as_str()),
        (ProviderKind::Http, 90_000, "/queues?app=till&since=90s#/depth")
    );
    assert_eq!(plan.outside.blind_limit, 6);
    let receiver = &plan.outside.alerts[0].receiver;
    assert_eq!((receiver.kind, receiver.username.as_str()), (ReceiverKind::Webhook, "serin"));
}

#[test]
fn what_counts_blind_checks() {
    let metric = "    stepWeight: 10\n    metrics: [{name: m, query: q, thresholdRange: {max: 1}}]";
    assert_eq!(plan_of(&own(metric)).outside.blind_limit, 10);
    assert_eq!(plan_of(&own(&format!("{metric}\n    metricsBlindLimit: 0"))).outside.blind_limit, 0);
    assert_eq!(plan_of(&own(metric)).outside.metrics[0].provider.address.as_deref(), Some("http://prometheus:9090"));
    let unused = own("    stepWeight: 10\n    metricsBlindLimit: 3");
    assert!(warnings(&unused).join("\n").contains("no metric comes from a metric server"), "{:?}", warnings(&unused));
}

#[test]
fn the_older_threshold_means_what_flagger_takes_it_for() {
    let metric = |line: &str| {
        flaggers(&format!("    stepWeight: 10\n    metrics: [{line}]"))
            .replace("  analysis:", "  service: {port: 80}\n  analysis:")
            + TEMPLATE
    };
    let range = |min: Option<f64>, max: Option<f64>| ThresholdRange { min, max };
    for (line, inside, asked) in [
        ("{name: request-success-rate, threshold: 99}", Some(range(Some(99.0), None)), None),
        ("{name: request-success-rate}", Some(range(None, None)), None),
        ("{name: request-duration, threshold: 500}", Some(range(None, Some(500.0))), None),
        ("{name: other, query: q, threshold: 5}", None, Some(most(5.0))),
        ("{name: other, query: q}", None, Some(most(0.0))),
        ("{name: other, query: q, thresholdRange: {}}", None, Some(range(None, None))),
        ("{name: other, query: q, threshold: 5, thresholdRange: {min: 1}}", None, Some(range(Some(1.0), None))),
        (
            "{name: request-success-rate, templateRef: {name: t}, threshold: 99}",
            Some(range(Some(99.0), None)),
            Some(most(99.0)),
        ),
        (
            "{name: request-duration, templateRef: {name: t}, thresholdRange: {min: 1, max: 5}}",
            Some(range(Some(1.0), Some(5.0))),
            Some(range(Some(1.0), Some(5.0))),
        ),
    ] {
        let plan = plan_of(&metric(line));
        assert_eq!(plan.checks.iter().map(|check| check.range).next(), inside, "{line}");
        assert_eq!(plan.outside.metrics.iter().map(|metric| metric.range).next(), asked, "{line}");
    }
    let both = plan_of(&metric("{name: m, templateRef: {name: t}, query: q, threshold: 1, interval: 1.5s}"));
    let queries: Vec<_> = both.outside.metrics.iter().map(|metric| metric.query.as_str()).collect();
    assert_eq!(queries, ["q[1500ms]", "q"], "Flagger asks both; Prometheus knows no fractions");
}

#[test]
fn a_release_on_certificate_still_counts_what_hooks_say() {
    let metric = "    stepWeight: 10\n    metrics: [{name: request-success-rate, thresholdRange: {min: 99}}]";
    let shown = |more: &str| warnings(&own(&format!("{metric}\n{more}"))).join("\n");
    assert!(shown("").contains("spec.analysis.threshold: is not used"), "{}", shown(""));
    assert_eq!(shown("    webhooks: [{name: a, url: \"http://a/\"}]"), "");
    let gate = shown("    webhooks: [{name: a, type: confirm-promotion, gate: true}]");
    assert!(
        gate.contains("spec.analysis.threshold: is not used") && !gate.contains("spec.analysis.interval"),
        "{gate}"
    );
}

#[test]
fn iterations_are_checked_at_intervals_unless_told_otherwise() {
    let metrics = "    metrics: [{name: request-success-rate, thresholdRange: {min: 99}}]";
    for (lines, is_certified) in
        [("    stepWeight: 10", true), ("    steps: [{weight: 10}]", true), ("    iterations: 3", false)]
    {
        let plan = plan_of(&own(&format!("{lines}\n{metrics}")));
        assert_eq!(matches!(plan.advance, Advance::Certificate(_)), is_certified, "{lines}");
    }
    let shown = read("f.yaml", &own(&format!("    advance: certificate\n    iterations: 3\n{metrics}")));
    let shown = shown.documents[0].result.as_ref().unwrap_err()[0].to_string();
    assert!(shown.contains("spec.analysis.iterations: 3 counts intervals"), "{shown}");
}
