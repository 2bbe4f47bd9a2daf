//! What versions of one service ask about each other. They share a primary, so only one is promoted at a time; each has a
//! lane of the traffic, so a changed manifest must not move users under a running release.

use super::Controller;
use crate::base::names::CanaryId;
use crate::controller::canary::Canary;
use crate::controller::events::Refused;
use crate::release::phase::Phase;
use crate::release::plan::Plan;

impl Controller {
    pub(super) fn siblings<'a>(&'a self, canary: &'a Canary) -> impl Iterator<Item = &'a Canary> {
        let lane = canary.plan.scope.lane.as_ref();
        let is_sibling = move |other: &&Canary| {
            let theirs = other.plan.scope.lane.as_ref();
            other.plan.id != canary.plan.id && lane.zip(theirs).is_some_and(|(ours, theirs)| ours.of() == theirs.of())
        };
        self.canaries.values().filter(is_sibling)
    }

    /// While another version becomes the primary, there is nothing yet to compare with.
    pub(super) fn may_begin_beside(&self, canary: &Canary) -> Result<(), Refused> {
        if let Some(sibling) = self.siblings(canary).find(|other| is_becoming_primary(&other.phase)) {
            return Err(Refused::Sibling { version: sibling.plan.id.clone(), phase: sibling.phase.name() });
        }
        match self.in_lane_of(canary) {
            Some(sibling) => Err(Refused::Lane { version: sibling.plan.id.clone() }),
            None => Ok(()),
        }
    }

    /// A sibling whose release in progress still has a part of this one's lane, from before the manifest changed.
    pub(super) fn in_lane_of<'a>(&'a self, canary: &'a Canary) -> Option<&'a Canary> {
        let lane = canary.plan.scope.lane.as_ref()?;
        let mut running = self.siblings(canary).filter(|sibling| sibling.phase.run().is_some());
        running.find(|sibling| sibling.plan.scope.lane.as_ref().is_some_and(|theirs| theirs.overlaps(lane)))
    }

    /// Whether another plan would move users under the feet of a sibling's release.
    pub(super) fn must_wait(&self, canary: &Canary, plan: &Plan) -> bool {
        if let Some(must_wait) = self.must_wait {
            return must_wait;
        }
        let is_moved = plan.scope.lane != canary.plan.scope.lane || plan.sticky != canary.plan.sticky;
        is_moved && self.siblings(canary).any(|sibling| sibling.phase.run().is_some())
    }

    /// Whether the plan that waits for the next release of a canary would.
    pub(super) fn next_must_wait(&self, id: &CanaryId) -> bool {
        let canary = self.canaries.get(id);
        canary.is_some_and(|canary| canary.next_plan.as_ref().is_some_and(|plan| self.must_wait(canary, plan)))
    }
}

/// Whether a version is on its way to be the primary that its siblings are compared with.
pub(super) const fn is_becoming_primary(phase: &Phase) -> bool {
    matches!(phase, Phase::Promoting(_) | Phase::Finalising(_))
}
