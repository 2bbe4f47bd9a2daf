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
}
