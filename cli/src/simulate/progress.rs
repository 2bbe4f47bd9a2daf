//! What a person sees while runs are played: a line that is written over at a terminal, elsewhere one now and then.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::{output, text};

/// From when on runs count as slow: who waits that long wants to know for what.
const SLOW: Duration = Duration::from_secs(2);
/// How often a line is added where none can be written over.
const EVERY: Duration = Duration::from_secs(30);
/// How often a terminal's line is written anew.
const TICK: Duration = Duration::from_secs(1);

/// The progress of one batch of runs.
pub(super) struct Progress {
    begun: Instant,
    next: Instant,
    runs: Range<u32>,
    is_terminal: bool,
}

impl Progress {
    /// Of runs `runs.start` and on; those before it were played earlier.
    pub(super) fn begin(runs: Range<u32>) -> Self {
        let (now, is_terminal) = (Instant::now(), std::io::stderr().is_terminal());
        Self { begun: now, next: if is_terminal { now } else { now + SLOW }, runs, is_terminal }
    }

    /// Until when there is nothing new to say.
    pub(super) fn pause(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Says how far it is, if it is time to; `done` is how many of the batch are played.
    pub(super) fn show(&mut self, done: u32) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let line = line(done, &self.runs, now - self.begun);
        if self.is_terminal {
            self.write_over(&line);
            self.next = now + TICK;
        } else {
            output::remark(&line);
            self.next = now + EVERY;
        }
    }

    /// Leaves a terminal without the line.
    pub(super) fn end(&self) {
        if self.is_terminal {
            self.write_over("");
        }
    }

    fn write_over(&self, line: &str) {
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{line}");
        let _ = err.flush();
    }
}

fn line(done: u32, runs: &Range<u32>, passed: Duration) -> String {
    let all = format!("played {} of {} runs", runs.start + done, runs.end);
    if done == 0 {
        return all;
    }
    let left = passed.mul_f64(f64::from(runs.end.saturating_sub(runs.start + done)) / f64::from(done));
    format!("{all}, about {} to go", text::span(Duration::from_secs(left.as_secs().max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was_done() {
        assert_eq!(line(0, &(0..50), Duration::from_secs(9)), "played 0 of 50 runs");
        assert_eq!(line(10, &(0..50), Duration::from_secs(20)), "played 10 of 50 runs, about 1m20s to go");
        assert_eq!(line(4, &(5..17), Duration::from_secs(20)), "played 9 of 17 runs, about 40s to go");
        assert_eq!(line(50, &(0..50), Duration::from_secs(20)), "played 50 of 50 runs, about 1s to go");
    }
}
