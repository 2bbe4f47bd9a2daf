//! Runs `serin` in a known environment and waits for it, within a deadline.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Far more than any of these commands takes; one that needs it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The program, with nothing of the developer's own environment that it listens to.
pub(crate) fn serin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "SERIN_AGENT", "SERIN_TOKEN", "SERIN_ACTOR", "SERIN_LOG"] {
        command.env_remove(name);
    }
    command.args(args).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What came of it.
pub(crate) struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command to its end.
pub(crate) async fn ran(mut command: Command) -> Ran {
    let child = command.spawn().expect("serin starts");
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("serin ends").expect("its output is read");
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code().expect("no signal ended it"), out: text(stdout), err: text(stderr) }
}

/// Runs `serin` against an agent.
pub(crate) async fn run(url: &str, args: &[&str]) -> Ran {
    let mut command = serin(args);
    command.env("SERIN_AGENT", url);
    ran(command).await
}
