//! Elementary tests over a stream of slots, with what is not known yet taken against "bad" and corrected later.
//!
//! A slot opens, its counts grow, and in the end all its requests have ended: it is complete. Each test keeps the wealth of
//! the complete slots; the few younger ones are bet anew at every look, with what is known by then. Whether to stake anew
//! is decided when a slot opens, on what is known at that moment, so it never depends on what it is staked on.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::judgement::latency_baseline::Above;
use crate::routing::table::Epoch;
use crate::statistics::boundary::{Allocation, Boundary, Pair, Trials};
use crate::statistics::mixture::{BlockLengths, Explained, G8, Stakes, Wealth};
use crate::worker::tally::Slot;

/// Slots that may be incomplete at a time; past it the oldest counts as complete as it stands: 15 s of slots of 100 ms, twice.
const MAX_INCOMPLETE: usize = 300;

/// Moments at which a look asks, at most.
const MAX_LOOKS: usize = 32;

/// Which slot: its epoch, and its number within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotKey {
    /// The table entry under which its requests started.
    pub epoch: Epoch,
    /// 0, 1, 2, … since the entry came into force.
    pub slot: Slot,
}

/// What counts as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal {
    /// The request failed.
    Failed,
    /// It failed, or took longer than the latency limit.
    Slow,
    /// It took longer than a threshold that follows the primary's past; one for each tracked quantile.
    Above(usize),
    /// It took longer than the floor of that comparison.
    OverFloor,
    /// It was answered with an error of the client's.
    ClientError,
    /// The client left, or had not sent all of it for too long.
    Unserved,
}

/// One version's requests in one slot, by every signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Requests that started and are no void.
    pub started: u64,
    /// Those without a known end.
    pub pending: u64,
    /// Of the pending: those that have come in whole and may yet turn out to have failed, as far as that is waited for.
    pub unknown: u64,
    /// See [`Signal::Failed`].
    pub failed: u64,
    /// See [`Signal::ClientError`].
    pub client_errors: u64,
    /// See [`Signal::Unserved`].
    pub unserved: u64,
    /// Trials of latency that began in it, and are no void.
    pub timed: u64,
    /// Those without a known end.
    pub timed_pending: u64,
    /// Of these: those that may yet turn out slow, as far as that is waited for.
    pub timed_unknown: u64,
    /// See [`Signal::Slow`]. A pending one is slow as soon as its time says so.
    pub slow: u64,
    /// See [`Signal::Above`]; `None` in a slot without thresholds.
    pub above: Option<Above>,
}

impl Observed {
    /// No requests.
    pub const NOTHING: Self = Self {
        started: 0,
        pending: 0,
        unknown: 0,
        failed: 0,
        client_errors: 0,
        unserved: 0,
        timed: 0,
        timed_pending: 0,
        timed_unknown: 0,
        slow: 0,
        above: None,
    };

    /// As trials of one signal.
    pub fn trials(&self, signal: Signal) -> Trials {
        let timed = |events| (self.timed, events, self.timed_unknown);
        let (started, events, pending) = match (signal, self.above) {
            (Signal::Failed, _) => (self.started, self.failed, self.unknown),
            (Signal::ClientError, _) => (self.started, self.client_errors, self.unknown),
            (Signal::Unserved, _) => (self.started, self.unserved, self.unknown),
            (Signal::Slow, _) => timed(self.slow),
            (Signal::Above(n), Some(above)) => timed(above.tracked.get(n).copied().unwrap_or(0)),
            (Signal::OverFloor, Some(above)) => timed(above.above_floor),
            (Signal::Above(_) | Signal::OverFloor, None) => return Trials::default(),
        };
        Trials { started, events, pending: pending.min(started.saturating_sub(events)) }
    }

    const fn is_complete(&self) -> bool {
        self.pending == 0 && self.timed_pending == 0
    }

