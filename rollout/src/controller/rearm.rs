//! The fuse as the agent sees it: by which test a worker stops its own share, and when one that did is armed again.
//!
//! A trip says that one worker saw what a canary within its limits shows with a small probability. The merged evidence
//! decides: if the guards abort, there is nothing to arm. If not, the release stands still and gives that worker another
//! chance after a while, each time after a longer one.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::judgement::guards::{GuardAction, GuardRule, Guards};
use crate::routing::measurement::LatencyEnd;
use crate::worker::fuse::{FusePlan, MAX_CLUSTER, Ppb};

/// Workers among which alpha is shared at least.
const LEAST_WORKERS: u32 = 16;
/// How long a fuse that tripped first in a release stays so.
const FIRST_WAIT: Millis = Millis(5_000);
/// The longest that one stays so; the wait doubles up to it.
const LAST_WAIT: Millis = Millis(300_000);

/// Among how many workers a release's alpha is shared while `expected` are live or expected back: the next power of two,
/// so that one more worker changes nothing, and 16 at least.
pub fn shares(expected: usize) -> u32 {
    let expected = u32::try_from(expected).unwrap_or(u32::MAX / 2).min(u32::MAX / 2);
    expected.max(LEAST_WORKERS).next_power_of_two()
}

/// The test by which each of so many workers stops its own share; `None` where no guard may abort. Where the guards forgive
/// what the primary suffers too, it does as far as one worker can tell.
pub fn fuse_plan(guards: &Guards, shares: u32) -> Option<FusePlan> {
    let aborting = || guards.guards.iter().filter(|guard| guard.action == GuardAction::Abort).map(|guard| guard.rule);
    let failed = aborting().find_map(|rule| match rule {
        GuardRule::Slo { limit, .. } => Some(limit),
        _ => None,
    });
    let slow = aborting().find_map(|rule| match rule {
        // To the last byte only a difference counts, which one worker is slow to see.
        GuardRule::Latency { end: LatencyEnd::LastByte, .. } => None,
        // Workers count as slow what one guard asks for; another guard's share would not fit that limit.
        GuardRule::Latency { limit, share, .. } => (Some(limit) == guards.latency_limit()).then_some(share),
        _ => None,
    });
    let is_possible = (failed.is_some() || slow.is_some()) && (1..=MAX_CLUSTER).contains(&guards.max_cluster);
    is_possible.then(|| FusePlan {
        failed: failed.map(Ppb::nearest),
        slow: slow.map(Ppb::nearest),
        alpha: Ppb::nearest(guards.alpha / f64::from(shares.max(1))),
        max_cluster: guards.max_cluster,
        unless_primary_also: [
            aborting().any(|rule| matches!(rule, GuardRule::Slo { .. }) && rule.forgives()),
            aborting().any(|rule| matches!(rule, GuardRule::Latency { .. }) && rule.forgives()),
        ],
    })
}

/// When the tripped fuses of one release are armed again; as patient is it with a step that is to begin anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rearming {
    /// How often they were in this release.
    rounds: u32,
    /// When they will be; `None` while none is known to be tripped.
    due: Option<Millis>,
}

impl Rearming {
    /// A fuse has tripped under the entry in force. Others that trip meanwhile are armed together with it.
    pub fn plan(&mut self, now: Millis) {
        self.due.get_or_insert(now.plus(FIRST_WAIT.doubled(self.rounds, LAST_WAIT)));
    }

    /// The time has come: they are armed, or there is none left to arm.
    pub fn done(&mut self, is_armed: bool) {
        self.due = None;
        self.rounds = self.rounds.saturating_add(u32::from(is_armed));
    }

    /// When they will be armed again.
    pub const fn due(&self) -> Option<Millis> {
        self.due
    }
}
