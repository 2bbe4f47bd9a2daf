//! Primary and canary side by side, as numbers that people compare.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::controller::canary::Canary;
use crate::routing::outcome::FailureClass;
use crate::routing::table::Version;
use crate::worker::tally::{Counts, PerVersion};

/// One version's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// `primary` or `canary`.
    pub version: String,
    /// The upstream that plays it now.
    pub upstream: String,
    /// Requests begun.
    pub started: u64,
    /// Good answers.
    pub succeeded: u64,
    /// Bad answers of all classes.
    pub failed: u64,
    /// Bad answers by class, classes without any left out.
    pub failed_by_class: BTreeMap<String, u64>,
    /// Good answers with a status of 400 to 499.
    pub client_errors: u64,
    /// Requests whose client left, or that the proxy cut because it had waited for the client: neither good nor bad.
    pub abandoned: u64,
    /// The abandoned, and those that had not come in whole after 15 s.
    pub unserved: u64,
    /// Requests that say nothing about the version.
    pub void: u64,
    /// Begun and not yet ended.
    pub pending: u64,
    /// Good answers in percent of good and bad.
    pub success_rate_percent: Option<f64>,
    /// Latency quantiles in milliseconds.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p95_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
}

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
