//! A Flagger user's own file, against a real Prometheus, a real load tool and a real Envoy. Only its addresses and its
//! pace are changed.

#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use rollout::view::status::{CanaryStatus, EventStatus};
use serde::de::DeserializeOwned;
use tests::agent::Agent;
use tests::case::Case;
use tests::edit::replace_once;
use tests::envoy::Envoy;
use tests::load::Load;
use tests::loadtester::LoadTester;
use tests::prometheus::{Exporter, Prometheus};
use tests::stage::{Versions, WITHIN, WORKERS};
use tests::wait::until;

const WEB: &str = include_str!("../data/web-canary.yaml");
const CANARY: &str = "/api/v1/canaries/prod/web";
const RPS: f64 = 150.0;

/// Everything that the file speaks of.
struct World {
    versions: Versions,
    /// Errors that only Prometheus sees, in every hundred requests.
    errors: Arc<AtomicU64>,
    agent: Agent,
    envoy: Envoy,
    _load_tester: LoadTester,
    prometheus: Prometheus,
    _exporter: Exporter,
}

impl World {
    async fn start(case: &Case) -> Result<Self> {
        let versions = Versions::start().await?;
        let errors = Arc::<AtomicU64>::default();
        let bad = Arc::clone(&errors);
        let total = AtomicU64::new(0);
        let failed = AtomicU64::new(0);
        let exporter = Exporter::showing(move |_| {
            let percent = bad.load(Ordering::SeqCst);
            let sample = |status: u16, count: u64| {
                let labels = "namespace=\"prod\",kubernetes_pod_name=\"web-7d4b9c-x2x4z\"";
                format!("http_requests_total{{{labels},status=\"{status}\"}} {count}\n")
            };
            let good = total.fetch_add(100 - percent, Ordering::SeqCst) + 100 - percent;
            let failed = failed.fetch_add(percent, Ordering::SeqCst) + percent;
            sample(200, good) + &sample(500, failed)
        })
        .await?;
        let prometheus = Prometheus::start(case, "prometheus", &[exporter.addr()], None).await?;
        exporter.scraped(3).await?;
        let load_tester = LoadTester::start(case).await?;
        let manifest =
            replace_once(WEB, "http://prometheus.monitoring:9090", &format!("http://{}", prometheus.addr()))?;
        let manifest =
            replace_once(&manifest, "http://flagger-loadtester.prod/", &format!("http://{}/", load_tester.addr))?;
        let manifest =
            replace_once(&manifest, "http://web-canary.prod:80/", &format!("http://{}/", versions.canary.addr()))?;
        let manifest = replace_once(&manifest, "    interval: 1m\n    threshold", "    interval: 2s\n    threshold")?;
        case.file("canaries/web-canary.yaml", &manifest)?;
        let agent = Agent::start(case.dir(), &case.dir().join("canaries")).await?;
        let envoy = Envoy::start(case.dir(), versions.setup().agent(agent.grpc())).await?;
        let world = Self { versions, errors, agent, envoy, _load_tester: load_tester, prometheus, _exporter: exporter };
        until("all workers in sync", WITHIN, async || {
            let CanaryStatus { workers_live, workers_in_sync, .. } = world.get(CANARY).await?;
            ensure!((workers_live, workers_in_sync) == (WORKERS, WORKERS), "{workers_in_sync} of {workers_live}");
            Ok(())
        })
        .await?;
        Ok(world)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(serde_json::from_value(self.agent.api(path).await?)?)
    }

    async fn phase(&self, phase: &str) -> Result<CanaryStatus> {
        until(&format!("phase {phase}"), WITHIN, async || {
            let status: CanaryStatus = self.get(CANARY).await?;
            ensure!(status.phase == phase, "{}: {}", status.phase, status.message);
            Ok(status)
        })
        .await
    }

    async fn messages(&self) -> Result<Vec<String>> {
        let mut answer = self.agent.api(&format!("{CANARY}/events")).await?;
        let events: Vec<EventStatus> = serde_json::from_value(answer["items"].take())?;
        Ok(events.into_iter().map(|event| event.message).collect())
    }
}

#[tokio::test]
async fn the_file_of_a_flagger_user_works_as_it_is() -> Result<()> {
    Case::run("web-canary", async |case| {
        let world = World::start(case).await?;
        let load = Load::new(world.envoy.addr()).start(RPS).await?;
        world.agent.cli(&["release", "web", "--revision", "v2"]).await?.ok()?;
        let status = world.phase("Promoting").await?;
        assert_eq!(
            (status.weight_percent, status.steps, status.failed_checks),
            (50.0, 5, 0),
            "{:?}",
            world.messages().await?
        );
        assert_eq!(status.unsupported, [""; 0]);
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        // The load tool called the canary itself, besides what came through Envoy.
        let through_envoy = world.envoy.counter("cluster.web-canary.upstream_rq_total").await?;
        assert!(world.versions.canary.counts().requests > through_envoy, "{through_envoy}");
        // The next version looks as good to users, but Prometheus counts 5 % errors: three checks, then back.
        world.agent.cli(&["confirm", "web"]).await?.ok()?;
        world.phase("Succeeded").await?;
        world.errors.store(5, Ordering::SeqCst);
        let load = Load::new(world.envoy.addr()).start(RPS).await?;
        world.agent.cli(&["release", "web", "--revision", "v3"]).await?.ok()?;
        let status = world.phase("Failed").await?;
        assert!(status.message.contains("metric error-rate") && status.message.contains("max 1"), "{}", status.message);
        let messages = world.messages().await?;
        let failed = messages.iter().filter(|line| line.starts_with("failed check")).count();
        assert_eq!(failed, 2, "the third rolls back at once: {messages:?}");
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_blind_prometheus_is_not_a_bad_canary() -> Result<()> {
    Case::run("web-canary-blind", async |case| {
        let mut world = World::start(case).await?;
        let load = Load::new(world.envoy.addr()).start(RPS).await?;
        world.prometheus.kill9()?;
        world.agent.cli(&["release", "web", "--revision", "v2"]).await?.ok()?;
        let status = world.phase("Failed").await?;
        assert!(status.message.contains("without a metric value"), "{}", status.message);
        let messages = world.messages().await?;
        assert!(messages.iter().all(|line| !line.starts_with("failed check")), "{messages:?}");
        assert_eq!(load.stop().await?.bad(), 0);
        Ok(())
    })
    .await
}
