//! outcome -> tally: what one worker saw, by canary, epoch, version, placement and slot.
//!
//! A trial is counted when its request STARTS; its outcome when it is known, into the stratum in which it started
//! (docs/statistics.md, section 6). What has started and not ended is pending.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::histogram::Latency;
use crate::base::time::Micros;
use crate::routing::outcome::{FailureClass, Outcome};
use crate::routing::route::Placement;
use crate::routing::table::{CanaryIndex, Epoch, Version};

mod parts;

pub use self::parts::{Failures, Repeated, Timed};

/// Where a request is counted. `canary` is the worker's own number for a canary or the agent's id of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stratum<C> {
    /// Which canary.
    pub canary: C,
    /// The entry under which the request started; 0 for what was merged for want of room, or routed statically.
    pub epoch: Epoch,
    /// Which side served it.
    pub version: Version,
    /// How it came there.
    pub placement: Placement,
    /// The stretch of time in which it started, counted from when the entry came into force; see [`Slot`].
    pub slot: Slot,
}

impl<C> Stratum<C> {
    /// The same, of a canary that is owned elsewhere.
    pub const fn by_ref(&self) -> Stratum<&C> {
        let Self { ref canary, epoch, version, placement, slot } = *self;
        Stratum { canary, epoch, version, placement, slot }
    }
}

/// A stretch of time under one epoch, of a length that the entry fixed beforehand; comparisons look at whole slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl Slot {
    /// No slot in particular: merged for want of room. Comparisons leave it out.
    pub const MERGED: Self = Self(u32::MAX);
}

/// What happened in one stratum. Merging adds; it is commutative and associative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that began.
    pub started: u64,
    /// Those of them that had come in whole, were answered, or are over: the trials of a certificate, so that a client
    /// which keeps sending cannot hold it up.
    pub received: u64,
    /// Good answers.
    pub succeeded: u64,
    /// Those of them with a status of 400 to 499.
    pub client_errors: u64,
    /// Bad ones, by class.
    pub failed: Failures,
    /// Requests that say nothing about the version: it was never tried.
    pub void: u64,
    /// Requests that ended neither good nor bad: the client left, or was too slow for the proxy's patience.
    pub abandoned: u64,
    /// The abandoned, and those that had not come in whole after 15 s: each once. A version that stops reading shows here,
    /// beside the primary.
    pub unserved: u64,
    /// Of what speaks against the version: what the same user did before in the same slot.
    pub repeated: Repeated,
    /// Requests as trials of latency.
    pub timed: Timed,
    /// How long the successes and failures among these took.
    pub latency: Latency,
}

/// How a trial of latency ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedEnd {
    /// After this long.
    Took(Micros),
    /// The client left, but was kept waiting for longer than the limit.
    LeftLate,
    /// The client left before.
    Left,
    /// The upstream was never tried.
    Void,
}

impl Counts {
    /// So many requests that begin, all of them whole from the start: each a trial of latency too.
    pub fn begun(count: u64) -> Self {
        let timed = Timed { begun: count, ..Timed::default() };
        Self { started: count, received: count, timed, ..Self::default() }
    }

    /// Counts how one request ended.
    pub fn end(&mut self, outcome: Outcome) {
        let held = match outcome {
            Outcome::Success => &mut self.succeeded,
            Outcome::Failure(class) => return self.failed.add(class, 1),
            Outcome::Void => &mut self.void,
            Outcome::Abandoned => &mut self.abandoned,
        };
        *held = held.saturating_add(1);
    }

    /// Counts how one trial of latency ended; `is_slow` when it was too slow, or failed, and was not counted as slow before.
    pub fn end_timed(&mut self, end: TimedEnd, is_slow: bool) {
        self.timed.slow = self.timed.slow.saturating_add(u64::from(is_slow));
        let held = match end {
            TimedEnd::Took(latency) => {
                self.latency.record(latency);
                &mut self.timed.ended
            }
            TimedEnd::LeftLate => &mut self.timed.ended,
            TimedEnd::Left => &mut self.timed.left,
            TimedEnd::Void => &mut self.timed.void,
        };
        *held = held.saturating_add(1);
    }

