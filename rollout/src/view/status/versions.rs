//! Primary and canary side by side, as numbers that people compare.

use super::VersionStatus;
use crate::controller::canary::Canary;

use crate::routing::outcome::FailureClass;
use crate::routing::table::Version;
use crate::worker::tally::{Counts, PerVersion};

pub(crate) fn versions(canary: &Canary, counts: &PerVersion) -> Vec<VersionStatus> {
    let of = |version: Version| {
        let upstream = match version {
            Version::Primary => canary.primary(),
            Version::Canary => canary.canary(),
        };
        version_status(version, upstream.as_str(), counts.of(version))
    };
    Version::ALL.map(of).into()
}

fn version_status(version: Version, upstream: &str, counts: &Counts) -> VersionStatus {
    let quantile = |q| counts.latency.quantile(q).map(|us| us.0 as f64 / 1000.0);
    let by_class = FailureClass::ALL.into_iter().map(|class| (class.name().to_owned(), counts.failed.of(class)));
    VersionStatus {
        version: version.name().into(),
        upstream: upstream.into(),
        started: counts.started,
        succeeded: counts.succeeded,
        failed: counts.failed.total(),
        failed_by_class: by_class.filter(|(_, count)| *count > 0).collect(),
        client_errors: counts.client_errors,
        abandoned: counts.abandoned,
        unserved: counts.unserved,
        void: counts.void,
        pending: counts.pending(),
        success_rate_percent: counts.success_rate().map(|rate| rate * 100.0),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
    }
}
