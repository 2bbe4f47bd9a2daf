//! Users who have spoken against a version already. Where rules alone place requests, or users stay on their version, one
//! user is one failure in a slot, however often a page is loaded again.

use std::collections::{BTreeMap, BTreeSet};

use crate::routing::table::{CanaryIndex, Epoch};
use crate::worker::fuse::FuseTest;
use crate::worker::tally::{Slot, Stratum};

/// Slots of a canary's remembered, the newest, each once for each test; a failure that is known later counts as a first one.
const MAX_SLOTS: usize = 16;
/// Users remembered in one; failures of further ones count each.
const MAX_USERS: usize = 1024;

/// Hashes of the users who spoke, for each test of a slot of an epoch, oldest first.
type UsersOfSlots = BTreeMap<(Epoch, Slot, FuseTest), BTreeSet<u64>>;

/// The users of one worker's slots.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    seen: BTreeMap<CanaryIndex, UsersOfSlots>,
}

impl Repeats {
    /// Whether a user has spoken against its version in this slot before; from now on it has.
    pub(crate) fn is_repeat(&mut self, test: FuseTest, at: Stratum<CanaryIndex>, user: Option<u64>) -> bool {
        let Some(user) = user else { return false };
        let (slots, key) = (self.seen.entry(at.canary).or_default(), (at.epoch, at.slot, test));
        if !slots.contains_key(&key) && slots.len() >= MAX_SLOTS {
            slots.pop_first();
        }
        let users = slots.entry(key).or_default();
        if users.contains(&user) {
            return true;
        }
        if users.len() < MAX_USERS {
            users.insert(user);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route::Placement;
    use crate::routing::table::Version;

    const fn at(slot: u32) -> Stratum<CanaryIndex> {
        Stratum {
            canary: CanaryIndex(0),
            epoch: Epoch(2),
            version: Version::Canary,
            placement: Placement::Matched,
            slot: Slot(slot),
        }
    }

    #[test]
    fn a_user_is_one_failure_in_a_slot() {
        let mut repeats = Repeats::default();
        let mut repeat = |test, slot, user| repeats.is_repeat(test, at(slot), user);
        assert!(!repeat(FuseTest::Failed, 1, Some(7)) && repeat(FuseTest::Failed, 1, Some(7)));
        assert!(!repeat(FuseTest::Slow, 1, Some(7)), "another test");
        assert!(!repeat(FuseTest::Failed, 1, Some(8)) && !repeat(FuseTest::Failed, 2, Some(7)));
        assert!(!repeat(FuseTest::Failed, 1, None) && !repeat(FuseTest::Failed, 1, None), "nobody is known");
        let next = Stratum { epoch: Epoch(3), ..at(1) };
        assert!(!repeats.is_repeat(FuseTest::Failed, next, Some(7)), "another entry's slot");
    }

    #[test]
    fn who_invents_users_fills_nothing() {
        let mut repeats = Repeats::default();
        for slot in 0..40 {
            (0..3_000).for_each(|user| assert!(!repeats.is_repeat(FuseTest::Failed, at(slot), Some(user))));
        }
        let slots = &repeats.seen[&CanaryIndex(0)];
        assert!(slots.len() == MAX_SLOTS && slots.values().all(|users| users.len() <= MAX_USERS));
    }
}
