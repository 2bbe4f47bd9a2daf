//! A real Envoy that runs the shipped standalone configuration, with only addresses and the module's path replaced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::edit::replace_once;
use crate::ports::Reserved;
use crate::process::Process;
use crate::wait::until;
use crate::{http, parts};

/// The configuration that users copy.
pub const STANDALONE: &str = include_str!("../../envoy-config/standalone/envoy.yaml");

const READY_WITHIN: Duration = Duration::from_secs(30);

type Edit = Box<dyn Fn(&str) -> Result<String> + Send + Sync>;

/// What an Envoy is started with.
pub struct EnvoySetup {
    node: String,
    primary: SocketAddr,
    canary: SocketAddr,
    agent: Option<SocketAddr>,
    module: Option<PathBuf>,
    concurrency: u32,
    edits: Vec<Edit>,
}

impl EnvoySetup {
    /// Node `edge-1` with two worker threads, the deployed module, and no agent that answers.
    #[must_use]
    pub fn new(primary: SocketAddr, canary: SocketAddr) -> Self {
        let node = "edge-1".to_owned();
        Self { node, primary, canary, agent: None, module: None, concurrency: 2, edits: Vec::new() }
    }

    /// The node id, and the name of its files.
    #[must_use]
    pub fn node(mut self, id: &str) -> Self {
        id.clone_into(&mut self.node);
        self
    }

    /// The agent's gRPC address.
    #[must_use]
    pub fn agent(mut self, addr: SocketAddr) -> Self {
        self.agent = Some(addr);
        self
    }

    /// Another module than the deployed one.
    #[must_use]
    pub fn module(mut self, path: PathBuf) -> Self {
        self.module = Some(path);
        self
    }

    /// Worker threads.
    #[must_use]
    pub fn concurrency(mut self, threads: u32) -> Self {
        self.concurrency = threads;
        self
    }

    /// A further change to the configuration, before addresses are filled in; see [`crate::edit`].
    #[must_use]
    pub fn edit(mut self, edit: impl Fn(&str) -> Result<String> + Send + Sync + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// The edited configuration with `listener`, `agent` and the upstreams in place of the shipped literals.
    fn render(&self, listener: SocketAddr, agent: SocketAddr) -> Result<String> {
        let mut text = STANDALONE.to_owned();
        for edit in &self.edits {
            text = edit(&text)?;
        }
        let port = |addr: SocketAddr| format!("port_value: {}", addr.port());
        text = replace_once(&text, "port_value: 9901", "port_value: 0")?;
        text = replace_once(&text, "port_value: 8080", &port(listener))?;
        text = replace_once(&text, "port_value: 8081", &port(self.primary))?;
        text = replace_once(&text, "port_value: 8082", &port(self.canary))?;
        if text.contains("- name: serin\n") {
            let module = self.module.clone().map_or_else(parts::module, Ok)?;
            text = replace_once(&text, "/etc/envoy/serin.wasm", &module.display().to_string())?;
            text = replace_once(&text, "127.0.0.1:7070", &agent.to_string())?;
        }
        Ok(text)
    }
}

/// A running Envoy.
pub struct Envoy {
    process: Process,
    args: Vec<OsString>,
    dir: PathBuf,
    node: String,
    admin: SocketAddr,
    listener: Reserved,
    // Held so that "no agent" stays true: nobody else can be given the port.
    _no_agent: Reserved,
}

impl Envoy {
    /// Writes the configuration to `dir`, starts Envoy there and waits until it is ready.
    ///
    /// # Errors
    /// When the configuration is refused or Envoy is not ready within 30 s, with the end of its log.
    pub async fn start(dir: &Path, setup: EnvoySetup) -> Result<Self> {
        let (listener, no_agent) = (Reserved::new()?, Reserved::new()?);
        let text = setup.render(listener.addr(), setup.agent.unwrap_or(no_agent.addr()))?;
        let config = dir.join(format!("{}.yaml", setup.node));
        std::fs::write(&config, text)?;
        let args = arguments(&setup, &config, &admin_file(dir, &setup.node));
        let (process, admin) = launch(dir, &setup.node, &args).await?;
        let dir = dir.to_path_buf();
        Ok(Self { process, args, dir, node: setup.node, admin, listener, _no_agent: no_agent })
    }

