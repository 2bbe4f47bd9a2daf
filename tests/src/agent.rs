//! The agent as a process, and `serin` commands against it: what a user starts, not the library inside.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::Process;
use crate::wait::until;
use crate::{http, parts};

const READY_WITHIN: Duration = Duration::from_secs(20);
const ANY_PORT: &str = "127.0.0.1:0";

/// A running agent.
pub struct Agent {
    process: Process,
    dir: PathBuf,
    canaries: PathBuf,
    extra: Vec<OsString>,
    grpc: SocketAddr,
    http: SocketAddr,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct CliOutput {
    /// The exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CliOutput {
    /// Standard output, if the command succeeded.
    ///
    /// # Errors
    /// With everything it printed, if not.
    pub fn ok(self) -> Result<String> {
        ensure!(self.status == Some(0), "exit {:?}: {}{}", self.status, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

impl Agent {
    /// Starts `serin agent` on free ports with Canary files from `canaries` and its data in `dir/agent-data`, and waits
    /// until it listens.
    pub async fn start(dir: &Path, canaries: &Path) -> Result<Self> {
        Self::start_with(dir, canaries, &[]).await
    }

    /// The same, with further arguments for `serin agent`.
    pub async fn start_with(dir: &Path, canaries: &Path, extra: &[&str]) -> Result<Self> {
        let extra: Vec<OsString> = extra.iter().map(OsString::from).collect();
        let args = arguments(dir, canaries, [ANY_PORT, ANY_PORT].map(str::to_owned), &extra);
        let (process, grpc, http) = launch(dir, &args).await?;
        let (dir, canaries) = (dir.to_path_buf(), canaries.to_path_buf());
        Ok(Self { process, dir, canaries, extra, grpc, http })
    }

    /// Where proxies connect.
    #[must_use]
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where the HTTP API listens.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The folder of its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        data_folder(&self.dir)
    }

    /// The process, to freeze or end it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as `kill -9` does.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts it again with the same data on the same ports, after it ended.
    pub async fn start_again(&mut self) -> Result<()> {
        let addrs = [self.grpc, self.http].map(|addr| addr.to_string());
        let args = arguments(&self.dir, &self.canaries, addrs, &self.extra);
        (self.process, self.grpc, self.http) = launch(&self.dir, &args).await?;
        Ok(())
    }

    /// A JSON page of the HTTP API.
    ///
    /// # Errors
    /// When the status is not 2xx or the body is not JSON.
    pub async fn api(&self, path: &str) -> Result<serde_json::Value> {
        let answer = http::get(self.http, path).await?;
        ensure!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).with_context(|| format!("{path}: not JSON: {}", answer.body))
    }

    /// Runs `serin ARGS` against this agent to its end; `release --wait` may take a while, so it is asynchronous.
    pub async fn cli(&self, args: &[&str]) -> Result<CliOutput> {
        let mut command = tokio::process::Command::new(parts::binary()?);
        command.args(args).env("SERIN_AGENT", format!("http://{}", self.http)).kill_on_drop(true);
        let output = command.output().await.context("cannot run serin")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(CliOutput { status: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Its log, over all its runs.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }
}

fn data_folder(dir: &Path) -> PathBuf {
    dir.join("agent-data")
}

fn arguments(dir: &Path, canaries: &Path, [grpc, http]: [String; 2], extra: &[OsString]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["agent".into(), "--canaries".into(), canaries.into()];
    args.extend(["--data".into(), data_folder(dir).into()]);
    args.extend(["--grpc".into(), grpc.into(), "--http".into(), http.into()]);
    args.extend_from_slice(extra);
    args
}

async fn launch(dir: &Path, args: &[OsString]) -> Result<(Process, SocketAddr, SocketAddr)> {
    std::fs::create_dir_all(data_folder(dir))?;
    // Standard output is appended to over restarts; only what this run adds counts.
    let before = std::fs::metadata(dir.join("agent.out")).map_or(0, |file| file.len());
    let mut process = Process::start("agent", &parts::binary()?, args, &[], dir)?;
    let listening = until("the agent to print where it listens", READY_WITHIN, async || {
        if process.has_ended()? {
            return Ok(None);
        }
        let said = process.stdout()?;
        let said = said.get(usize::try_from(before)?..).unwrap_or_default();
        parse_listening(said).map(Some).with_context(|| format!("standard output is {said:?}"))
    });
    if let Some((grpc, http)) = listening.await.with_context(|| format!("the agent's log is in {}", dir.display()))? {
        return Ok((process, grpc, http));
    }
    process.ensure_alive()?;
    anyhow::bail!("the agent ended before it listened")
}

/// Reads `listening grpc=127.0.0.1:1 http=127.0.0.1:2`, once the line is complete.
fn parse_listening(said: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (whole_lines, _) = said.rsplit_once('\n')?;
    let line = whole_lines.lines().find_map(|line| line.strip_prefix("listening "))?;
    let addr = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse().ok());
    Some((addr("grpc=")?, addr("http=")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_from_a_whole_line_only() {
        let said = "serin 0.1\nlistening grpc=127.0.0.1:1234 http=127.0.0.1:5678\n";
        let (grpc, http) = parse_listening(said).unwrap();
        assert_eq!((grpc.port(), http.port()), (1234, 5678));
        assert_eq!(parse_listening("listening grpc=127.0.0.1:1234 http=127.0.0.1:56"), None);
        assert_eq!(parse_listening("listening grpc=127.0.0.1:1234\n"), None);
    }
}
