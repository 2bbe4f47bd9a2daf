//! The canary's newest requests by worker: what the certificate of a step leaves out once a worker is gone.
//!
//! Of a worker's last requests the fast ends were reported and the slow ones were not. Counted as they stand, fast failures
//! would outrun slow successes; left open for ever, they would hold up the certificate. So all of them are left out that
//! started shortly before its last report, ended or open: a cut by time, never by outcome (docs/statistics.md, section 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::time::{Micros, Millis};
use crate::routing::measurement::LONGEST_WAIT;
use crate::routing::table::Epoch;
use crate::worker::connection::BACK_WITHIN;
use crate::worker::messages::Incarnation;
use crate::worker::tally::{Counts, Slot};

/// A stretch is at most this part of the horizon long: by so much may more be left out than had to be.
const STRETCHES_IN_HORIZON: u64 = 8;
/// Stretches kept of one worker. Many epochs in a short time need more; the oldest are then counted as if it were not gone.
const MAX_STRETCHES: usize = 32;
/// Workers kept. Past it the one that went away first is forgotten: its requests count again, the open ones as unproven.
const MAX_WORKERS: usize = 20_000;
/// The most of a step that may be left out of its certificate.
const MOST_LEFT_OUT: f64 = 0.05;

/// The newest canary requests of each worker in this step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoneWorkers {
    /// What started this long before a worker's last report, or later, is left out if it is gone.
    horizon: Millis,
    workers: BTreeMap<Incarnation, Newest>,
    /// Those of them that have no stream, since when: of most nothing is left out, and they must not be walked through.
    away: BTreeMap<Incarnation, Millis>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Newest {
    /// Oldest first; none overlaps another.
    stretches: Vec<Stretch>,
    /// What started up to here was forgotten: it counts whatever becomes of the worker.
    settled: Option<Place>,
}

/// Where requests start: ordered as in time.
type Place = (Epoch, Slot);

/// Some slots of one epoch that follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stretch {
    /// Its last slot.
    to: Place,
    /// When its first request was reported.
    first_at: Millis,
    /// When the last report came with requests that began in it: they began before that.
    last_at: Millis,
    /// Without latencies.
    counts: Counts,
}

/// What a certificate leaves out: requests of workers that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// How many.
    pub requests: u64,
    /// Of how many on this step.
    pub of: u64,
    /// In how many workers.
    pub workers: u64,
}

impl Default for GoneWorkers {
    fn default() -> Self {
        Self { horizon: LONGEST_WAIT, workers: BTreeMap::new(), away: BTreeMap::new() }
    }
}

impl GoneWorkers {
    /// For a release whose requests may take so long.
    pub fn new(latency_limit: Option<Micros>) -> Self {
        let horizon = latency_limit.map_or(LONGEST_WAIT, |limit| Millis(limit.0.div_ceil(1_000)));
        Self { horizon, ..Self::default() }
    }

    /// Adds what a worker's report says of the canary's requests that started in one slot.
    pub fn fold(&mut self, worker: Incarnation, epoch: Epoch, slot: Slot, counts: &Counts, now: Millis) {
        let horizon = self.horizon;
        let newest = self.workers.entry(worker).or_default();
        newest.add((epoch, slot), counts, horizon, now);
        self.bound();
    }

    /// A worker has reported: what is old enough by now will count, whatever becomes of it.
    pub fn reported(&mut self, worker: Incarnation, now: Millis) {
        if let Some(newest) = self.workers.get_mut(&worker) {
            newest.settle(self.horizon, now);
        }
    }

    /// A worker's stream has ended.
    pub fn left(&mut self, worker: Incarnation, now: Millis) {
        if self.workers.contains_key(&worker) {
            self.away.entry(worker).or_insert(now);
        }
    }

    /// All workers' streams have ended: the agent was away.
    pub fn all_left(&mut self, now: Millis) {
        self.workers.keys().for_each(|worker| {
            self.away.entry(*worker).or_insert(now);
        });
    }

    /// A worker is back, with all that it had not reported.
    pub fn returned(&mut self, worker: Incarnation) {
        self.away.remove(&worker);
    }

