//! Which reports were folded: each counts once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Report numbers remembered above a gap; a worker has one report in flight, so more than one is already odd.
pub(crate) const MAX_AHEAD: usize = 64;

/// Which reports of one incarnation have been folded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// All numbers up to this one are accounted for.
    through: u64,
    /// Numbers above a gap.
    ahead: BTreeSet<u64>,
    /// Numbers that were given up: an agent that lost its memory never saw them.
    missing: u64,
}

impl Received {
    /// Notes a report's number; `false` when it was folded before.
    pub fn note(&mut self, number: u64) -> bool {
        if number <= self.through || self.ahead.contains(&number) {
            return false;
        }
        if self.through == 0 && self.ahead.is_empty() && number > 1 {
            // First contact in the middle of a worker's life: what came before is not coming again.
            self.missing = number - 1;
            self.through = number;
            return true;
        }
        self.ahead.insert(number);
        while self.ahead.remove(&self.through.saturating_add(1)) {
            self.through += 1;
        }
        if self.ahead.len() > MAX_AHEAD
            && let Some(first) = self.ahead.pop_first()
        {
            self.missing += first - self.through - 1;
            self.through = first;
        }
        true
    }

    /// Reports that this agent knows it never saw.
    pub const fn missing(&self) -> u64 {
        self.missing
    }
}
