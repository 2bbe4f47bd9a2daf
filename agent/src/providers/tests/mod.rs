//! Every vendor against a server that keeps what it was asked and answers what that vendor would.

mod aws;
mod buckets;
mod cloudwatch;
mod datadog;
mod dynatrace;
mod graphite;
mod http;
mod influxdb;
mod limits;
mod newrelic;
mod prometheus;
mod published;
mod server;
mod splunk;
mod stackdriver;
mod usual;

use std::collections::BTreeMap;
use std::path::Path;

use rollout::base::time::Millis;
use rollout::release::integrations::{MetricError, Provider, ProviderKind, SecretRef};
use tempfile::TempDir;

use super::Providers;
use crate::secrets::Secrets;
pub(super) use server::{Asked, Reply, Server};

/// 2026-01-02 03:04:05.678 UTC.
pub(super) const NOW: Millis = Millis(1_767_323_045_678);
pub(super) const WINDOW: Millis = Millis::from_secs(60);

/// Providers, one provider and its secret.
pub(super) struct Scene {
    pub(super) providers: Providers,
    pub(super) provider: Provider,
    _folder: TempDir,
}

impl Scene {
    /// A provider at an address, with a secret of these keys (none: no secret at all).
    pub(super) fn new(kind: ProviderKind, address: &str, keys: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("prod/metrics");
        std::fs::create_dir_all(&secret).unwrap();
        keys.iter().for_each(|(key, value)| std::fs::write(secret.join(key), value).unwrap());
        let provider = Provider {
            kind,
            address: Some(address.to_owned()),
            headers: BTreeMap::new(),
            secret: (!keys.is_empty()).then(|| SecretRef { namespace: "prod".into(), name: "metrics".into() }),
            region: None,
            insecure_skip_verify: false,
        };
        Self { providers: providers(folder.path()), provider, _folder: folder }
    }

    pub(super) async fn ask(&self, query: &str) -> Result<f64, MetricError> {
        self.providers.query(&self.provider, query, WINDOW, NOW).await
    }
}

/// Providers that see no variable of the environment.
pub(super) fn providers(secrets: &Path) -> Providers {
    Providers { environment: |_| None, ..Providers::new(Secrets::new(Some(secrets.into()))).unwrap() }
}

/// The reason of a failure.
pub(super) fn reason(answer: Result<f64, MetricError>) -> String {
    match answer {
        Err(MetricError::Failed(reason)) => reason,
        other => panic!("{other:?} is no failure"),
    }
}

/// What one answer, given with status 200, is read as.
pub(super) async fn read(scene: impl Fn(&str) -> Scene, query: &str, body: &str) -> Result<f64, MetricError> {
    let server = Server::start(Reply::ok(body)).await;
    scene(&server.url()).ask(query).await
}
