//! The fuse as the agent sees it: what a worker may cut its own share by, and when one that did is armed again.
//!
//! A trip says that one worker saw what a canary within its limits shows with a small probability. The merged evidence
//! decides: if the gates abort, there is nothing to arm. If not, the release stands still and gives that worker another
//! chance after a while, each time after a longer one.

use serde::{Deserialize, Serialize};

use crate::fuse::{FusePlan, MAX_CLUSTER, Ppb};
use crate::gates::{Action, Gates, Rule};
use crate::time::Millis;

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

/// What each of so many workers may cut its own share by; `None` where no gate may abort. It looks at the canary alone, so
/// a shared outage trips it even where the gates forgive that: then the release goes on when the agent has armed it again.
pub fn fuse_plan(gates: &Gates, shares: u32) -> Option<FusePlan> {
    let cutting = || gates.gates.iter().filter(|gate| gate.action == Action::Abort).map(|gate| gate.rule);
    let failed = cutting().find_map(|rule| match rule {
        Rule::Slo { limit, .. } => Some(limit),
        Rule::Regression { .. } | Rule::Latency { .. } | Rule::LatencyRegression { .. } => None,
    });
    let slow = cutting().find_map(|rule| match rule {
        // Workers count as slow what one gate asks for; another gate's share would not fit that limit.
        Rule::Latency { limit, share } => (Some(limit) == gates.latency_limit()).then_some(share),
        Rule::Slo { .. } | Rule::Regression { .. } | Rule::LatencyRegression { .. } => None,
    });
    let is_possible = (failed.is_some() || slow.is_some()) && (1..=MAX_CLUSTER).contains(&gates.max_cluster);
    is_possible.then(|| FusePlan {
        failed: failed.map(Ppb::nearest),
        slow: slow.map(Ppb::nearest),
        alpha: Ppb::nearest(gates.alpha / f64::from(shares.max(1))),
        max_cluster: gates.max_cluster,
    })
}

/// When the tripped fuses of one release are armed again.
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
