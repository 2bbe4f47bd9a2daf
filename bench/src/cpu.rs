//! CPU time of a process from the scheduler's own count: nanoseconds, where getrusage and /proc/PID/stat may count ticks.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

/// CPU time of all threads that the process has now, in nanoseconds. A thread that ended takes its time with it, so
/// compare two readings only of a process whose threads stay, as Envoy's do.
///
/// # Errors
/// When the process is gone, or the kernel keeps no scheduler statistics.
pub fn process_cpu_ns(pid: u32) -> Result<u64> {
    let tasks = Path::new("/proc").join(pid.to_string()).join("task");
    let mut total_ns = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("process {pid} is gone"))? {
        let file = task?.path().join("schedstat");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            // It ended since the folder was read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        total_ns += parse_schedstat(&text).with_context(|| format!("{} holds {text:?}", file.display()))?;
    }
    Ok(total_ns)
}

/// The first of the three numbers: time spent on a CPU, in nanoseconds.
fn parse_schedstat(text: &str) -> Option<u64> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let [on_cpu_ns, _waited_ns, _slices] = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    Some(on_cpu_ns)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::tests::case::Case;
    use ::tests::process::Process;
    use ::tests::wait::until;
    use anyhow::ensure;

    use super::*;

    #[test]
    fn the_first_number_is_the_time_on_the_cpu() {
        assert_eq!(parse_schedstat("1234567 89 10\n"), Some(1_234_567));
        assert_eq!(parse_schedstat("18446744073709551615 0 0"), Some(u64::MAX));
        for wrong in ["", "12", "12 3", "-1 2 3", "x 1 2"] {
            assert_eq!(parse_schedstat(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn work_shows_and_a_process_that_is_gone_is_an_error() -> Result<()> {
        Case::run("cpu", async |case| {
            let forever = ["-c".into(), "while :; do :; done".into()];
            let busy = Process::start("busy", Path::new("sh"), &forever, &[], case.dir())?;
            let pid = busy.pid();
            let before_ns = process_cpu_ns(pid)?;
            until("a millisecond of work", Duration::from_secs(10), async || {
                ensure!(process_cpu_ns(pid)? > before_ns + 1_000_000, "less than that");
                Ok(())
            })
            .await?;
            drop(busy);
            assert!(process_cpu_ns(pid).is_err());
            Ok(())
        })
        .await
    }
}
