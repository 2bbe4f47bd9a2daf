//! Reports that leave before their tick: an answer that speaks against a canary may be the one the agent's guards need,
//! and until the tick more users get such answers.
//!
//! Few of them leave so, because each costs the agent what a regular one does: a burst when a fault begins, then one in a second.
//! They leave where the primary has no request open, if that comes soon: the guards count an open one as failed there.

use crate::routing::table::CanaryIndex;

/// Early reports in a burst: as many as the guards need failures, and some that speak for nothing.
const MOST: u32 = 6;
/// Ticks until another one is granted.
const TICKS_FOR_ONE: u32 = 10;

/// Whether one is wanted, and how many may still leave.
#[derive(Debug)]
pub(super) struct EarlyReports {
    granted: u32,
    ticks: u32,
    wanted: Option<Wanted>,
}

/// What wants to be said.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    canary: CanaryIndex,
    /// Whether it waits no longer for the primary: more has come since, which its wait would cost.
    at_once: bool,
}

impl Default for EarlyReports {
    fn default() -> Self {
        Self { granted: MOST, ticks: 0, wanted: None }
    }
}

impl EarlyReports {
    /// An answer speaks against a canary.
    pub(super) fn against(&mut self, canary: CanaryIndex) {
        self.wanted = Some(Wanted { canary, at_once: self.wanted.is_some() });
    }

    /// Whether a report should leave now. `is_open` says of a canary whether requests are open on its primary.
    pub(super) fn is_due(&self, is_open: impl FnOnce(CanaryIndex) -> bool) -> bool {
        self.granted > 0 && self.wanted.is_some_and(|wanted| wanted.at_once || !is_open(wanted.canary))
    }

    /// A report leaves, whatever for. Where it leaves something open on the primary, the next one says what became of it.
    pub(super) fn sent(&mut self, is_open: impl FnOnce(CanaryIndex) -> bool) {
        self.wanted =
            self.wanted.filter(|wanted| is_open(wanted.canary)).map(|wanted| Wanted { at_once: false, ..wanted });
    }

    /// One of those granted is spent.
    pub(super) const fn spend(&mut self) {
        self.granted = self.granted.saturating_sub(1);
    }

    /// Time goes by.
    pub(super) const fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks >= TICKS_FOR_ONE {
            self.ticks = 0;
            self.granted = if self.granted < MOST { self.granted + 1 } else { MOST };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: CanaryIndex = CanaryIndex(0);

    #[test]
    fn one_leaves_once_the_primary_has_answered_or_more_has_come() {
        let mut early = EarlyReports::default();
        assert!(!early.is_due(|_| false), "nothing is wanted");
        early.against(CANARY);
        assert!(early.is_due(|_| false));
        assert!(!early.is_due(|_| true), "an open request of the primary would count as failed");
        early.against(CANARY);
        assert!(early.is_due(|_| true), "waiting costs more answers");
        early.sent(|_| true);
        assert!(!early.is_due(|_| true));
        assert!(early.is_due(|_| false), "what was open has ended");
        early.sent(|_| false);
        assert!(!early.is_due(|_| false));
    }

    #[test]
    fn a_burst_and_then_one_in_a_second() {
        let mut early = EarlyReports::default();
        let mut send = |ticks: u32| {
            (0..ticks).for_each(|_| early.tick());
            let mut count = 0;
            loop {
                early.against(CANARY);
                if !early.is_due(|_| false) {
                    return count;
                }
                early.spend();
                early.sent(|_| false);
                count += 1;
            }
        };
        assert_eq!(send(0), MOST);
        assert_eq!(send(TICKS_FOR_ONE - 1), 0);
        assert_eq!(send(1), 1);
        assert_eq!(send(100 * TICKS_FOR_ONE), MOST);
    }
}