    /// Counts the end of a request that was a trial of latency too, and was never abandoned.
    pub fn end_both(&mut self, outcome: Outcome, latency: Micros, is_slow: bool) {
        self.end(outcome);
        let end = if outcome == Outcome::Void { TimedEnd::Void } else { TimedEnd::Took(latency) };
        self.end_timed(end, is_slow);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.merge_without_latency(other);
        self.latency.merge(&other.latency);
    }

    /// Adds all of `other` but its latencies, which need a hundred times the room of the rest.
    pub(crate) fn merge_without_latency(&mut self, other: &Self) {
        self.started = self.started.saturating_add(other.started);
        self.received = self.received.saturating_add(other.received);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.client_errors = self.client_errors.saturating_add(other.client_errors);
        for (class, count) in FailureClass::ALL.into_iter().zip(other.failed.0) {
            self.failed.add(class, count);
        }
        self.void = self.void.saturating_add(other.void);
        self.abandoned = self.abandoned.saturating_add(other.abandoned);
        self.unserved = self.unserved.saturating_add(other.unserved);
        self.repeated.failed = self.repeated.failed.saturating_add(other.repeated.failed);
        self.repeated.slow = self.repeated.slow.saturating_add(other.repeated.slow);
        self.timed.merge(&other.timed);
    }

    /// These without those of `part`, which were counted here too. Latencies stay.
    pub(crate) fn without(&self, part: &Self) -> Self {
        let less = |all: u64, part: u64| all.saturating_sub(part);
        let mut failed = self.failed;
        failed.0.iter_mut().zip(part.failed.0).for_each(|(all, part)| *all = less(*all, part));
        Self {
            started: less(self.started, part.started),
            received: less(self.received, part.received),
            succeeded: less(self.succeeded, part.succeeded),
            client_errors: less(self.client_errors, part.client_errors),
            failed,
            void: less(self.void, part.void),
            abandoned: less(self.abandoned, part.abandoned),
            unserved: less(self.unserved, part.unserved),
            repeated: Repeated {
                failed: less(self.repeated.failed, part.repeated.failed),
                slow: less(self.repeated.slow, part.repeated.slow),
            },
            timed: Timed {
                begun: less(self.timed.begun, part.timed.begun),
                ended: less(self.timed.ended, part.timed.ended),
                void: less(self.timed.void, part.timed.void),
                left: less(self.timed.left, part.timed.left),
                slow: less(self.timed.slow, part.timed.slow),
            },
            latency: self.latency.clone(),
        }
    }

    /// Requests whose outcome counts: successes and failures.
    pub fn judged(&self) -> u64 {
        self.succeeded.saturating_add(self.failed.total())
    }

    /// Begun and not yet ended; never negative, although a delta may end what an earlier one began.
    pub fn pending(&self) -> u64 {
        self.started.saturating_sub(self.over())
    }

    /// Those of the pending whose request has come in whole, or was answered before.
    pub fn received_pending(&self) -> u64 {
        self.received.saturating_sub(self.over())
    }

    fn over(&self) -> u64 {
        self.judged().saturating_add(self.void).saturating_add(self.abandoned)
    }

    /// Good answers among the judged, 0 to 1; `None` without any.
    pub fn success_rate(&self) -> Option<f64> {
        let judged = self.judged();
        (judged > 0).then(|| self.succeeded as f64 / judged as f64)
    }
}

/// Counts per version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerVersion {
    /// The primary's.
    pub primary: Counts,
    /// The canary's.
    pub canary: Counts,
}

impl PerVersion {
    /// One side.
    pub const fn of(&self, version: Version) -> &Counts {
        match version {
            Version::Primary => &self.primary,
            Version::Canary => &self.canary,
        }
    }

    pub(crate) fn add(&mut self, version: Version, counts: &Counts) {
        match version {
            Version::Primary => self.primary.merge(counts),
            Version::Canary => self.canary.merge(counts),
        }
    }

