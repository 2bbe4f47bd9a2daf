//! Shares of traffic.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The whole, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;

/// A share of traffic in parts per million, 0 to 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct WeightPpm(u32);

/// A weight outside 0 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("weight {0} ppm is outside 0 to 1000000")]
pub struct WeightError(pub u32);

impl WeightPpm {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const WHOLE: Self = Self(WHOLE_PPM);

    /// Checks the range.
    ///
    /// # Errors
    /// When above 1,000,000.
    pub const fn new(ppm: u32) -> Result<Self, WeightError> {
        if ppm > WHOLE_PPM { Err(WeightError(ppm)) } else { Ok(Self(ppm)) }
    }

    /// Parts per million.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// What is left after taking another share away.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Percent, for people.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl TryFrom<u32> for WeightPpm {
    type Error = WeightError;
    fn try_from(ppm: u32) -> Result<Self, WeightError> {
        Self::new(ppm)
    }
}

impl From<WeightPpm> for u32 {
    fn from(weight: WeightPpm) -> Self {
        weight.0
    }
}