    /// Whether anything in it speaks against its version.
    fn is_spotted(&self) -> bool {
        let is_above = self.above.is_some_and(|above| above.above_floor > 0 || above.tracked.iter().any(|n| *n > 0));
        self.failed > 0 || self.slow > 0 || self.client_errors > 0 || self.unserved > 0 || is_above
    }
}

/// All requests of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedSlot {
    /// The canary's, as the split placed them.
    pub canary: Observed,
    /// The primary's, as the split placed them.
    pub primary: Observed,
    /// The canary's that no split placed, by a match rule or as copies: evidence of how good it is, but not comparable with
    /// the primary's.
    pub unsplit: Observed,
    /// How the split divided them; `None` without one.
    pub split: Option<Allocation>,
}

impl ObservedSlot {
    /// A slot that has just opened.
    pub const NOTHING: Self =
        Self { canary: Observed::NOTHING, primary: Observed::NOTHING, unsplit: Observed::NOTHING, split: None };

    /// What a test asks of this slot. Beside a split, requests that no draw placed say nothing: whoever sends them chooses
    /// them, so a few of one client's would stand against a canary that everybody else is content with.
    fn pair(&self, test: Test) -> Pair {
        let mut canary = self.canary.trials(test.signal);
        if self.split.is_none() && !matches!(test.boundary, Boundary::Relative(_)) {
            let unsplit = self.unsplit.trials(test.signal);
            canary.started += unsplit.started;
            canary.events += unsplit.events;
            canary.pending += unsplit.pending;
        }
        // A trial of latency begins only where no answer came first, which may differ between the versions.
        let is_share_known = matches!(test.signal, Signal::Failed | Signal::ClientError | Signal::Unserved);
        let split = self.split.map(|split| Allocation { is_drawn: split.is_drawn && is_share_known, ..split });
        Pair { canary, primary: self.primary.trials(test.signal), split }
    }

    /// Whether every request in it has ended.
    pub const fn is_complete(&self) -> bool {
        self.canary.is_complete() && self.primary.is_complete() && self.unsplit.is_complete()
    }
}

/// One elementary test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// What counts as an event.
    pub signal: Signal,
    /// Against what.
    pub boundary: Boundary,
}

/// All tests of a release over all its slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequential {
    tests: Vec<Test>,
    max_cluster: u32,
    complete: Vec<Wealth>,
    tail: VecDeque<Incomplete>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Incomplete {
    key: SlotKey,
    observed: ObservedSlot,
    /// Whether no more requests can start in it; comparisons by counted shares look at closed slots only.
    is_closed: bool,
    /// Laid when it opened, one for each test.
    stakes: Vec<Stakes>,
}

/// Canary requests for which a slot's length is made (docs/statistics.md, section 2).
pub const EXPECTED_IN_SLOT: f64 = 5.0;

impl Sequential {
    /// Tests that have seen nothing.
    pub fn new(tests: Vec<Test>, max_cluster: u32) -> Self {
        let complete = vec![Wealth::default(); tests.len()];
        Self { tests, max_cluster, complete, tail: VecDeque::new() }
    }

    /// A slot begins. `is_new_entry`: the load may change with it, a likely moment for a fault.
    pub fn open(&mut self, key: SlotKey, is_new_entry: bool) {
        if self.tail.iter().any(|held| held.key == key) {
            return;
        }
        let stakes = (0..self.tests.len()).map(|n| self.provisional(n).due(is_new_entry)).collect();
        let observed = ObservedSlot::NOTHING;
        self.tail.push_back(Incomplete { key, observed, is_closed: false, stakes });
        if self.tail.len() > MAX_INCOMPLETE {
            self.complete_first();
        }
    }

    /// What is known of a slot now; it replaces what was known before. A complete slot does not change any more.
    pub fn observe(&mut self, key: SlotKey, observed: ObservedSlot, is_closed: bool) {
        if let Some(held) = self.tail.iter_mut().find(|held| held.key == key) {
            held.observed = observed;
            held.is_closed = is_closed;
        }
        while self.tail.front().is_some_and(|first| first.is_closed && first.observed.is_complete()) {
            self.complete_first();
        }
    }

