//! Child processes that cannot outlive us and whose output lies in files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program; killed when dropped, and by the kernel should this process die first.
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `program`; its output is appended to `NAME.out` and `NAME.log` in `dir`, so that a restart keeps the
    /// earlier run's.
    pub fn start(name: &str, program: &Path, args: &[OsString], envs: &[(&str, OsString)], dir: &Path) -> Result<Self> {
        let (stdout, stderr) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.log")));
        // `setpriv` becomes the program, with the kernel's promise to kill it when we die, however we die. To ask for
        // that ourselves between fork and exec would need unsafe code.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args);
        command.envs(envs.iter().map(|(key, value)| (key, value))).stdin(Stdio::null());
        command.stdout(append_to(&stdout)?).stderr(append_to(&stderr)?);
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("cannot start {name} ({}) through setpriv (util-linux)", program.display()))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// The process id, for those who measure it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended, with the end of its log.
    pub fn ensure_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; its log ends:\n{}", self.name, self.log_tail(15));
        }
        Ok(())
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM). Wait for it with [`crate::wait::until`] and [`Process::has_ended`].
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Stops it without its knowing (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Everything it has written to standard output, over all its runs.
    pub fn stdout(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.stdout)?).into_owned())
    }

    /// Everything it has written to standard error, over all its runs.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.stderr)?).into_owned())
    }

    fn log_tail(&self, lines: usize) -> String {
        let log = self.log().unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9().ok();
    }
}

fn append_to(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// The kernel's promise is tied to the thread that forked, not to the process, and a runtime's threads come and go. So
/// one thread that lasts as long as the process starts all children.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();

    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                answer.send(command.spawn()).ok();
            }
        });
        jobs
    });
    let (answer, spawned) = mpsc::channel();
    spawner.send((command, answer)).map_err(io::Error::other)?;
    spawned.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::wait::until;
    use std::time::Duration;

    #[tokio::test]
    async fn ends_with_its_owner_and_says_what_it_logged_when_it_dies_early() -> Result<()> {
        Case::run("process", async |case| {
            let sleeper = Process::start("sleeper", Path::new("sleep"), &["600".into()], &[], case.dir())?;
            let proc_folder = PathBuf::from(format!("/proc/{}", sleeper.pid()));
            assert!(proc_folder.exists());
            drop(sleeper);
            assert!(!proc_folder.exists());

            let script = ["-c".into(), "echo $WORD >&2; exit 3".into()];
            let mut brief = Process::start("brief", Path::new("sh"), &script, &[("WORD", "alas".into())], case.dir())?;
            until("its end", Duration::from_secs(10), async || {
                anyhow::ensure!(brief.has_ended()?, "still running");
                Ok(())
            })
            .await?;
            let message = brief.ensure_alive().unwrap_err().to_string();
            assert!(message.contains("brief ended with exit status: 3") && message.contains("alas"), "{message}");
            Ok(())
        })
        .await
    }
}
