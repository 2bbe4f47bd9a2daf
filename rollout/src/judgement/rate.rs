//! Requests a second, smoothed: what the length of slots follows from.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;

/// An exponentially weighted rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    weight: f64,
    at: Millis,
}

/// Over how long a rate is smoothed, in milliseconds.
const RATE_OVER_MS: f64 = 10_000.0;

impl Rate {
    /// So many come now.
    pub fn add(&mut self, count: u64, now: Millis) {
        self.weight = self.decayed(now) + count as f64;
        self.at = self.at.max(now);
    }

    /// How many a second come now.
    pub fn per_second(&self, now: Millis) -> f64 {
        self.decayed(now) * 1000.0 / RATE_OVER_MS
    }

    fn decayed(&self, now: Millis) -> f64 {
        self.weight * libm::exp(-(now.since(self.at).0 as f64) / RATE_OVER_MS)
    }
}
