//! What is known of the slots that are not complete yet, gathered from all workers.
//!
//! A slot is closed when every recently connected worker has gone past it. Its outcomes keep arriving until it is complete;
//! the tests then keep its sum and it is forgotten here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::judgement::latency_baseline::{Above, Tracked};
use crate::judgement::sequential::{Observed, ObservedSlot, Sequential, SlotKey};
use crate::judgement::watermarks::Watermarks;
use crate::routing::measurement::LONGEST_WAIT;
use crate::routing::table::{Epoch, Version};
use crate::statistics::boundary::Allocation;
use crate::worker::messages::{Incarnation, Watermark};
use crate::worker::tally::{Counts, Slot, Stratum, Timed};

/// Slots kept at most; a worker cannot make more than it has time for.
const MAX_SLOTS: usize = 600;

/// The slots of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    #[serde(with = "crate::base::serde_pairs")]
    open: BTreeMap<SlotKey, Gathered>,
    watermarks: Watermarks,
    /// The last slot handed to the tests; what arrives for an earlier one that is not open any more comes too late.
    newest: Option<(Epoch, Slot)>,
    /// Requests that started in slots that were complete already.
    late: u64,
}

/// One slot's sums. Latencies are counted against the slot's thresholds as they arrive and not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Gathered {
    /// When its first requests were heard of.
    since: Millis,
    thresholds: Option<Tracked>,
    primary: Sums,
    canary: Sums,
    unsplit: Sums,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    started: u64,
    received: u64,
    ended: u64,
    void: u64,
    failed: u64,
    client_errors: u64,
    unserved: u64,
    timed: u64,
    timed_over: u64,
    timed_void: u64,
    slow: u64,
    above: Above,
}

impl Slots {
    /// Adds one stratum of a report. `fresh` gives the thresholds of a slot that is new.
    pub fn fold<C>(
        &mut self,
        stratum: &Stratum<C>,
        counts: &Counts,
        now: Millis,
        fresh: impl FnOnce() -> Option<Tracked>,
    ) {
        let key = SlotKey { epoch: stratum.epoch, slot: stratum.slot };
        if key.slot == Slot::MERGED {
            return;
        }
        let is_past = self.newest.is_some_and(|newest| (key.epoch, key.slot) <= newest);
        if !self.open.contains_key(&key) {
            if is_past {
                self.late = self.late.saturating_add(counts.started);
                return;
            }
            // The tests have long taken the oldest as it stands; who keeps a request open must not keep what comes out.
            if self.open.len() >= MAX_SLOTS {
                self.open.pop_first();
            }
        }
        let gathered =
            self.open.entry(key).or_insert_with(|| Gathered { since: now, thresholds: fresh(), ..Gathered::default() });
        let above = gathered.thresholds.map(|thresholds| thresholds.count(stratum.version, &counts.latency));
        let sums = match (stratum.version, stratum.placement.is_split()) {
            (Version::Canary, true) => &mut gathered.canary,
            (Version::Primary, true) => &mut gathered.primary,
            // Copies, like what rules place, speak about the canary alone and are compared with nothing.
            (Version::Canary, false) => &mut gathered.unsplit,
            (Version::Primary, false) => return,
        };
        sums.add(counts, &above.unwrap_or_default());
    }

    /// A worker says where it is.
    pub fn watermark(&mut self, worker: Incarnation, watermark: &Watermark, now: Millis) {
        self.watermarks.note(worker, (watermark.epoch, watermark.slot), now);
    }

    /// What is known of each slot that is not complete, and whether it is closed; `split` as in [`Slots::feed`].
    pub fn known(
        &mut self,
        split: impl Fn(Epoch) -> Option<Allocation>,
        now: Millis,
    ) -> impl Iterator<Item = (SlotKey, ObservedSlot, bool)> {
        self.watermarks.pass(now);
        let observed = move |key: &SlotKey, gathered: &Gathered| gathered.observed(split(key.epoch), now);
        let known = self.open.iter();
        let watermarks = &self.watermarks;
        known.map(move |(key, gathered)| (*key, observed(key, gathered), watermarks.is_closed((key.epoch, key.slot))))
    }

