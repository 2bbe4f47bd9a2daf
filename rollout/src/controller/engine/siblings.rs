//! Versions of one service bear on each other in one thing alone: the primary that they share. The one that is promoted
//! changes it, so the releases of the others end there, and none begins before it has changed.
//!
//! What that means for a sibling is an event of its own: records are kept per canary, and a replay knows only one. It comes
//! when the event from which it follows has been handled for all canaries, so that in each record the one comes after the
//! other.

use super::Controller;
use super::lanes::is_becoming_primary;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Event, News, Output};
use crate::release::phase::Cause;

impl Controller {
    /// Notifies the siblings of what the event has brought. Of two that would be promoted by one event the first is.
    pub(super) fn notify_siblings(&mut self, now: Millis, out: &mut Output) {
        while let Some((id, news)) = out.for_siblings.pop_front() {
            let Some(canary) = self.canaries.get(&id) else { continue };
            let is_true = match news {
                News::Promoting { .. } => is_becoming_primary(&canary.phase),
                News::Promoted { .. } => true,
            };
            let siblings: Vec<CanaryId> =
                self.siblings(canary).filter(|_| is_true).map(|sibling| sibling.plan.id.clone()).collect();
            for sibling in siblings {
                self.sibling(&sibling, news.clone(), now, out);
                out.sibling_events.push(Event::Sibling(sibling, news.clone()));
            }
        }
    }

    /// News of another version. Where no release is in progress, there is none to end.
    pub(super) fn sibling(&mut self, id: &CanaryId, news: News, now: Millis, out: &mut Output) {
        match news {
            News::Promoting { version, revision } => {
                if self.abort(id, Cause::NotChosen { version, revision }, now, out) {
                    // What the same event would have asked for it is asked for nothing.
                    out.stored.retain(|command| !command.awaits_answer_for(id));
                }
            }
            News::Promoted { revision } => {
                self.canaries.get_mut(id).into_iter().for_each(|canary| canary.promoted = Some(revision.clone()));
            }
        }
    }

    /// Where no release of a service is in progress any more, the plans that waited for that are taken.
    pub(super) fn apply_next_plans(&mut self, now: Millis, out: &mut Output) {
        if !out.is_lane_free {
            return;
        }
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
            self.issue_entry(&id, false, now, out);
        }
    }
}
