//! What `serin init` writes, on a real Envoy: the configuration is accepted, the script starts everything, a release
//! moves traffic, and Ctrl-C leaves nothing behind.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tests::case::Case;
use tests::load::Load;
use tests::parts;
use tests::ports;
use tests::process::Process;
use tests::stage::{Versions, WITHIN, ensure_all_from};
use tests::wait::until;

const HOST: &str = "shop.test";
/// What each writes last into its log when it is asked to end.
const AGENT: (&str, &str) = ("agent.log", "stopping");
const ENVOY: (&str, &str) = ("envoy.log", "exiting");

/// Runs a program to its end; what it wrote to standard output.
async fn run(program: &Path, args: &[&str], agent: Option<SocketAddr>) -> Result<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(args).envs(agent.map(|agent| ("SERIN_AGENT", format!("http://{agent}")))).kill_on_drop(true);
    let output = command.output().await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} {args:?}: {}\n{out}{err}", program.display(), output.status);
    Ok(out.into_owned())
}

/// `serin init NAME` into a folder of that name; its path.
async fn init(case: &Case, name: &str, options: &[&str]) -> Result<PathBuf> {
    let folder = case.dir().join(name);
    let (dir, module) = (folder.display().to_string(), parts::module()?.display().to_string());
    let args = [&["init", name, "--dir", &dir, "--module", &module], options].concat();
    run(&parts::binary()?, &args, None).await?;
    Ok(folder)
}

/// A generated folder that was started as its user starts it.
struct Started {
    script: Process,
    folder: PathBuf,
    envoy: SocketAddr,
    agent: SocketAddr,
}

impl Started {
    /// Two versions behind it: one by address, one by name.
    async fn new(case: &Case, versions: &Versions) -> Result<Self> {
        let path = path(case)?;
        let [envoy, admin, grpc, agent] = [ports::unasked()?, ports::unasked()?, ports::unasked()?, ports::unasked()?];
        let (primary, canary) = (versions.primary.addr(), format!("localhost:{}", versions.canary.addr().port()));
        let [listen, admin, grpc, http, primary] = [envoy, admin, grpc, agent, primary].map(|addr| addr.to_string());
        let options = [["--host", HOST], ["--primary", &primary], ["--canary", &canary], ["--listen", &listen]];
        let agents = [["--admin", &admin], ["--grpc", &grpc], ["--http", &http]];
        let folder = init(case, "shop", [options.as_flattened(), agents.as_flattened()].concat().as_slice()).await?;
        let canaries = folder.join("canaries").display().to_string();
        let valid = run(&parts::binary()?, &["validate", &canaries], None).await?;
        ensure!(valid.ends_with("1 accepted, 0 accepted with warnings, 0 refused, 0 skipped\n"), "{valid}");

        // In a process group of its own, as a terminal has it, with Ctrl-C not ignored, however the tests are run.
        let script = folder.join("start.sh").into_os_string();
        let args = ["env".into(), "--default-signal=INT".into(), script, "--concurrency".into(), "2".into()];
        let script = Process::start("start.sh", Path::new("setsid"), &args, &[("PATH", path)], case.dir())?;
        let mut started = Self { script, folder, envoy, agent };
        until("start.sh to say that it is ready", WITHIN, async || {
            ensure!(started.script.stdout()?.contains("start.sh: ready: "), "{}", started.script.log()?);
            Ok(())
        })
        .await?;
        started.script.ensure_alive()?;
        Ok(started)
    }

    fn load(&self) -> Load {
        Load::new(self.envoy).host(HOST)
    }

    async fn serin(&self, args: &[&str]) -> Result<String> {
        run(&parts::binary()?, args, Some(self.agent)).await
    }

    /// Waits until all of a hundred requests are answered by one version.
    async fn all_from(&self, version: &str) -> Result<()> {
        until(&format!("all from {version}"), WITHIN, async || {
            ensure_all_from(&self.load().exactly(100).await?, version)
        })
        .await
    }

