//! What happens to a request by the mere passing of time, while it is open: each watch has one deadline for all.

use std::collections::{BTreeMap, VecDeque};

use crate::base::time::Micros;
use crate::routing::table::{CanaryIndex, Version};

/// Whose requests: each version's stand apart, so that one which keeps its own open hides nothing of the other's.
pub(crate) type Side = (CanaryIndex, Version);

/// Most open requests watched of a side; for further ones the deadline passes unseen.
const MAX_WATCHED: usize = 1 << 16;

/// The open requests of one worker, by side, oldest first, with what is needed when a deadline passes.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    sides: BTreeMap<Side, Open<T>>,
}

/// One side's open requests. All have the same time to go, so the oldest is the first to pass its deadline.
#[derive(Debug)]
struct Open<T> {
    /// Serial number of the first in `requests`.
    first: u64,
    /// `None` for one that has ended.
    requests: VecDeque<Option<Watched<T>>>,
}

#[derive(Clone, Copy, Debug)]
struct Watched<T> {
    deadline: Micros,
    what: T,
}

impl<T> Default for Watch<T> {
    fn default() -> Self {
        Self { sides: BTreeMap::new() }
    }
}

impl<T: Copy> Watch<T> {
    /// A request's time begins. Returns the number under which it is known here.
    pub(crate) fn start(&mut self, side: Side, deadline: Micros, what: T) -> u64 {
        let open = self.sides.entry(side).or_insert_with(|| Open { first: 0, requests: VecDeque::new() });
        if open.requests.len() >= MAX_WATCHED {
            // Under this number nothing is found later.
            return u64::MAX;
        }
        open.requests.push_back(Some(Watched { deadline, what }));
        open.first + open.requests.len() as u64 - 1
    }

    /// A request's time is over; returns whether its deadline has passed before.
    pub(crate) fn end(&mut self, side: Side, serial: u64) -> bool {
        let Some(open) = self.sides.get_mut(&side) else { return false };
        if serial < open.first {
            return true;
        }
        if let Some(held) = open.at(serial) {
            *held = None;
        }
        open.forget_ended();
        false
    }

    /// What is known of a request whose deadline has not passed.
    pub(crate) fn get_mut(&mut self, side: Side, serial: u64) -> Option<&mut T> {
        let held = self.sides.get_mut(&side)?.at(serial)?;
        held.as_mut().map(|watched| &mut watched.what)
    }

    /// The oldest of a side's requests whose deadline has not passed.
    pub(crate) fn oldest(&self, side: Side) -> Option<T> {
        let first = self.sides.get(&side)?.requests.front()?;
        first.map(|watched| watched.what)
    }

    /// The requests whose deadline has passed since the last look.
    pub(crate) fn passed(&mut self, now: Micros) -> Vec<T> {
        let mut passed = Vec::new();
        for open in self.sides.values_mut() {
            while let Some(Some(watched)) = open.requests.front()
                && watched.deadline < now
            {
                passed.push(watched.what);
                open.requests.pop_front();
                open.first += 1;
                open.forget_ended();
            }
        }
        passed
    }
}

impl<T> Open<T> {
    fn at(&mut self, serial: u64) -> Option<&mut Option<Watched<T>>> {
        let at = usize::try_from(serial.checked_sub(self.first)?).ok()?;
        self.requests.get_mut(at)
    }

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

    const CANARY: Side = (CanaryIndex(3), Version::Canary);

    proptest! {
        #[test]
        fn each_deadline_passes_once_at_most(lives in prop::collection::vec(1u64..200, 1..60)) {
            let mut watch = Watch::default();
            let mut serials = Vec::new();
            let mut passed = 0;
            for now in 0..300u64 {
                if let Some(life) = lives.get(now as usize) {
                    serials.push((watch.start(CANARY, Micros(now + 100), ()), now + life));
                }
                passed += watch.passed(Micros(now)).len();
                for (serial, _) in serials.extract_if(.., |(_, end)| *end <= now) {
                    watch.end(CANARY, serial);
                }
            }
            let slow = lives.iter().filter(|life| **life > 100).count();
            prop_assert_eq!(passed, slow);
            prop_assert!(watch.sides[&CANARY].requests.is_empty(), "nothing is kept of what has ended");
        }
    }

    #[test]
    fn an_end_after_the_deadline_says_so() {
        let mut watch = Watch::default();
        let (slow, fast) = (watch.start(CANARY, Micros(10), 'a'), watch.start(CANARY, Micros(20), 'b'));
        assert_eq!((watch.passed(Micros(10)), watch.oldest(CANARY)), (vec![], Some('a')));
        assert_eq!((watch.passed(Micros(11)), watch.oldest(CANARY)), (vec!['a'], Some('b')));
        assert_eq!(watch.get_mut(CANARY, slow), None);
        assert_eq!(watch.get_mut(CANARY, fast), Some(&mut 'b'));
        assert!(watch.end(CANARY, slow));
        assert!(!watch.end(CANARY, fast));
        assert!(!watch.end((CanaryIndex(3), Version::Primary), 0), "nothing passed on the other side");
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let mut watch = Watch::default();
        for _ in 0..MAX_WATCHED {
            assert_ne!(watch.start(CANARY, Micros(1), ()), u64::MAX);
        }
        assert_eq!(watch.start(CANARY, Micros(1), ()), u64::MAX);
        assert_eq!(watch.get_mut(CANARY, u64::MAX), None);
        assert!(!watch.end(CANARY, u64::MAX));
    }
}
