//! The agent's one clock: Unix milliseconds that never step back.
//!
//! Wall time is read once, at the start; from then on the monotonic clock counts. A start never lies before the last
//! record of the journal, even if the wall clock was set back in between.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollout::base::time::Millis;
use tokio::time::Instant as Deadline;

/// Where time comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    origin_ms: u64,
}

impl Clock {
    /// Starts at the wall clock's time, or at `at_least` if that is later.
    pub(crate) fn start(at_least: Millis) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(0);
        Self { origin: Instant::now(), origin_ms: wall_ms.max(at_least.0) }
    }

    /// Now.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.origin_ms.saturating_add(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(0)))
    }

    /// The instant at which this clock will show `at`.
    pub(crate) fn deadline(&self, at: Millis) -> Deadline {
        let ahead = Duration::from_millis(at.0.saturating_sub(self.origin_ms));
        Deadline::from_std(self.origin) + ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_neither_before_the_wall_nor_before_the_journal_and_goes_forward() {
        let wall = Clock::start(Millis(0)).now();
        assert!(wall.0 > 1_700_000_000_000, "{wall:?} is no Unix time in milliseconds");
        let later = wall.plus(Millis::from_secs(1_000_000));
        let clock = Clock::start(later);
        let first = clock.now();
        assert!(first >= later && first.since(later) < Millis::from_secs(1000));
        assert!(clock.now() >= first);
    }

    #[tokio::test]
    async fn at_a_deadline_it_shows_at_least_that_time() {
        let clock = Clock::start(Millis(0));
        let at = clock.now().plus(Millis(20));
        tokio::time::sleep_until(clock.deadline(at)).await;
        assert!(clock.now() >= at);
        assert!(clock.deadline(Millis(0)) <= Deadline::now());
    }
}