    /// Everything that runs in the folder: the script, what it started, and what that started.
    fn running(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.canonicalize()?;
        let processes = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        // A process may end while we look.
        Ok(processes.filter(|process| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder)).collect())
    }

    /// Waits until the script has ended, nothing runs in the folder any more, and these logs have these last words; what is
    /// left of the script is killed here, and writes none.
    async fn is_over(&mut self, last_words: &[(&str, &str)]) -> Result<()> {
        until("start.sh to end", Duration::from_secs(15), async || {
            ensure!(self.script.has_ended()?, "it runs");
            Ok(())
        })
        .await?;
        let left = self.running()?;
        ensure!(left.is_empty(), "still there: {left:?}");
        for (log, words) in last_words {
            let said = std::fs::read_to_string(self.folder.join(log))?;
            ensure!(said.contains(words), "{log} lacks {words:?}: {said}");
        }
        Ok(())
    }
}

/// A PATH on which both programs are found; should a test fail, they end with the script that started them.
fn path(case: &Case) -> Result<OsString> {
    use std::os::unix::fs::PermissionsExt;

    for (name, program) in [("serin", parts::binary()?), ("envoy", parts::envoy()?)] {
        let script = format!("#!/bin/sh\nexec setpriv --pdeathsig KILL -- '{}' \"$@\"\n", program.display());
        let file = case.file(&format!("bin/{name}"), &script)?;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut path = case.dir().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").context("no PATH")?);
    Ok(path)
}

#[tokio::test]
async fn the_folder_runs_a_release_and_ctrl_c_ends_everything() -> Result<()> {
    Case::run("init", async |case| {
        let versions = Versions::start().await?;
        let mut started = Started::new(case, &versions).await?;
        started.all_from("v1").await?;

        started.serin(&["release", "shop", "--revision", "v2"]).await?;
        started.serin(&["set-weight", "shop", "--weight", "50"]).await?;
        until("half of the requests to be the canary's", WITHIN, async || {
            let samples = started.load().exactly(400).await?;
            let share = samples.count_of("v2");
            ensure!((120..=280).contains(&share) && samples.bad() == 0, "{:?}", samples.by_version());
            Ok(())
        })
        .await?;
        let other = started.load().host("other.test").exactly(200).await?;
        ensure_all_from(&other, "v1").context("a host that was not named")?;

        started.serin(&["abort", "shop", "--reason", "the test says so"]).await?;
        started.all_from("v1").await?;

        let running = started.running()?;
        ensure!(running.len() >= 3, "the script, the agent and Envoy: {running:?}");
        let group = i32::try_from(started.script.pid())?;
        kill_process_group(Pid::from_raw(group).context("no process 0")?, Signal::INT)?;
        started.is_over(&[AGENT, ENVOY]).await
    })
    .await
}

#[tokio::test]
async fn envoy_outlives_the_agent_and_the_script_ends_it() -> Result<()> {
    Case::run("init-outlives", async |case| {
        let versions = Versions::start().await?;
        let mut started = Started::new(case, &versions).await?;
        let is_agent = |process: &PathBuf| {
            std::fs::read(process.join("cmdline")).is_ok_and(|line| line.windows(7).any(|part| part == b"\0agent\0"))
        };
        let running = started.running()?;
        let agent = running.iter().find(|process| is_agent(process)).context("no agent")?;
        let pid = agent.file_name().and_then(|name| name.to_str()).context("a process has a number")?;
        run(Path::new("kill"), &["-KILL", pid], None).await?;
        until("the script to tell", WITHIN, async || {
            let said = started.script.log()?;
            ensure!(said.contains("the agent has ended, see agent.log. Envoy goes on"), "{said}");
            Ok(())
        })
        .await?;
        started.all_from("v1").await?;
        started.script.terminate()?;
        started.is_over(&[ENVOY]).await
    })
    .await
}

/// Addresses of both families, names, and a service called like something that YAML knows.
#[tokio::test]
async fn envoy_accepts_the_configuration() -> Result<()> {
    Case::run("init-accepted", async |case| {
        for (name, options) in [
            ("shop", ["--primary", "10.0.0.5:8080", "--canary", "[2001:db8::6]:8080", "--listen", "0.0.0.0:80"]),
            ("true", ["--primary", "shop-v1.test:80", "--canary", "null:80", "--grpc", "[::1]:7070"]),
            ("123", ["--primary", "127.0.0.1:81", "--canary", "shop_2.test.:80", "--listen", "[::]:80"]),
        ] {
            let config = init(case, name, &options).await?.join("envoy.yaml").display().to_string();
            run(&parts::envoy()?, &["--mode", "validate", "-c", &config], None).await?;
        }
        Ok(())
    })
    .await
}
