//! Versions of one service bear on each other in one thing alone: the primary that they share. Whoever is being promoted
//! changes it, so the releases of the others end there, and none begins before it has changed.
//!
//! What that means for a sibling is an event of its own: records are kept per canary, and a replay knows only one. It is
//! told when the event from which it follows has been handled for everybody, so that in each record the one comes after
//! the other.

use super::Controller;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Event, News, Output, Refused};
use crate::release::machine::Input;
use crate::release::phase::{Cause, Phase};
use crate::release::plan::Plan;

impl Controller {
    /// A canary has gone from one phase to another; `before` says whether it was being promoted already.
    pub(super) fn note_news(&self, id: &CanaryId, before: Standing, out: &mut Output) {
        let Some(canary) = self.canaries.get(id) else { return };
        let news = match (before, Standing::of(&canary.phase), &canary.phase) {
            (Standing::Other, Standing::Promoting, phase) => {
                phase.run().map(|run| News::Promoting { version: id.name().to_owned(), revision: run.revision.clone() })
            }
            (Standing::Promoting, _, Phase::Succeeded(ended)) => {
                Some(News::Promoted { revision: ended.revision.clone() })
            }
            _ => None,
        };
        out.news.extend(news.map(|news| (id.clone(), news)));
    }

    /// Tells the siblings what the event has brought. Of two that would be promoted by one event the first is.
    pub(super) fn tell_siblings(&mut self, now: Millis, out: &mut Output) {
        while let Some((id, news)) = out.news.pop_front() {
            let Some(canary) = self.canaries.get(&id) else { continue };
            let is_true = match news {
                News::Promoting { .. } => Standing::of(&canary.phase) == Standing::Promoting,
                News::Promoted { .. } => true,
            };
            let siblings: Vec<CanaryId> =
                self.siblings(canary).filter(|_| is_true).map(|sibling| sibling.plan.id.clone()).collect();
            for sibling in siblings {
                self.sibling(&sibling, news.clone(), now, out);
                out.followed.push(Event::Sibling(sibling, news.clone()));
            }
        }
    }

    /// News of another version. Whoever has no release in progress has none to end.
    pub(super) fn sibling(&mut self, id: &CanaryId, news: News, now: Millis, out: &mut Output) {
        match news {
            News::Promoting { version, revision } => {
                let cause = Cause::NotChosen { version, revision };
                if self.input(id, Input::Abort(cause), now, out).is_ok() {
                    // What the same event would have asked for it is asked for nothing.
                    out.stored.retain(|command| !command.awaits_answer_for(id));
                }
            }
            News::Promoted { revision } => {
                self.canaries.get_mut(id).into_iter().for_each(|canary| canary.promoted = Some(revision.clone()));
            }
        }
    }

    /// While another version becomes the primary, there is nothing yet to compare with.
    pub(super) fn may_begin_beside(&self, id: &CanaryId) -> Result<(), Refused> {
        let Some(canary) = self.canaries.get(id) else { return Ok(()) };
        if let Some(sibling) = self.siblings(canary).find(|other| Standing::of(&other.phase) == Standing::Promoting) {
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

    /// Where no release of a service is in progress any more, the plans that waited for that are taken.
    pub(super) fn apply_pending_plans(&mut self, out: &mut Output) {
        let is_waiting = |canary: &&Canary| canary.plan.scope.lane.is_some() && canary.phase.run().is_none();
        let ids: Vec<CanaryId> =
            self.canaries.values().filter(is_waiting).map(|canary| canary.plan.id.clone()).collect();
        for id in ids {
            let Some(canary) = self.canaries.get(&id) else { continue };
            let is_due = canary.next_plan.is_some() && !self.next_must_wait(&id);
            if let Some(canary) = self.canaries.get_mut(&id).filter(|_| is_due)
                && let Some(plan) = canary.next_plan.take()
            {
                canary.follow(plan);
            }
            self.push(&id, false, out);
        }
    }

    /// A canary by its id.
    ///
    /// # Errors
    /// What to answer where there is none of this name: it may be that of several versions.
    pub fn known(&self, id: &CanaryId) -> Result<&Canary, Refused> {
        self.canaries.get(id).ok_or_else(|| self.unknown(id))
    }

    pub(super) fn unknown(&self, id: &CanaryId) -> Refused {
        let of = |canary: &&Canary| canary.plan.scope.lane.as_ref().is_some_and(|lane| lane.of() == id);
        let versions: Vec<String> =
            self.canaries.values().filter(of).map(|canary| canary.plan.id.to_string()).collect();
        if versions.is_empty() {
            return Refused::Unknown(id.clone());
        }
        Refused::Several { service: id.clone(), versions: versions.join(", ") }
    }

    pub(super) fn siblings<'a>(&'a self, canary: &'a Canary) -> impl Iterator<Item = &'a Canary> {
        let lane = canary.plan.scope.lane.as_ref();
        let is_sibling = move |other: &&Canary| {
            let theirs = other.plan.scope.lane.as_ref();
            other.plan.id != canary.plan.id && lane.zip(theirs).is_some_and(|(ours, theirs)| ours.of() == theirs.of())
        };
        self.canaries.values().filter(is_sibling)
    }
}

/// As much of a phase as siblings must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its version is becoming the primary.
    Promoting,
    /// It is not.
    Other,
}

impl Standing {
    pub(super) const fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Promoting(..) | Phase::Finalising(..) => Self::Promoting,
            _ => Self::Other,
        }
    }
}
