//! The usual cast of an end-to-end test: two versions of a service, an agent, and an Envoy between them and the load.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollout::view::status::{CanaryStatus, EventStatus, VersionStatus, WorkerStatus};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::case::Case;
use crate::envoy::{Envoy, EnvoySetup};
use crate::load::Load;
use crate::manifest::Manifest;
use crate::samples::Samples;
use crate::upstream::{Behaviour, Upstream};
use crate::wait::until;

/// How long a test waits for anything that takes a second or two on an idle machine.
pub const WITHIN: Duration = Duration::from_secs(60);
/// Envoy's two worker threads and its main thread: each has a VM and a stream.
pub const WORKERS: usize = 3;

const CANARY: &str = "/api/v1/canaries/default/web";
const SEED: u64 = 7;

/// Two versions: `v1` behind web-primary, `v2` behind web-canary, both healthy.
pub struct Versions {
    /// Behind `web-primary`.
    pub primary: Arc<Upstream>,
    /// Behind `web-canary`.
    pub canary: Arc<Upstream>,
}

impl Versions {
    /// Starts both.
    pub async fn start() -> Result<Self> {
        let primary = Arc::new(Upstream::start(Behaviour::healthy("v1"), SEED).await?);
        let canary = Arc::new(Upstream::start(Behaviour::healthy("v2"), SEED + 1).await?);
        Ok(Self { primary, canary })
    }

    /// An Envoy between the two, without an agent.
    #[must_use]
    pub fn setup(&self) -> EnvoySetup {
        EnvoySetup::new(self.primary.addr(), self.canary.addr())
    }
}

/// Everything that runs.
pub struct Stage {
    /// The upstreams.
    pub versions: Versions,
    /// The agent.
    pub agent: Agent,
    /// The proxy.
    pub envoy: Envoy,
}

impl Stage {
    /// Starts all of it and waits until every worker has the agent's entry.
    pub async fn start(case: &Case, manifest: &Manifest) -> Result<Self> {
        Self::start_with(case, Versions::start().await?, manifest, |setup| setup).await
    }

    /// The same with upstreams that exist already and a changed Envoy.
    pub async fn start_with(
        case: &Case,
        versions: Versions,
        manifest: &Manifest,
        change: impl FnOnce(EnvoySetup) -> EnvoySetup,
    ) -> Result<Self> {
        let agent = Agent::start(case.dir(), &manifest.write(case)?).await?;
        let envoy = Envoy::start(case.dir(), change(versions.setup().agent(agent.grpc()))).await?;
        let stage = Self { versions, agent, envoy };
        stage.in_sync(WORKERS).await?;
        Ok(stage)
    }

    /// `GET /` at Envoy.
    #[must_use]
    pub fn load(&self) -> Load {
        Load::new(self.envoy.addr())
    }

    /// The canary's status.
    pub async fn status(&self) -> Result<CanaryStatus> {
        typed(self.agent.api(CANARY).await?)
    }

    /// The canary's history, oldest first.
    pub async fn events(&self) -> Result<Vec<EventStatus>> {
        items(self.agent.api(&format!("{CANARY}/events")).await?)
    }