    pub(crate) fn add_without_latency(&mut self, version: Version, counts: &Counts) {
        match version {
            Version::Primary => self.primary.merge_without_latency(counts),
            Version::Canary => self.canary.merge_without_latency(counts),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.primary.merge(&other.primary);
        self.canary.merge(&other.canary);
    }
}

/// Counts since the last report, bounded in memory however long the agent is away.
#[derive(Clone, Debug)]
pub struct Tally {
    strata: BTreeMap<Stratum<CanaryIndex>, Counts>,
    limit: usize,
    /// The last stratum handed over: the next take goes on behind it, so that each gets its turn.
    taken_to: Option<Stratum<CanaryIndex>>,
}

impl Tally {
    /// Holds at most `limit` strata, or one for each canary, version and placement where those are more, and the one that
    /// is being counted. Past that the oldest slots merge into one for each epoch, then the oldest epochs into epoch 0.
    /// Comparisons leave both out.
    pub const fn new(limit: usize) -> Self {
        Self { strata: BTreeMap::new(), limit, taken_to: None }
    }

    /// Counts a request that begins.
    pub fn start(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).started);
    }

    /// Counts a request that has come in whole, was answered, or is over.
    pub fn received(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).received);
    }

    /// Counts how a request ended, in the stratum in which it began.
    pub fn end(&mut self, stratum: Stratum<CanaryIndex>, outcome: Outcome, is_client_error: bool) {
        let counts = self.at(stratum);
        counts.end(outcome);
        counts.client_errors = counts.client_errors.saturating_add(u64::from(is_client_error));
    }

    /// Counts a request whose client left, or that has not come in whole for too long.
    pub fn unserved(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).unserved);
    }

    /// Of a failure: its user had one in this slot before.
    pub fn repeated_failure(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).repeated.failed);
    }

    /// The same of a slow one.
    pub fn repeated_slow(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).repeated.slow);
    }

    /// Counts a trial of latency that begins.
    pub fn start_timed(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).timed.begun);
    }

    /// Counts how a trial of latency ended, in the stratum in which it began.
    pub fn end_timed(&mut self, stratum: Stratum<CanaryIndex>, end: TimedEnd, is_slow: bool) {
        self.at(stratum).end_timed(end, is_slow);
    }

    /// Counts a trial of latency that has not ended but whose time passed the limit.
    pub fn aged(&mut self, stratum: Stratum<CanaryIndex>) {
        bump(&mut self.at(stratum).timed.slow);
    }

    /// Whether nothing was counted since the last [`Tally::take`].
    pub fn is_empty(&self) -> bool {
        self.strata.is_empty()
    }

    /// How many strata are live.
    pub fn len(&self) -> usize {
        self.strata.len()
    }

    /// Hands over at most `limit` strata and forgets them; the others' turn comes with the next take.
    pub fn take(&mut self, limit: usize) -> Vec<(Stratum<CanaryIndex>, Counts)> {
        let is_behind = |key: &Stratum<CanaryIndex>| self.taken_to.is_none_or(|last| *key > last);
        let keys = self.strata.keys().copied();
        let (behind, before): (Vec<_>, Vec<_>) = keys.partition(is_behind);
        let turn: Vec<_> = behind.into_iter().chain(before).take(limit).collect();
        self.taken_to = turn.last().copied();
        turn.into_iter().filter_map(|key| Some((key, self.strata.remove(&key)?))).collect()
    }

    fn at(&mut self, stratum: Stratum<CanaryIndex>) -> &mut Counts {
        let is_new = !self.strata.contains_key(&stratum);
        while is_new && self.strata.len() >= self.limit && self.merge_oldest() {}
        self.strata.entry(stratum).or_default()
    }

    /// One step towards fewer strata; `false` when there is nothing left to merge.
    fn merge_oldest(&mut self) -> bool {
        let in_slot = self.strata.keys().filter(|key| key.slot != Slot::MERGED).min_by_key(|key| (key.epoch, key.slot));
        let in_epoch = self.strata.keys().filter(|key| key.epoch > Epoch(0)).min_by_key(|key| key.epoch);
        let (oldest, merged) = match (in_slot.copied(), in_epoch.copied()) {
            (Some(oldest), _) => (oldest, Stratum { slot: Slot::MERGED, ..oldest }),
            (None, Some(oldest)) => (oldest, Stratum { epoch: Epoch(0), ..oldest }),
            (None, None) => return false,
        };
        if let Some(counts) = self.strata.remove(&oldest) {
            self.strata.entry(merged).or_default().merge(&counts);
        }
        true
    }
}

const fn bump(count: &mut u64) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests;
