//! Time is a number that someone hands us: the core owns no clock.
//!
//! Both units count from an origin that only the shell knows (monotonic, never wall time that may step back).

use serde::{Deserialize, Serialize};

/// An instant or a span in microseconds; what a request's start, age and latency are measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

/// An instant or a span in milliseconds; what plans, deadlines and the journal are measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Micros {
    /// The same instant in whole milliseconds, rounded down.
    pub const fn to_millis(self) -> Millis {
        Millis(self.0 / 1000)
    }

    /// Time since `earlier`; zero if the host's clock went back.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Millis {
    /// One second.
    pub const SECOND: Self = Self(1000);

    /// The same span in microseconds.
    pub const fn to_micros(self) -> Micros {
        Micros(self.0.saturating_mul(1000))
    }

    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Time since `earlier`; zero if `earlier` lies ahead.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The instant `span` later.
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// A wait that doubles with each try up to `most`: how long it is after `doublings` of them. Every wait between two
    /// tries is this one; chance, where several might try at once, is added by the caller.
    #[must_use]
    pub fn doubled(self, doublings: u32, most: Self) -> Self {
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        Self(self.0.saturating_mul(factor)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_the_longest_and_stays_there() {
        let waits = [0, 1, 2, 3, 4, 63, 64, u32::MAX].map(|doublings| Millis(200).doubled(doublings, Millis(1_000)).0);
        assert_eq!(waits, [200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000]);
        assert_eq!(Millis(3_000).doubled(0, Millis(1_000)), Millis(1_000), "the longest is never exceeded");
        assert_eq!(Millis(1 << 62).doubled(3, Millis(u64::MAX)), Millis(u64::MAX));
    }
}
