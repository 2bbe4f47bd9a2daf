//! Canned statuses for this program's unit tests.

use rollout::view::destinations::DestinationStatus;
use rollout::view::explanation::{
    CertificateExplanation, CertificateGuard, CheckExplanation, Explanation, GuardExplanation, HookExplanation,
    MetricExplanation, PrimaryExplanation, PrimaryLimit, RatioExplanation, Share, StageExplanation, StratumExplanation,
};
use rollout::view::status::{CanaryStatus, VersionStatus, WorkerStatus};
use rollout::worker::messages::PROTOCOL;

/// A canary in mid-release.
pub(crate) fn canary(namespace: &str, name: &str, phase: &str) -> CanaryStatus {
    let versions = vec![
        VersionStatus {
            version: "primary".into(),
            upstream: "web-primary".into(),
            started: 8750,
            succeeded: 8740,
            failed: 10,
            failed_by_class: [("http_5xx".into(), 10)].into(),
            client_errors: 210,
            abandoned: 0,
            unserved: 0,
            void: 0,
            pending: 0,
            success_rate_percent: Some(99.886),
            p50_ms: Some(8.2),
            p95_ms: Some(40.0),
            p99_ms: None,
        },
        VersionStatus {
            version: "canary".into(),
            upstream: "web-canary".into(),
            started: 1240,
            succeeded: 1216,
            failed: 19,
            failed_by_class: [("http_5xx".into(), 12), ("timeout".into(), 7)].into(),
            client_errors: 31,
            abandoned: 2,
            unserved: 3,
            void: 0,
            pending: 5,
            success_rate_percent: Some(98.5),
            p50_ms: Some(9.0),
            p95_ms: Some(41.5),
            p99_ms: None,
        },
    ];
    CanaryStatus {
        name: name.into(),
        namespace: namespace.into(),
        service: None,
        phase: phase.into(),
        message: "step 2 of 5".into(),
        hold: None,
        remarks: Vec::new(),
        needs_person: None,
        primary_fails: None,
        manifest: "8f0c2d".into(),
        manifest_gone: false,
        next_manifest: None,
        release: 3,
        revision: Some("v2".into()),
        promoted_revision: Some("v1".into()),
        weight_percent: 12.5,
        observed_percent: Some(12.412),
        step: 2,
        steps: 5,
        failed_checks: 1,
        threshold: 3,
        next_check_ms: Some(4200),
        started_at_ms: Some(1_700_000_000_000),
        ran_ms: Some(72_000),
        on_step_ms: Some(12_000),
        requests_per_second: Some(20.0),
        step_remaining_ms: None,
        epoch: 17,
        workers_live: 2,
        workers_in_sync: 2,
        workers_lost: 0,
        workers_tripped: 0,
        without_agent: "web-primary (the primary)".into(),
        default_route_wrong: false,
        totals: versions.clone(),
        versions,
        advance: "interval".into(),
        toward_abort: 0.0,
        toward_step: None,
        guards: vec![],
        unsupported: Vec::new(),
    }
}

