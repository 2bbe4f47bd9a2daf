//! Canned statuses for this program's unit tests.

use rollout::status::{CanaryStatus, VersionStatus, WorkerStatus};

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
        phase: phase.into(),
        message: "step 2 of 5".into(),
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
        without_agent: "web-primary (the primary)".into(),
        totals: versions.clone(),
        versions,
        advance: "interval".into(),
        toward_abort: 0.0,
        toward_step: None,
        gates: vec![],
        unsupported: Vec::new(),
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
    }
}
