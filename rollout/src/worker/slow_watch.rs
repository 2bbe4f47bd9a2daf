//! A request is slow as soon as its age passes the limit, not when it ends: otherwise a hang would be invisible.

use std::collections::{BTreeMap, VecDeque};

use crate::base::time::Micros;
use crate::routing::table::CanaryIndex;
use crate::worker::tally::Stratum;

/// Most open requests watched per canary; the age of further ones is seen only when they end.
const MAX_WATCHED: usize = 1 << 16;

/// The open requests of one worker, by canary, oldest first.
#[derive(Debug, Default)]
pub(crate) struct SlowWatch {
    canaries: BTreeMap<CanaryIndex, Open>,
}

/// One canary's open requests. All have one limit at a time, so the oldest is the first to pass it.
#[derive(Debug, Default)]
struct Open {
    /// Serial number of the first in `requests`.
    first: u64,
    /// `None` for one that has ended.
    requests: VecDeque<Option<Watched>>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    stratum: Stratum<CanaryIndex>,
    /// How many requests of the canary proper began before it; a canary request's own ordinal.
    ordinal: u64,
    deadline: Micros,
}

impl SlowWatch {
    /// A request begins; it will be slow at `deadline`. `ordinal` is for the fuse. Returns the number under which it ends.
    pub(crate) fn start(&mut self, stratum: Stratum<CanaryIndex>, ordinal: u64, deadline: Micros) -> u64 {
        let open = self.canaries.entry(stratum.canary).or_default();
        if open.requests.len() >= MAX_WATCHED {
            // Its end finds no entry under this number and then counts by its latency.
            return u64::MAX;
        }
        open.requests.push_back(Some(Watched { stratum, ordinal, deadline }));
        open.first + open.requests.len() as u64 - 1
    }

    /// A request ends; returns whether its age has been counted as slow.
    pub(crate) fn end(&mut self, canary: CanaryIndex, serial: u64) -> bool {
        let Some(open) = self.canaries.get_mut(&canary) else { return false };
        if serial < open.first {
            return true;
        }
        let at = usize::try_from(serial - open.first).unwrap_or(usize::MAX);
        if let Some(held) = open.requests.get_mut(at) {
            *held = None;
        }
        open.forget_ended();
        false
    }

    /// The ordinal of the oldest request that may yet turn out slow.
    pub(crate) fn oldest(&self, canary: CanaryIndex) -> Option<u64> {
        let first = self.canaries.get(&canary)?.requests.front()?;
        first.map(|watched| watched.ordinal)
    }

    /// The requests whose deadline has passed since the last look, with their ordinals.
    pub(crate) fn passed(&mut self, now: Micros) -> Vec<(Stratum<CanaryIndex>, u64)> {
        let mut passed = Vec::new();
        for open in self.canaries.values_mut() {
            while let Some(Some(watched)) = open.requests.front()
                && watched.deadline < now
            {
                passed.push((watched.stratum, watched.ordinal));
                open.requests.pop_front();
                open.first += 1;
                open.forget_ended();
            }
        }
        passed
    }
}

impl Open {
    fn forget_ended(&mut self) {
        while let Some(None) = self.requests.front() {
            self.requests.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routing::route::Placement;
    use crate::routing::table::{Epoch, Version};
    use crate::worker::tally::Slot;

    fn stratum(slot: u32) -> Stratum<CanaryIndex> {
        let (version, placement) = (Version::Canary, Placement::Drawn);
        Stratum { canary: CanaryIndex(3), epoch: Epoch(1), version, placement, slot: Slot(slot) }
    }

    proptest! {
        #[test]
        fn each_request_counts_as_slow_once_at_most(lives in prop::collection::vec(1u64..200, 1..60)) {
            let mut slow_watch = SlowWatch::default();
            let mut serials = Vec::new();
            let mut by_age = 0;
            for now in 0..300u64 {
                if let Some(life) = lives.get(now as usize) {
                    serials.push((slow_watch.start(stratum(0), 0, Micros(now + 100)), now + life));
                }
                by_age += slow_watch.passed(Micros(now)).len();
                for (serial, _) in serials.extract_if(.., |(_, end)| *end <= now) {
                    slow_watch.end(CanaryIndex(3), serial);
                }
            }
            let slow = lives.iter().filter(|life| **life > 100).count();
            prop_assert_eq!(by_age, slow);
            prop_assert!(slow_watch.canaries[&CanaryIndex(3)].requests.is_empty(), "nothing is kept of what has ended");
        }
    }

    #[test]
    fn an_end_after_the_deadline_says_that_it_was_counted() {
        let mut slow_watch = SlowWatch::default();
        let (slow, fast) = (slow_watch.start(stratum(0), 7, Micros(10)), slow_watch.start(stratum(1), 8, Micros(20)));
        assert_eq!((slow_watch.passed(Micros(10)), slow_watch.oldest(CanaryIndex(3))), (vec![], Some(7)));
        assert_eq!(
            (slow_watch.passed(Micros(11)), slow_watch.oldest(CanaryIndex(3))),
            (vec![(stratum(0), 7)], Some(8))
        );
        assert!(slow_watch.end(CanaryIndex(3), slow));
        assert!(!slow_watch.end(CanaryIndex(3), fast));
        assert!(!slow_watch.end(CanaryIndex(9), 0), "an unknown canary has counted nothing");
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let mut slow_watch = SlowWatch::default();
        for _ in 0..MAX_WATCHED {
            assert_ne!(slow_watch.start(stratum(0), 0, Micros(1)), u64::MAX);
        }
        assert_eq!(slow_watch.start(stratum(0), 0, Micros(1)), u64::MAX);
        assert!(!slow_watch.end(CanaryIndex(3), u64::MAX));
    }
}