    /// What the agent knows of Envoy's workers.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>> {
        items(self.agent.api("/api/v1/workers").await?)
    }

    /// `serin release web --revision REVISION`.
    pub async fn release(&self, revision: &str) -> Result<()> {
        self.agent.cli(&["release", "web", "--revision", revision]).await?.ok()?;
        Ok(())
    }

    /// `serin abort web`.
    pub async fn abort(&self) -> Result<()> {
        self.agent.cli(&["abort", "web", "--reason", "the test says so"]).await?.ok()?;
        Ok(())
    }

    /// Waits until this many workers are live and all of them have the newest entry in force.
    pub async fn in_sync(&self, workers: usize) -> Result<()> {
        until("all workers in sync", WITHIN, async || {
            let CanaryStatus { workers_live, workers_in_sync, .. } = self.status().await?;
            ensure!((workers_live, workers_in_sync) == (workers, workers), "{workers_in_sync} of {workers_live}");
            Ok(())
        })
        .await
    }

    /// Waits for a phase.
    pub async fn phase(&self, phase: &str) -> Result<CanaryStatus> {
        until(&format!("phase {phase}"), WITHIN, async || {
            let status = self.status().await?;
            ensure!(status.phase == phase, "{}: {}", status.phase, status.message);
            Ok(status)
        })
        .await
    }

    /// Waits until the agent means this weight and every worker has it in force.
    pub async fn weight(&self, percent: f64) -> Result<()> {
        until(&format!("weight {percent}"), WITHIN, async || {
            let status = self.status().await?;
            ensure!(status.weight_percent == percent, "{} %: {}", status.weight_percent, status.message);
            Ok(())
        })
        .await?;
        self.in_sync(WORKERS).await
    }

    /// A release of `v2` that stands at this weight, everywhere; for [`Manifest::steady`].
    pub async fn released_at(&self, percent: f64) -> Result<()> {
        self.release("v2").await?;
        self.weight(percent).await
    }

    /// Waits until `requests` have ended and reached the agent, and holds its totals against Envoy's own counters:
    /// per version started = `upstream_rq_total` and failed = `upstream_rq_5xx`, exactly.
    pub async fn totals_as_envoy(&self, requests: u64) -> Result<Vec<VersionStatus>> {
        let totals = self.totals(requests).await?;
        for total in &totals {
            let counters = self.envoy.stats(&format!("cluster.{}.upstream_rq_", total.upstream)).await?;
            let read = |name: &str| {
                counters.get(&format!("cluster.{}.upstream_rq_{name}", total.upstream)).copied().unwrap_or(0)
            };
            let (counted, by_envoy) = ((total.started, total.failed), (read("total"), read("5xx")));
            ensure!(counted == by_envoy, "{}: (started, failed) is {counted:?}, Envoy has {by_envoy:?}", total.version);
        }
        Ok(totals)
    }

    /// Waits until the totals are of exactly this many requests, all ended.
    pub async fn totals(&self, requests: u64) -> Result<Vec<VersionStatus>> {
        until(&format!("totals of {requests} ended requests"), WITHIN, async || {
            let totals = self.status().await?.totals;
            let started: u64 = totals.iter().map(|total| total.started).sum();
            let pending: u64 = totals.iter().map(|total| total.pending).sum();
            ensure!((started, pending) == (requests, 0), "{started} started, {pending} pending");
            Ok(totals)
        })
        .await
    }

    /// Sends `count` requests of which none may reach the canary's cluster: by the client's count and by Envoy's.
    pub async fn all_on_primary(&self, count: u64) -> Result<()> {
        let name = "cluster.web-canary.upstream_rq_total";
        let before = self.envoy.stats(name).await?;
        let samples = self.load().exactly(count).await?;
        ensure!(samples.bad() == 0 && samples.count() == count, "{:?}", samples.by_version());
        ensure!(self.envoy.stats(name).await? == before, "the canary's cluster was used: {:?}", samples.by_version());
        Ok(())
    }
}

/// Every good answer came from `version`, and there were some.
pub fn ensure_all_from(samples: &Samples, version: &str) -> Result<()> {
    let (count, bad, all) = (samples.count_of(version), samples.bad(), samples.count());
    ensure!(count == all && bad == 0 && all > 0, "not all from {version}: {:?}", samples.by_version());
    Ok(())
}

fn items<T: DeserializeOwned>(page: serde_json::Value) -> Result<Vec<T>> {
    #[derive(Deserialize)]
    struct Items<T> {
        items: Vec<T>,
    }
    typed::<Items<T>>(page).map(|page| page.items)
}

fn typed<T: DeserializeOwned>(page: serde_json::Value) -> Result<T> {
    serde_json::from_value(page).context("the API's answer is not as documented")
}