    /// Hands what is known to the tests, in the order of the slots; `split` says how an epoch divided its requests.
    pub fn feed(&mut self, tests: &mut Sequential, split: impl Fn(Epoch) -> Option<Allocation>, now: Millis) {
        self.watermarks.pass(now);
        let mut complete = Vec::new();
        for (key, gathered) in &self.open {
            let place = (key.epoch, key.slot);
            let is_new = self.newest.is_none_or(|newest| place > newest);
            let is_first_of_epoch = self.newest.is_none_or(|(epoch, _)| key.epoch > epoch);
            if is_new {
                tests.open(*key, is_first_of_epoch);
                self.newest = Some(place);
            }
            let observed = gathered.observed(split(key.epoch), now);
            let is_closed = self.watermarks.is_closed(place);
            tests.observe(*key, observed, is_closed);
            if is_closed && observed.is_complete() {
                complete.push(*key);
            }
        }
        complete.iter().for_each(|key| {
            self.open.remove(key);
        });
    }
}

impl Gathered {
    fn observed(&self, split: Option<Allocation>, now: Millis) -> ObservedSlot {
        let is_waited_for = now.since(self.since) <= LONGEST_WAIT;
        let observed = |sums: &Sums| sums.observed(self.thresholds.is_some(), is_waited_for);
        ObservedSlot {
            canary: observed(&self.canary),
            primary: observed(&self.primary),
            unsplit: observed(&self.unsplit),
            split,
        }
    }
}

impl Sums {
    fn add(&mut self, counts: &Counts, above: &Above) {
        let sum = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        sum(&mut self.started, counts.started);
        sum(&mut self.received, counts.received);
        sum(&mut self.ended, counts.judged().saturating_add(counts.void).saturating_add(counts.abandoned));
        sum(&mut self.void, counts.void);
        sum(&mut self.failed, counts.failed.total().saturating_sub(counts.repeated.failed));
        sum(&mut self.client_errors, counts.client_errors);
        sum(&mut self.unserved, counts.unserved);
        sum(&mut self.timed, counts.timed.begun);
        let Timed { ended, void, left, slow, .. } = counts.timed;
        sum(&mut self.timed_over, ended.saturating_add(void).saturating_add(left));
        sum(&mut self.timed_void, void);
        sum(&mut self.slow, slow.saturating_sub(counts.repeated.slow));
        self.above.add(above);
    }

