//! What a count has several numbers for: failures, trials of latency, repeats.

use serde::{Deserialize, Serialize};

use crate::routing::outcome::FailureClass;

/// Failures by class, in the order of [`FailureClass::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failures(pub [u64; FailureClass::ALL.len()]);

impl Failures {
    /// All classes together.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// One class.
    pub fn of(&self, class: FailureClass) -> u64 {
        self.0.get(class as usize).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, class: FailureClass, count: u64) {
        if let Some(held) = self.0.get_mut(class as usize) {
            *held = held.saturating_add(count);
        }
    }
}

/// Requests as trials of latency. One begins when the whole request has come in before its answer, in the slot of that
/// moment; one whose answer came before its end says nothing about how fast the version is, nor one of a warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Those that began.
    pub begun: u64,
    /// Those that are over and say something: answered, failed, or slow before the client left.
    pub ended: u64,
    /// Those that say nothing: the upstream was never tried.
    pub void: u64,
    /// Those whose client left before they were slow.
    pub left: u64,
    /// Those that failed, or took longer than the entry's latency limit: counted exactly, and for an open one as soon as its
    /// time passes the limit.
    pub slow: u64,
}

impl Timed {
    pub(super) fn merge(&mut self, other: &Self) {
        self.begun = self.begun.saturating_add(other.begun);
        self.ended = self.ended.saturating_add(other.ended);
        self.void = self.void.saturating_add(other.void);
        self.left = self.left.saturating_add(other.left);
        self.slow = self.slow.saturating_add(other.slow);
    }

    /// Begun and not yet over.
    pub fn pending(&self) -> u64 {
        self.begun.saturating_sub(self.ended).saturating_sub(self.void).saturating_sub(self.left)
    }
}

/// Failures, and slow requests, of users who had one in the same slot, where rules alone place
/// requests or users stay on their version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// Of the failures.
    pub failed: u64,
    /// Of the slow ones.
    pub slow: u64,
}