    /// Where clients connect; stays the same over [`Envoy::restart`].
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// The admin page's address; another one after each restart.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process, to freeze, kill or measure it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills Envoy and starts it again with the same configuration and listener.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill9()?;
        (self.process, self.admin) = launch(&self.dir, &self.node, &self.args).await?;
        Ok(())
    }

    /// One counter or gauge by its full name.
    ///
    /// # Errors
    /// When Envoy has no such statistic: an absent one is not a 0.
    pub async fn counter(&self, name: &str) -> Result<u64> {
        let found = self.stats(name).await?;
        found.get(name).copied().with_context(|| format!("Envoy has no statistic {name:?}"))
    }

    /// All counters and gauges whose names start with `prefix`.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let path = format!("/stats?format=json&filter=^{}", prefix.replace('.', "\\."));
        let answer = http::get(self.admin, &path).await?;
        let page: serde_json::Value = serde_json::from_str(&answer.body).context("stats are not JSON")?;
        let rows = page.get("stats").and_then(|rows| rows.as_array()).context("stats have no rows")?;
        let pair = |row: &serde_json::Value| Some((row.get("name")?.as_str()?.to_owned(), row.get("value")?.as_u64()?));
        Ok(rows.iter().filter_map(pair).collect())
    }

    /// Envoy's log, over all its runs.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }
}

/// Runs `envoy --mode validate` on the configuration that `setup` makes.
///
/// # Errors
/// What Envoy says against it.
pub fn validate(dir: &Path, setup: &EnvoySetup) -> Result<()> {
    let (listener, agent) = (Reserved::new()?, Reserved::new()?);
    let config = dir.join("validate.yaml");
    std::fs::write(&config, setup.render(listener.addr(), agent.addr())?)?;
    let output =
        std::process::Command::new(parts::envoy()?).args(["--mode", "validate", "-c"]).arg(&config).output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "Envoy refuses {}:\n{log}", config.display());
    Ok(())
}

fn admin_file(dir: &Path, node: &str) -> PathBuf {
    dir.join(format!("{node}.admin"))
}

fn arguments(setup: &EnvoySetup, config: &Path, admin_file: &Path) -> Vec<OsString> {
    let threads = setup.concurrency.to_string();
    // Without hot restart there is no shared memory that two Envoys could meet in or that a killed one leaves behind.
    let fixed = ["--disable-hot-restart", "--log-level", "info", "--service-cluster", "edge"];
    let mut args: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    args.extend(["--service-node".into(), (&setup.node).into(), "--concurrency".into(), threads.into()]);
    args.extend(["--config-path".into(), config.into(), "--admin-address-path".into(), admin_file.into()]);
    args
}

async fn launch(dir: &Path, node: &str, args: &[OsString]) -> Result<(Process, SocketAddr)> {
    let admin_file = admin_file(dir, node);
    // An earlier run's file would name an address that is no longer ours.
    std::fs::remove_file(&admin_file).ok();
    let mut process = Process::start(&format!("envoy-{node}"), &parts::envoy()?, args, &[], dir)?;
    let ready = until("Envoy to be ready", READY_WITHIN, async || {
        // Success with `None` ends the wait: a dead process will not become ready.
        if process.has_ended()? {
            return Ok(None);
        }
        let admin: SocketAddr = std::fs::read_to_string(&admin_file).context("no admin address yet")?.parse()?;
        let answer = http::get(admin, "/ready").await?;
        ensure!(answer.status == 200, "/ready says {} {}", answer.status, answer.body.trim());
        Ok(Some(admin))
    });
    if let Some(admin) = ready.await.with_context(|| format!("logs of envoy-{node} are in {}", dir.display()))? {
        return Ok((process, admin));
    }
    process.ensure_alive()?;
    anyhow::bail!("Envoy ended before it was ready")
}
