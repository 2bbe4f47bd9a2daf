//! What is counted of each slot's latencies: how many were above thresholds that follow the primary's past.
//!
//! The thresholds of a slot are fixed when its first counts arrive, from what had ended before (see [`thresholds`]).

use serde::{Deserialize, Serialize};

use crate::base::histogram::{Bucket, Latency};
use crate::base::time::{Micros, Millis};
use crate::judgement::latency_thresholds::{self, Thresholds};
use crate::routing::table::Version;

/// Quantiles of the primary's past that are tracked.
pub const TRACKED: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// How long the past is: two spans of this length, of which the older is forgotten whole.
const SPAN: Millis = Millis(10_000);
/// Fewer requests than this have no 99th percentile to speak of.
const LEAST: u64 = 100;

/// What a plan asks to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    /// How many times slower than the primary is too slow.
    pub margin: f64,
    /// A canary request above it counts as slow in absolute terms.
    pub floor: Micros,
}

/// The thresholds of one slot, fixed before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    quantiles: [Thresholds; TRACKED.len()],
    floor: Bucket,
}

/// How many of some requests were above each threshold, and above the floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Above {
    /// By tracked quantile.
    pub tracked: [u64; TRACKED.len()],
    /// Above the floor.
    pub floor: u64,
}

impl Above {
    /// Adds what another report of the same slot says.
    pub fn add(&mut self, more: &Self) {
        self.tracked.iter_mut().zip(more.tracked).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.floor = self.floor.saturating_add(more.floor);
    }
}

impl Tracked {
    /// How many of a version's requests were above them.
    pub fn count(&self, version: Version, latency: &Latency) -> Above {
        let limit = |thresholds: Thresholds| match version {
            Version::Primary => thresholds.primary,
            Version::Canary => thresholds.canary,
        };
        let tracked = self.quantiles.map(|thresholds| latency.count_above(limit(thresholds)));
        Above { tracked, floor: latency.count_above(self.floor) }
    }
}

/// The primary's recent latencies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    since: Millis,
    newest: Latency,
    older: Latency,
}

impl Past {
    /// Primary requests that ended.
    pub fn add(&mut self, latency: &Latency, now: Millis) {
        if now.since(self.since) >= SPAN {
            // After a long silence both spans are of another time, but it is all there is.
            let is_fresh = self.newest.count() > 0;
            let newest = std::mem::take(&mut self.newest);
            if is_fresh {
                self.older = newest;
            }
            self.since = now;
        }
        self.newest.merge(latency);
    }

    /// Thresholds for a slot that begins; `None` while too little is known of the primary.
    pub fn thresholds(&self, tracking: Tracking) -> Option<Tracked> {
        let mut past = self.older.clone();
        past.merge(&self.newest);
        if past.count() < LEAST {
            return None;
        }
        let [median, p90, p95, p99] =
            TRACKED.map(|quantile| latency_thresholds::of_latency(&past, quantile, tracking.margin - 1.0));
        Some(Tracked { quantiles: [median?, p90?, p95?, p99?], floor: Bucket::of(tracking.floor) })
    }
}
