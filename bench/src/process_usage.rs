//! What a process has taken of the machine so far, as the kernel counts it: the threads that have ended are in it, which
//! [`cpu`](crate::cpu) leaves out for a finer clock.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// One reading; two of them make a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time, in user mode and in the kernel, to a hundredth of a second.
    pub cpu: Duration,
    /// Memory in RAM now.
    pub resident_kib: u64,
    /// Bytes sent to the disk: whole pages, however little of each was new.
    pub written_bytes: u64,
}

impl Usage {
    /// Of a process that runs.
    ///
    /// # Errors
    /// When it is gone, or belongs to somebody else.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let file = format!("/proc/{pid}/{name}");
            fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))
        };
        let (stat, status, io) = (read("stat")?, read("status")?, read("io")?);
        let ticks = cpu_ticks(&stat).with_context(|| format!("process {pid} has the stat {stat:?}"))?;
        Ok(Self {
            cpu: Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
            resident_kib: number_after(&status, "VmRSS:").with_context(|| format!("process {pid} has no VmRSS"))?,
            written_bytes: number_after(&io, "write_bytes:").with_context(|| format!("process {pid} has no count"))?,
        })
    }
}

/// `utime` and `stime` together. The name before them stands in brackets and may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 600 0 0 0 31 11 0 0 20 0 3 0 1234 10 20";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(number_after("VmHWM:\t 9 kB\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(number_after("rchar: 1\n", "write_bytes:"), None);
    }

    #[test]
    fn this_process_has_memory_and_one_that_is_gone_is_an_error() {
        assert!(Usage::of(std::process::id()).unwrap().resident_kib > 100);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
