//! Rollback hooks are asked in every phase in which something can be rolled back, as long as nothing else asks them: while
//! an approval is awaited, a pre-rollout hook fails, a check fails, or the primary is brought to the new version.
//!
//! A check and the first traffic wait for their answers and ask them with all others ([`Purpose::asks_rollback`]); this watch
//! asks beside whatever is open, and nothing waits for it. So no slow approval makes the red button deaf.
//!
//! [`Purpose::asks_rollback`]: crate::release::inquiry::Purpose::asks_rollback

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;

/// One call whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenCall {
    /// Which of the plan's hooks.
    hook: usize,
    /// In which round.
    round: u64,
    /// Until when.
    until: Millis,
}

/// When the rollback hooks of one release are asked, and which have not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackWatch {
    at: Millis,
    round: u64,
    open: Vec<OpenCall>,
}

impl RollbackWatch {
    /// A release begins.
    pub const fn until(at: Millis) -> Self {
        Self { at, round: 0, open: Vec::new() }
    }

    /// When they are asked next.
    pub const fn at(&self) -> Millis {
        self.at
    }

    /// They were asked otherwise, or have answered: the watch leaves it at that until then.
    pub fn rest_until(&mut self, at: Millis) {
        self.at = self.at.max(at);
    }

    /// It is time: returns those of these hooks whose answer is not awaited (any more).
    pub fn ask(&mut self, hooks: impl Iterator<Item = (usize, Millis)>, next: Millis, now: Millis) -> Vec<usize> {
        self.at = next;
        self.open.retain(|call| now < call.until);
        let asked: Vec<(usize, Millis)> =
            hooks.filter(|(hook, _)| !self.open.iter().any(|call| call.hook == *hook)).collect();
        if !asked.is_empty() {
            self.round += 1;
        }
        self.open.extend(asked.iter().map(|(hook, until)| OpenCall { hook: *hook, round: self.round, until: *until }));
        asked.into_iter().map(|(hook, _)| hook).collect()
    }

    /// Those whose answer is awaited.
    pub fn open(&self) -> impl Iterator<Item = usize> {
        self.open.iter().map(|call| call.hook)
    }

    /// In which round a hook was asked whose answer is awaited.
    pub fn round(&self, hook: usize) -> Option<u64> {
        self.open.iter().find(|call| call.hook == hook).map(|call| call.round)
    }

    /// A hook answered; whether that was awaited.
    pub fn answered(&mut self, hook: usize, round: u64) -> bool {
        let before = self.open.len();
        self.open.retain(|call| (call.hook, call.round) != (hook, round));
        self.open.len() < before
    }

    /// The agent was away for so long; those who have not answered have as long again.
    pub fn resume(&mut self, away: Millis) {
        self.at = self.at.plus(away);
        self.open.iter_mut().for_each(|call| call.until = call.until.plus(away));
    }
}
