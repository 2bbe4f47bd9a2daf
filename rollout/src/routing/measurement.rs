//! What counts as a version's own time, and from when on: carried to the workers by the entry.
//!
//! A version's time runs from the end of the request to the headers of its answer. Before that the client is sending, behind
//! it the client is reading, and neither says how fast the version is (docs/latency.md).

use serde::{Deserialize, Serialize};

use crate::base::time::{Micros, Millis};
use crate::routing::failure_codes::FailureCodes;

/// What is open for so long, on either side, is waited for no more: nobody's proxy is that patient.
pub const LONGEST_WAIT: Millis = Millis::from_secs(15);
/// Longest warm-up.
pub const MAX_WARM_UP: Millis = Millis::from_secs(300);
/// Range of [`Measurement::good_after`].
pub const GOOD_AFTER: std::ops::RangeInclusive<Millis> = Millis::from_secs(1)..=Millis::from_secs(3_600);

/// Where a version's time ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LatencyEnd {
    /// At the headers of its answer.
    #[default]
    ResponseHeaders,
    /// At the last byte that the proxy gets from it. That depends on the client too: a proxy whose buffer is full stops
    /// reading. So it is held against the primary's alone. Streams and gRPC calls end at their headers all the same.
    LastByte,
}

impl LatencyEnd {
    /// Its name in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResponseHeaders => "responseHeaders",
            Self::LastByte => "lastByte",
        }
    }
}

/// A version's first requests in a release, on one worker: their failures count, their latency does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmUp {
    /// Those that start within this time after the first; at most [`MAX_WARM_UP`].
    pub time: Millis,
    /// So many, in any case, but no longer than [`MAX_WARM_UP`].
    pub requests: u32,
}

impl WarmUp {
    /// None.
    pub const NONE: Self = Self { time: Millis(0), requests: 0 };

    /// Whether a request that starts `since_first` after the first one, with `before` others before it, belongs to it.
    pub fn covers(self, since_first: Micros, before: u64) -> bool {
        let within = |time: Millis| since_first.0 < time.0.saturating_mul(1000);
        within(self.time.min(MAX_WARM_UP)) || (before < u64::from(self.requests) && within(MAX_WARM_UP))
    }
}

/// What an entry says of measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// Where a version's time ends.
    pub latency_end: LatencyEnd,
    /// The canary's first requests.
    pub warm_up: WarmUp,
    /// An answer that has been open for this long behind its headers is good, however long it stays open: otherwise a
    /// service of streams could never be proven.
    pub good_after: Millis,
    /// Which statuses are failures.
    pub failures: FailureCodes,
}

impl Measurement {
    /// What is usual where nothing is said.
    pub const USUAL: Self = Self {
        latency_end: LatencyEnd::ResponseHeaders,
        warm_up: WarmUp { time: Millis::from_secs(10), requests: 0 },
        good_after: Millis::from_secs(10),
        failures: FailureCodes::USUAL,
    };
}

impl Default for Measurement {
    fn default() -> Self {
        Self::USUAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_is_over_after_its_time_and_its_requests_and_five_minutes_at_most() {
        let covers = |time_s, requests, at_s: u64, before| {
            WarmUp { time: Millis::from_secs(time_s), requests }.covers(Micros(at_s * 1_000_000), before)
        };
        assert!(covers(10, 0, 0, 0) && covers(10, 0, 9, 99) && !covers(10, 0, 10, 0));
        assert!(covers(0, 3, 60, 2) && !covers(0, 3, 0, 3));
        assert!(covers(10, 3, 9, 50) && covers(10, 3, 200, 1));
        assert!(!covers(9_999, 3, 300, 0), "a manifest cannot ask for more");
        assert!(!WarmUp::NONE.covers(Micros(0), 0));
    }
}
