//! Canned statuses for this program's unit tests.

use rollout::view::explanation::{
    CertificateExplanation, CertificateGuard, Explanation, GuardExplanation, RatioExplanation, Share,
    StratumExplanation,
};
use rollout::view::status::{CanaryStatus, VersionStatus, WorkerStatus};

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
        needs_person: None,
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
        epoch: 17,
        workers_live: 2,
        workers_in_sync: 2,
        workers_lost: 0,
        workers_tripped: 0,
        without_agent: "web-primary (the primary)".into(),
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
        summary:
            "web v2 at 12.5 %: not cut, 62 % of the way to the certificate of step 2; about 140 more good requests"
                .into(),
        revision: canary.revision,
        weight_percent: canary.weight_percent,
        step: 2,
        steps: 5,
        versions: canary.versions,
        guards: vec![
            guard("slo", slo, Some(1.0), 0.394),
            guard("regression", "at most 1.5 times the primary's failures, above 0.5 %", None, 0.12),
        ],
        toward_abort: 0.41,
        alpha: 0.01,
        max_cluster: 1,
        max_cluster_because: "each failure counts as an event of its own".into(),
        strata: vec![stratum(16, "primary", 8000), stratum(16, "canary", 421), stratum(17, "canary", 819)],
        sample_ratio: Some(RatioExplanation {
            canary: 1240,
            all: 9990,
            expected: 1248.75,
            e_value: 0.2,
            e_needed: 1000.0,
        }),
        certificate: Some(CertificateExplanation {
            progress: 0.62,
            on_step_ms: 12_000,
            dwell_ms: 10_000,
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

/// A worker that has no canary yet.
pub(crate) fn worker(node: &str, incarnation: &str) -> WorkerStatus {
    WorkerStatus {
        node: node.into(),
        cluster: "edge".into(),
        incarnation: incarnation.into(),
        filter_version: "0.1.0".into(),
        protocol: "1.0".into(),
        connected: true,
        silent_ms: 80,
        missing_reports: 0,
        canaries: Vec::new(),
        tripped: Vec::new(),
    }
}
