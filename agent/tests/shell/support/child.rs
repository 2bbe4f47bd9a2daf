//! An agent in a process of its own: this test binary, started again, so that it can be killed and its disk taken away.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use super::agent::{Api, options};

/// Names the child's directory; only a child has it.
const DIRECTORY: &str = "AGENT_TEST_DIRECTORY";
/// What a write past the file size limit raises on Linux; unless it is handled it ends the process.
const SIGXFSZ: i32 = 25;

/// A running child; killed when dropped.
pub(crate) struct ChildAgent {
    child: Child,
    grpc: SocketAddr,
    http: SocketAddr,
}

/// The child's side: an agent that runs until it is killed. As a test of its own it does nothing.
#[tokio::test]
async fn agent_of_a_child() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let _handled = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    agent::run(options(Path::new(&dir))).await.unwrap();
}

impl ChildAgent {
    /// Starts one on a directory and waits until it serves.
    pub(crate) fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "support::child::agent_of_a_child", "--nocapture"])
            .env(DIRECTORY, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // Ends with the line or, when the child does, with nothing.
        while !line.contains("listening grpc=") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "the child ended before it served");
        }
        // Whatever it prints later must not block it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let address = |key: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(key));
            word.unwrap().parse().unwrap()
        };
        Self { grpc: address("grpc="), http: address("http="), child }
    }

    /// Where proxies connect.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Its API.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.http)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// From now on every write of the process to a file fails.
    pub(crate) fn take_disk(&self) {
        self.limit_files(Some(0));
    }

    /// Writes work again.
    pub(crate) fn give_disk_back(&self) {
        self.limit_files(None);
    }

    fn limit_files(&self, current: Option<u64>) {
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
    }
}

impl Drop for ChildAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
