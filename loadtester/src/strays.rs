//! Processes of a task that left its process group, as `timeout` does in a shell, or `setsid`. Each task's environment
//! carries a mark, and what a program starts inherits it, wherever it goes.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The mark's variable.
pub(crate) const VARIABLE: &str = "SERIN_TASK";

/// Most times to look again; each finds what was started while the one before looked.
const MAX_ROUNDS: usize = 20;

/// A value of the variable that no other task has, of whatever load tester on this machine.
pub(crate) fn mark(task: u64) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}-{nanos}-{task}", std::process::id())
}

/// Kills every process that carries `mark`.
pub(crate) fn kill(mark: &str) {
    let entry = format!("{VARIABLE}={mark}");
    for _ in 0..MAX_ROUNDS {
        if processes().filter(|pid| kill_if_marked(*pid, &entry)).count() == 0 {
            return;
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok())
}

fn kill_if_marked(pid: i32, entry: &str) -> bool {
    // Held before it is looked at, so that what is killed is what was looked at.
    let Some(held) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return false };
    // Those of other users cannot be read, and the dead have none.
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
        && pidfd_send_signal(held, Signal::KILL).is_ok()
}
