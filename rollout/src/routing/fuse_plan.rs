//! The limits that an entry gives to the worker's fuse; the fuse itself is the worker's (`worker::fuse`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The whole, in parts per billion.
const WHOLE_PPB: u32 = 1_000_000_000;
/// Greatest [`FusePlan::max_cluster`].
pub const MAX_CLUSTER: u32 = 1_000;

/// A probability in parts per billion, neither 0 nor 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ppb(u32);

/// A probability that is 0, 1 or no probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} ppb is outside 1 to 999999999")]
pub struct PpbError(pub u32);

impl Ppb {
    /// Checks the range.
    ///
    /// # Errors
    /// At 0, and from 1,000,000,000.
    pub const fn new(ppb: u32) -> Result<Self, PpbError> {
        if ppb == 0 || ppb >= WHOLE_PPB { Err(PpbError(ppb)) } else { Ok(Self(ppb)) }
    }

    /// The nearest to a probability; what lies outside is taken as the nearest end of the range.
    pub fn nearest(probability: f64) -> Self {
        Self(((probability * f64::from(WHOLE_PPB)).round() as u32).clamp(1, WHOLE_PPB - 1))
    }

    /// Parts per billion.
    pub const fn ppb(self) -> u32 {
        self.0
    }

    /// As a number from 0 to 1.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE_PPB)
    }
}

impl TryFrom<u32> for Ppb {
    type Error = PpbError;
    fn try_from(ppb: u32) -> Result<Self, PpbError> {
        Self::new(ppb)
    }
}

impl From<Ppb> for u32 {
    fn from(ppb: Ppb) -> Self {
        ppb.0
    }
}

/// The limits of a fuse: one worker's own circuit breaker for one canary. With both limits, each has half of alpha.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FusePlan {
    /// Greatest good share of requests that fail.
    pub failed: Option<Ppb>,
    /// Greatest good share of requests that fail or take longer than the entry's latency limit.
    pub slow: Option<Ppb>,
    /// Bound on the probability that one worker's fuse ever trips in a release of a canary that keeps the limits.
    pub alpha: Ppb,
    /// Most events that are one cause, 1 to [`MAX_CLUSTER`]: all counts are divided by it.
    pub max_cluster: u32,
    /// Whether what the primary suffers too is forgiven, as far as a comparison on this worker can tell: of failures, and of
    /// slowness.
    pub unless_primary_also: [bool; 2],
}

impl FusePlan {
    /// The limits of both tests, in the order of [`FuseTest::ALL`](crate::worker::fuse::FuseTest::ALL).
    pub(crate) const fn limits(&self) -> [Option<Ppb>; 2] {
        [self.failed, self.slow]
    }
}