    /// Only what starts under `first` or a later epoch belongs to the step from now on.
    pub fn begin_step(&mut self, first: Epoch) {
        self.workers.values_mut().for_each(|newest| newest.stretches.retain(|stretch| stretch.to.0 >= first));
        self.workers.retain(|_, newest| !newest.stretches.is_empty());
        self.away.retain(|worker, _| self.workers.contains_key(worker));
    }

    /// What of the requests that started under `first` or a later epoch to leave out by now, and in how many workers.
    pub fn left_out(&self, first: Epoch, now: Millis) -> (Counts, u64) {
        let gone = self.away.iter().filter(|(_, since)| now.since(**since) >= BACK_WITHIN);
        let gone = gone.filter_map(|(worker, _)| self.workers.get(worker));
        let mut sum = Counts::default();
        let mut workers = 0;
        for newest in gone {
            let before = sum.started;
            let of_step = newest.stretches.iter().filter(|stretch| stretch.to.0 >= first);
            of_step.for_each(|stretch| sum.merge(&stretch.counts));
            workers += u64::from(sum.started > before);
        }
        (sum, workers)
    }

    fn bound(&mut self) {
        if self.workers.len() <= MAX_WORKERS {
            return;
        }
        if let Some((first, _)) = self.away.iter().min_by_key(|(worker, since)| (**since, **worker)) {
            let first = *first;
            self.workers.remove(&first);
            self.away.remove(&first);
        }
    }
}

impl Newest {
    fn add(&mut self, at: Place, counts: &Counts, horizon: Millis, now: Millis) {
        let begins = counts.started > 0 || counts.timed.begun > 0;
        let Some(stretch) = self.stretch_of(at, begins, horizon, now) else { return };
        if begins {
            stretch.last_at = now;
        }
        stretch.counts.merge_without_latency(counts);
        self.settle(horizon, now);
    }

    /// The stretch in which a place lies; a new one where requests begin behind the last. `None` for what is settled.
    fn stretch_of(&mut self, at: Place, begins: bool, horizon: Millis, now: Millis) -> Option<&mut Stretch> {
        // What was merged for want of room began at any time: it shares the fate of the newest.
        let at = match (at, self.stretches.last()) {
            ((epoch, Slot::MERGED), Some(last)) if last.to.0 >= epoch => last.to,
            ((epoch, Slot::MERGED), _) => (epoch, Slot(0)),
            (at, _) => at,
        };
        if self.settled.is_some_and(|settled| at <= settled) {
            return None;
        }
        if let Some(found) = self.stretches.iter().position(|stretch| at <= stretch.to) {
            return self.stretches.get_mut(found);
        }
        if !begins {
            return None;
        }
        let is_open = |last: &Stretch| {
            last.to.0 == at.0 && now.since(last.first_at).0.saturating_mul(STRETCHES_IN_HORIZON) < horizon.0
        };
        match self.stretches.last_mut() {
            Some(last) if is_open(last) => last.to = at,
            _ => self.stretches.push(Stretch { to: at, first_at: now, last_at: now, counts: Counts::default() }),
        }
        if self.stretches.len() > MAX_STRETCHES {
            self.settle_first();
        }
        self.stretches.last_mut()
    }

    fn settle(&mut self, horizon: Millis, now: Millis) {
        while self.stretches.first().is_some_and(|first| now.since(first.last_at) >= horizon) {
            self.settle_first();
        }
    }

    fn settle_first(&mut self) {
        self.settled = Some(self.stretches.remove(0).to);
    }
}

impl LeftOut {
    /// Nothing.
    pub const NONE: Self = Self { requests: 0, of: 0, workers: 0 };

    /// Whether there is nothing to say.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether so much is missing that the rest may say something else than the whole.
    pub fn is_too_much(&self) -> bool {
        self.requests as f64 > MOST_LEFT_OUT * self.of as f64
    }

    /// Requests that must come before it is not too much any more.
    pub fn requests_to_go(&self) -> u64 {
        let needed = (self.requests as f64 / MOST_LEFT_OUT).ceil();
        (needed as u64).saturating_sub(self.of)
    }
}