    /// What is open after the longest wait counts as not failed, on either side: otherwise long polls, and clients that hold
    /// requests open, would look like failures of the primary for ever.
    const fn observed(&self, has_thresholds: bool, is_waited_for: bool) -> Observed {
        let timed_pending = self.timed.saturating_sub(self.timed_over);
        Observed {
            started: self.started.saturating_sub(self.void),
            pending: self.started.saturating_sub(self.ended),
            unknown: if is_waited_for { self.received.saturating_sub(self.ended) } else { 0 },
            failed: self.failed,
            client_errors: self.client_errors,
            unserved: self.unserved,
            timed: self.timed.saturating_sub(self.timed_void),
            timed_pending,
            timed_unknown: if is_waited_for { timed_pending } else { 0 },
            slow: self.slow,
            above: if has_thresholds { Some(self.above) } else { None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::names::CanaryId;
    use crate::base::time::Micros;
    use crate::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
    use crate::judgement::sample_ratio::Ratio;
    use crate::routing::outcome::{FailureClass, Outcome};
    use crate::routing::route::Placement;
    use crate::worker::tally::PerVersion;

    fn counts(started: u64, failed: u64, pending: u64) -> Counts {
        let mut counts = Counts::begun(started);
        (0..failed).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(5), true));
        (failed + pending..started).for_each(|_| counts.end_both(Outcome::Success, Micros(5), false));
        counts
    }

    const fn tenth(_: Epoch) -> Option<Allocation> {
        Some(Allocation { weight: 0.1, is_drawn: false })
    }

    const fn at(slot: u32, version: Version) -> Stratum<()> {
        Stratum { canary: (), epoch: Epoch(1), version, placement: Placement::Drawn, slot: Slot(slot) }
    }

    fn watermark(slot: u32) -> Watermark {
        Watermark { canary: CanaryId::new("prod", "web").unwrap(), epoch: Epoch(1), slot: Slot(slot) }
    }

    fn guards() -> Guards {
        let rule = GuardRule::Regression { margin: 1.5, floor_rate: 0.005 };
        Guards {
            guards: vec![Guard { rule, action: GuardAction::Abort }],
            alpha: 0.01,
            max_cluster: 1,
            sample_ratio: None,
        }
    }

    #[test]
    fn a_comparison_waits_for_the_slowest_worker_but_not_for_ever() {
        let (mut slots, mut tests) = (Slots::default(), guards().begin());
        let mut feed = |slots: &mut Slots, now| {
            slots.feed(&mut tests, tenth, Millis(now));
            guards().look(&tests, &PerVersion::default(), &Ratio::default()).tripped.is_some()
        };
        slots.fold(&at(0, Version::Canary), &counts(10, 10, 0), Millis(0), || None);
        slots.fold(&at(0, Version::Primary), &counts(90, 0, 0), Millis(0), || None);
        slots.watermark(Incarnation(1), &watermark(1), Millis(100));
        slots.watermark(Incarnation(2), &watermark(0), Millis(100));
        assert!(!feed(&mut slots, 100), "the second worker may still have requests in slot 0");
        assert!(feed(&mut slots, 2_000), "it has been silent for too long to wait for");
    }

    #[test]
    fn requests_that_stay_open_do_not_hide_what_comes_after_them() {
        let (mut slots, mut tests) = (Slots::default(), guards().begin());
        for slot in 0..MAX_SLOTS as u32 + 50 {
            slots.fold(&at(slot, Version::Canary), &counts(2, 0, 1), Millis(u64::from(slot) * 100), || None);
            slots.fold(&at(slot, Version::Primary), &counts(9, 0, 0), Millis(0), || None);
            slots.watermark(Incarnation(1), &watermark(slot + 1), Millis(u64::from(slot) * 100));
            slots.feed(&mut tests, tenth, Millis(u64::from(slot) * 100));
        }
        assert!(slots.open.len() <= MAX_SLOTS && slots.late == 0);
        let bad = MAX_SLOTS as u32 + 50;
        slots.fold(&at(bad, Version::Canary), &counts(10, 10, 0), Millis(0), || None);
        slots.fold(&at(bad, Version::Primary), &counts(90, 0, 0), Millis(0), || None);
        slots.watermark(Incarnation(1), &watermark(bad + 1), Millis(u64::from(bad) * 100));
        slots.feed(&mut tests, tenth, Millis(u64::from(bad) * 100));
        assert!(guards().look(&tests, &PerVersion::default(), &Ratio::default()).tripped.is_some());
    }

    #[test]
    fn a_complete_slot_is_forgotten_and_its_stragglers_are_counted() {
        let (mut slots, mut tests) = (Slots::default(), guards().begin());
        slots.fold(&at(0, Version::Canary), &counts(5, 0, 1), Millis(0), || None);
        slots.fold(&at(0, Version::Primary), &counts(5, 0, 0), Millis(0), || None);
        slots.watermark(Incarnation(1), &watermark(3), Millis(0));
        slots.feed(&mut tests, tenth, Millis(0));
        assert_eq!(slots.open.len(), 1, "one request is pending");
        let mut end = Counts::default();
        end.end_both(Outcome::Success, Micros(9), false);
        slots.fold(&at(0, Version::Canary), &end, Millis(0), || None);
        slots.feed(&mut tests, tenth, Millis(0));
        assert!(slots.open.is_empty());
        slots.fold(&at(0, Version::Canary), &counts(2, 2, 0), Millis(0), || None);
        assert_eq!((slots.open.len(), slots.late), (0, 2));
    }
}
