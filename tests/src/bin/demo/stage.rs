//! Everything that runs during the demo: two upstreams, Envoy, the agent, the hook that promotes, and the load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use rollout::view::status::{CanaryStatus, EventStatus};
use serde::Deserialize;
use tests::agent::Agent;
use tests::edit::replace_once;
use tests::envoy::{Envoy, EnvoySetup};
use tests::hook::HookServer;
use tests::http;
use tests::load::{Load, Running};
use tests::samples::Samples;
use tests::upstream::{Behaviour, Upstream};
use tests::wait::until;

use crate::options::Options;

const CANARY: &str = "/api/v1/canaries/default/web";

pub(crate) struct Stage {
    primary: Arc<Upstream>,
    canary: Upstream,
    hook: HookServer,
    agent: Agent,
    envoy: Envoy,
    load: Running,
}

impl Stage {
    pub(crate) async fn start(dir: &Path, options: &Options) -> Result<Self> {
        let primary = Arc::new(Upstream::start(Behaviour::healthy("v1"), 1).await?);
        let canary = Upstream::start(Behaviour::healthy("v1"), 2).await?;
        // What a deployment pipeline would do: bring the primary to the proven version, and say when it is done.
        let deployed = Arc::clone(&primary);
        let hook = HookServer::start(move |call| {
            let revision = call.pointer("/metadata/revision").and_then(serde_json::Value::as_str).unwrap_or("unknown");
            deployed.restart_as(Behaviour::healthy(revision));
            200
        })
        .await?;
        let canaries = manifest(dir, &hook.url())?;
        let agent = Agent::start(dir, &canaries).await?;
        let setup = EnvoySetup::new(primary.addr(), canary.addr()).agent(agent.grpc()).node("demo").concurrency(2);
        let envoy = Envoy::start(dir, setup).await?;
        let load = Load::new(envoy.addr()).start(options.rps).await?;
        let stage = Self { primary, canary, hook, agent, envoy, load };
        // Envoy's two worker threads and its main thread.
        until("three workers at the agent, in sync", Duration::from_secs(20), async || {
            let status = stage.status().await?;
            ensure!(status.workers_in_sync == 3, "{} of {} in sync", status.workers_in_sync, status.workers_live);
            Ok(())
        })
        .await?;
        Ok(stage)
    }

    /// Puts a version behind the canary's upstream and begins its release.
    pub(crate) async fn release(&self, behaviour: Behaviour) -> Result<()> {
        let revision = behaviour.version.clone();
        self.canary.restart_as(behaviour);
        let body = serde_json::json!({ "revision": revision, "actor": "demo" }).to_string();
        let headers = [("content-type", "application/json")];
        let path = format!("{CANARY}/releases");
        let answer = http::request(self.agent.http(), Method::POST, &path, &headers, &body).await?;
        ensure!(answer.status == 200, "the agent refused the release: {} {}", answer.status, answer.body);
        Ok(())
    }

    pub(crate) async fn status(&self) -> Result<CanaryStatus> {
        let answer = self.agent.api(CANARY).await?;
        serde_json::from_value(answer).context("the status is not as documented")
    }

    pub(crate) async fn events(&self) -> Result<Vec<EventStatus>> {
        #[derive(Deserialize)]
        struct Events {
            items: Vec<EventStatus>,
        }
        let answer = self.agent.api(&format!("{CANARY}/events")).await?;
        let events: Events = serde_json::from_value(answer).context("the events are not as documented")?;
        Ok(events.items)
    }

    /// Every response that the load has received so far.
    pub(crate) fn samples(&self) -> Samples {
        self.load.samples()
    }

    /// The version that the primary upstream runs now.
    pub(crate) fn primary_version(&self) -> String {
        self.primary.behaviour().version
    }

    pub(crate) fn describe(&self, options: &Options) -> String {
        format!(
            "{}\nLoad: {} requests a second. Weights 10, 25, 50 %, each left when its own requests have proven success >= 99 % \
             and p95 <= 500 ms;\n      meanwhile the guards look after every report and abort a version that is worse.",
            self.urls(),
            options.rps
        )
    }

    pub(crate) fn urls(&self) -> String {
        let (envoy, admin, http) = (self.envoy.addr(), self.envoy.admin(), self.agent.http());
        format!(
            "Envoy http://{envoy}  admin http://{admin}  agent http://{http}  hook {}\nLook closer: \
             SERIN_AGENT=http://{http} target/dist/serin describe web",
            self.hook.url()
        )
    }
}

/// The shipped example with steps short enough for a demo.
fn manifest(dir: &Path, hook_url: &str) -> Result<PathBuf> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-config/standalone/web.yaml");
    let mut text = std::fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
    text = replace_once(&text, "    # certificate: { minDwell: 10s", "    certificate: { minDwell: 2s")?;
    text = replace_once(&text, "stepWeights: [1, 5, 10, 25, 50]", "stepWeights: [10, 25, 50]")?;
    let hook = format!("    hook: {{ url: \"{hook_url}\", timeout: 30s }}");
    text = replace_once(&text, "    # hook: { url: \"http://127.0.0.1:8090/promote\", timeout: 30s }", &hook)?;
    let canaries = dir.join("canaries");
    std::fs::create_dir_all(&canaries)?;
    std::fs::write(canaries.join("web.yaml"), text)?;
    Ok(canaries)
}