    /// ln e-value of each test on all that is known.
    pub fn look(&self) -> Vec<f64> {
        (0..self.tests.len()).map(|n| self.provisional(n).ln_e(&G8)).collect()
    }

    /// [`Sequential::look`] at several moments in the order of the slots, the last of them now. Evidence up to any slot is
    /// evidence: what the youngest ones do not know yet must not hide what the older ones show, or a primary that takes
    /// a second would keep every comparison silent for good.
    pub fn looks(&self) -> Vec<Vec<f64>> {
        let mut wealth = self.complete.clone();
        let now = |wealth: &[Wealth]| wealth.iter().map(|wealth| wealth.ln_e(&G8)).collect::<Vec<f64>>();
        let mut looks = vec![now(&wealth)];
        let (moments, lengths) = (self.moments(), self.block_lengths());
        for (at, slot) in self.tail.iter().enumerate() {
            for (n, ((test, lengths), wealth)) in self.tests.iter().zip(&lengths).zip(&mut wealth).enumerate() {
                bet(wealth, *test, lengths, n, slot, self.max_cluster);
            }
            if moments.contains(&at) {
                looks.push(now(&wealth));
            }
        }
        looks
    }

    /// After which slots of the tail to look: the last one, and the newest that speak against the canary and of whose primary
    /// everything is known. What stays open for long in an old one must not hide them.
    fn moments(&self) -> BTreeSet<usize> {
        let speaks = |slot: &Incomplete| {
            let ObservedSlot { canary, primary, unsplit, .. } = &slot.observed;
            (canary.is_spotted() || unsplit.is_spotted()) && primary.unknown == 0
        };
        let newest = self.tail.iter().enumerate().rev().filter(|(_, slot)| speaks(slot)).map(|(at, _)| at);
        newest.take(MAX_LOOKS).chain(self.tail.len().checked_sub(1)).collect()
    }

    /// The tests, in the order of [`Sequential::look`].
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// A test's wealth with the incomplete slots bet as they stand.
    fn provisional(&self, n: usize) -> Wealth {
        let (Some(test), Some(complete)) = (self.tests.get(n), self.complete.get(n)) else { return Wealth::default() };
        let mut wealth = complete.clone();
        let lengths = self.block_lengths_of(test);
        self.tail.iter().for_each(|slot| bet(&mut wealth, *test, &lengths, n, slot, self.max_cluster));
        wealth
    }

    fn block_lengths(&self) -> Vec<BlockLengths> {
        self.tests.iter().map(|test| self.block_lengths_of(test)).collect()
    }

    fn block_lengths_of(&self, test: &Test) -> BlockLengths {
        test.boundary.block_lengths(EXPECTED_IN_SLOT, self.max_cluster)
    }

    fn complete_first(&mut self) {
        let Some(first) = self.tail.pop_front() else { return };
        let lengths = self.block_lengths();
        for (n, ((test, lengths), wealth)) in self.tests.iter().zip(&lengths).zip(&mut self.complete).enumerate() {
            bet(wealth, *test, lengths, n, &first, self.max_cluster);
        }
    }
}

fn bet(wealth: &mut Wealth, test: Test, lengths: &BlockLengths, n: usize, slot: &Incomplete, max_cluster: u32) {
    if let Some(stakes) = slot.stakes.get(n) {
        wealth.stake(stakes);
    }
    let pair = slot.observed.pair(test);
    let may_look = slot.is_closed || test.boundary.may_be_open(&pair);
    // A slot that says nothing is a part of its block all the same: how long that is must not depend on what came.
    let batch = test.boundary.ln_ratios(&pair, max_cluster).filter(|_| may_look).unwrap_or(Explained::NOTHING);
    wealth.bet_explained(&batch, lengths);
}

#[cfg(test)]
mod tests;
