//! One program from its start to its end, with everything that it started: all of it is one process group, which is
//! killed when the program ends, takes too long, or is not wanted any more, and so is what left the group.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::strays;
use crate::tail::Tail;

/// How long what was printed may take to arrive after all are dead. Only a process that left the group and emptied its
/// environment can hold the pipe longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The program's file.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
}

/// All that a child sees of the load tester's environment; the mark of its task comes to it.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// `PATH`.
    pub(crate) path: OsString,
    /// `HOME`.
    pub(crate) home: OsString,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that did not come from here.
    Signalled(i32),
    /// Killed when its time was over.
    TimedOut(Duration),
    /// Killed because the load tester stopped.
    Stopped,
    /// Not even started, or lost.
    Broken(String),
}

impl Ending {
    pub(crate) const fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }

    /// One word.
    pub(crate) const fn state(&self) -> &'static str {
        match self {
            Self::Exited(0) => "succeeded",
            Self::Exited(_) | Self::Signalled(_) | Self::Broken(_) => "failed",
            Self::TimedOut(_) => "timed out",
            Self::Stopped => "stopped",
        }
    }

    pub(crate) const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut(limit) => {
                write!(f, "was killed after {}, the --timeout", humantime::format_duration(*limit))
            }
            Self::Stopped => f.write_str("was killed because the load tester stopped"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Runs a program to its end; nothing that it started is left when this returns, nothing of its group when dropped.
pub(crate) async fn run(
    launch: &Launch,
    surroundings: &Surroundings,
    mark: &str,
    tail: &Tail,
    limit: Duration,
    mut stop: watch::Receiver<bool>,
) -> Ending {
    let mut running = match Running::start(launch, surroundings, mark, tail) {
        Ok(running) => running,
        Err(error) => return Ending::Broken(format!("{} cannot be run: {error}", launch.program.display())),
    };
    let killed = tokio::select! {
        biased;
        _ = &mut running.death => None,
        _ = stop.wait_for(|stop| *stop) => Some(Ending::Stopped),
        () = tokio::time::sleep(limit) => Some(Ending::TimedOut(limit)),
    };
    drop(running.group.take());
    let mark = mark.to_owned();
    let _ = spawn_blocking(move || strays::kill(&mark)).await;
    let status = running.child.wait().await;
    let _ = tokio::time::timeout(LAST_WORDS, &mut running.reading).await;
    running.reading.abort();
    killed.unwrap_or_else(|| match status {
        Ok(status) => status.code().map_or_else(|| Ending::Signalled(status.signal().unwrap_or(0)), Ending::Exited),
        Err(error) => Ending::Broken(format!("how it ended is not known: {error}")),
    })
}

/// The fields are dropped in this order: the group is killed while its leader, even if dead, still holds its number.
struct Running {
    group: Option<Group>,
    child: Child,
    /// Ends once the child is dead; it is not reaped before `child.wait`.
    death: JoinHandle<()>,
    reading: JoinHandle<()>,
}

impl Running {
    fn start(launch: &Launch, surroundings: &Surroundings, mark: &str, tail: &Tail) -> io::Result<Self> {
        // One pipe for both, so that what was printed stays in order.
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.args).env_clear().env("PATH", &surroundings.path).env("HOME", &surroundings.home);
        command.env(strays::VARIABLE, mark);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        // It holds our ends of the pipe for writing, and without their end there is no end of file.
        drop(command);
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("it has no process id"))?;
        let group = Group(pid);
        let death = spawn_blocking(move || await_death(pid));
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        Ok(Self { group: Some(group), child, death, reading: tokio::spawn(read(reader, tail.clone())) })
    }
}

/// Returns once a child is dead, and leaves it unreaped. That takes a thread, but tokio would reap it at once, and then
/// its number might be another's when the group is killed.
fn await_death(pid: Pid) {
    // An error says that there is no child to wait for, which is as good.
    let _ = retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
}

async fn read(mut pipe: pipe::Receiver, tail: Tail) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        tail.push(buffer.get(..count).unwrap_or_default());
    }
}

/// A process group, killed when dropped: before its leader is reaped, so that its number cannot belong to another group. (The
/// crate process-wrap reaps the leader first, and when dropped kills only the leader.)
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // No process left to kill is as good.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}