/// That canary's judgement.
pub(crate) fn explanation(namespace: &str, name: &str) -> Explanation {
    let canary = canary(namespace, name, "Progressing");
    let share = |events, trials, percent| Share {
        events,
        trials,
        percent: Some(percent),
        low_percent: percent / 2.0,
        high_percent: percent * 2.0,
    };
    let guard = |guard: &str, rule: &str, limit_percent, toward_action| GuardExplanation {
        guard: guard.into(),
        rule: rule.into(),
        forgiveness: None,
        action: "abort".into(),
        verdict: "undecided".into(),
        canary: share(19, 1240, 1.532),
        primary: share(10, 8750, 0.114),
        difference: [0.31, 1.418, 3.049],
        limit_percent,
        e_value: 12.345,
        e_needed: 200.0,
        toward_action,
    };
    let slo = "at most 1 % may fail";
    let stratum = |epoch, version: &str, requests| StratumExplanation {
        epoch,
        weight_percent: Some(12.5),
        version: version.into(),
        placement: "drawn".into(),
        requests,
        failed: 3,
        pending: 0,
    };
    Explanation {
        canary: format!("{namespace}/{name}"),
        release: canary.release,
        phase: canary.phase,
        summary: "web v2 at 12.5 %: 62 % of the way to the certificate of step 2; about 140 more good requests".into(),
        revision: canary.revision,
        weight_percent: canary.weight_percent,
        step: 2,
        steps: 5,
        advance: "certificate".into(),
        stages: [5.0, 12.5, 25.0, 50.0, 100.0].iter().zip(1..).map(|(weight, step)| stage(step, *weight)).collect(),
        versions: canary.versions,
        checks: Vec::new(),
        metrics: vec![metric("error-rate", Some(0.25), None), metric("checkout-errors", None, Some("timed out"))],
        hooks: vec![hook("smoke", "pre-rollout", "agreed"), hook("deploy", "promotion", "notAsked")],
        guards: vec![
            guard("slo", slo, Some(1.0), 0.394),
            guard("regression", "at most 1.5 times the primary's failures, above 0.5 %", None, 0.12),
        ],
        toward_abort: 0.41,
        alpha: 0.01,
        max_cluster: 1,
        max_cluster_because: "each failure counts as an event of its own".into(),
        strata: vec![stratum(16, "primary", 8000), stratum(16, "canary", 421), stratum(17, "canary", 819)],
        destinations: [("primary", "web-primary", 156), ("canary", "web-canary", 51)]
            .map(|(version, cluster, requests)| DestinationStatus {
                version: version.into(),
                cluster: cluster.into(),
                requests,
                shared: false,
            })
            .into(),
        sample_ratio: Some(RatioExplanation {
            canary: 1240,
            all: 9990,
            expected: 1248.75,
            e_value: 0.2,
            e_needed: 1000.0,
        }),
        primary: Some(PrimaryExplanation {
            fails: false,
            accepted_by: None,
            alpha: 0.01,
            limits: vec![PrimaryLimit {
                guard: "slo".into(),
                rule: slo.into(),
                primary: share(10, 8750, 0.114),
                canary: share(19, 1240, 1.532),
                e_value: 0.4,
                e_needed: 100.0,
            }],
        }),
        certificate: Some(CertificateExplanation {
            progress: 0.62,
            on_step_ms: 12_000,
            dwell_ms: 10_000,
            left_out: 12,
            gone_workers: 1,
            guards: vec![CertificateGuard {
                guard: "slo".into(),
                rule: slo.into(),
                events: 0,
                trials: 231,
                progress: 0.62,
                requests_to_go: 140,
            }],
        }),
    }
}

/// The judgement of a canary that checks advance.
#[allow(dead_code, reason = "unit tests alone show it")]
pub(crate) fn checked(namespace: &str, name: &str) -> Explanation {
    let check = |check: &str, unit: &str, value, min, max, verdict: &str| CheckExplanation {
        check: check.into(),
        unit: unit.into(),
        value: Some(value),
        primary_value: Some(if unit == "%" { 99.9 } else { 40.0 }),
        min,
        max,
        verdict: verdict.into(),
        requests: 1240,
        window_ms: 60_000,
        at_ms: None,
    };
    Explanation {
        summary: "web v2 at 12.5 %: evidence for an abort 41 %; its checks advance it, 1 of 3 failed".into(),
        advance: "interval".into(),
        checks: vec![
            check("request-success-rate", "%", 98.5, Some(99.0), None, "fail"),
            check("request-duration p95", "ms", 41.5, None, Some(500.0), "pass"),
        ],
        certificate: None,
        ..explanation(namespace, name)
    }
}

fn stage(step: usize, weight_percent: f64) -> StageExplanation {
    let dwell_ms = if step == 2 { 10_000 } else { 0 };
    StageExplanation {
        step,
        weight_percent,
        mirror_percent: 0.0,
        dwell_ms,
        stops: step == 3,
        needs_approval: step == 5,
    }
}

fn metric(metric: &str, value: Option<f64>, error: Option<&str>) -> MetricExplanation {
    MetricExplanation {
        metric: metric.into(),
        value,
        min: None,
        max: Some(1.0),
        verdict: if value.is_some() { "pass" } else { "noValue" }.into(),
        error: error.map(str::to_owned),
        asked_at_ms: Some(1_700_000_060_000),
    }
}

fn hook(hook: &str, kind: &str, state: &str) -> HookExplanation {
    HookExplanation {
        hook: hook.into(),
        kind: kind.into(),
        state: state.into(),
        said: None,
        answered_at_ms: (state == "agreed").then_some(1_700_000_001_000),
    }
}

/// A worker that has no canary yet.
pub(crate) fn worker(node: &str, incarnation: &str) -> WorkerStatus {
    WorkerStatus {
        node: node.into(),
        cluster: "edge".into(),
        incarnation: incarnation.into(),
        filter_version: "0.1.0".into(),
        protocol: PROTOCOL.to_string(),
        connected: true,
        silent_ms: 80,
        missing_reports: 0,
        canaries: Vec::new(),
        tripped: Vec::new(),
    }
}
