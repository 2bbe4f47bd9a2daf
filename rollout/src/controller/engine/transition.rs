//! One step of one canary's state machine, and all that follows from it, in the one order in which it may happen.

use super::Controller;
use super::lanes::is_becoming_primary;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Command, News, Output};
use crate::controller::notify;
use crate::release::inquiry::CallId;
use crate::release::machine::{self, Fact, Refusal, ReleaseRequest, Transition};
use crate::release::phase::{Cause, Hold, Phase};

/// What must be known of the phase that a step leaves.
struct Before {
    is_running: bool,
    is_becoming_primary: bool,
    /// Whose answers were awaited.
    calls: Vec<CallId>,
}

impl Controller {
    /// What a person or pipeline asks of one canary.
    pub(super) fn request(
        &mut self,
        id: &CanaryId,
        request: ReleaseRequest,
        now: Millis,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let hold = self.hold(id, now);
        let Some(canary) = self.canaries.get(id) else { return Ok(()) };
        let step = machine::request(canary.context(hold.as_ref()), &canary.phase, request, now)?;
        self.carry_out(id, step, None, now, out);
        Ok(())
    }

    /// What has happened to one canary.
    pub(super) fn apply(&mut self, id: &CanaryId, fact: Fact, now: Millis, out: &mut Output) {
        let hold = self.hold(id, now);
        let Some(canary) = self.canaries.get(id) else { return };
        let answered = match &fact {
            Fact::Replied { round, callee, .. } => {
                canary.phase.run().map(|run| CallId { release: run.release, round: *round, callee: *callee })
            }
            _ => None,
        };
        let step = machine::apply(canary.context(hold.as_ref()), &canary.phase, fact, now);
        self.carry_out(id, step, answered, now, out);
    }

    /// Aborts the release in progress for a cause that is no person's request; `false` where there is none that can be.
    pub(super) fn abort(&mut self, id: &CanaryId, cause: Cause, now: Millis, out: &mut Output) -> bool {
        let can_abort = self.canaries.get(id).is_some_and(|canary| machine::can_abort(&canary.plan, &canary.phase));
        if can_abort {
            self.apply(id, Fact::Aborted(cause), now, out);
        }
        can_abort
    }

    /// Why no release may advance, whatever its requests say: the manifest suspends it, a worker's routes send requests to
    /// the canary's upstream by default, or the canary's requests to the primary, or its fuse is tripped.
    fn hold(&self, id: &CanaryId, now: Millis) -> Option<Hold> {
        let canary = self.canaries.get(id)?;
        if canary.latest_plan().is_suspended() {
            return Some(Hold::Suspended);
        }
        let is_begun = canary.phase.steps() > 0;
        let upstream = canary.canary();
        let serving = self.fleet.serving_by_default(canary.service(), upstream, now);
        serving
            .map(|peer| Hold::DefaultUpstream { node: peer.node.clone(), upstream: upstream.clone() })
            .or_else(|| canary.misrouted())
            .or_else(|| self.fleet.tripped(id, now).map(|peer| Hold::Fuse { node: peer.node.clone() }))
            // The workers' reports are old, and no worker would take the next entry.
            .or_else(|| (is_begun && self.fleet.live_count() == 0).then_some(Hold::NoTraffic))
    }

    /// Carries out a step. The order is the promise: traffic moves before anything is called or notified.
    fn carry_out(&mut self, id: &CanaryId, step: Transition, answered: Option<CallId>, now: Millis, out: &mut Output) {
        let workers = self.fleet.expected(now);
        let Some(canary) = self.canaries.get_mut(id) else { return };
        let before = Before::of(canary, answered);
        // First the canary itself: all below follows from its new phase.
        let taken = canary.take(step, workers, now);
        let is_abort = before.is_running && matches!(canary.phase, Phase::Failed(..));
        // Calls and notifications are worded while the plan is still the one that the step was taken under: the next may
        // have other hooks.
        let calls = notify::calls(canary, &taken.asked);
        let notifications: Vec<Command> =
            taken.events.iter().flat_map(|event| notify::notifications(canary, event)).collect();
        let announced = taken.events.into_iter().map(|event| Command::Announce(id.clone(), Box::new(event)));
        out.stored.extend(announced);
        // The next plan before the entry, which is to say what that plan says.
        self.follow_next_plan(id, now, out);
        // The entry before all that leaves for elsewhere.
        self.issue_entry(id, is_abort, now, out);
        // Calls end as early as the entry of the abort leaves.
        self.end_calls(id, before.calls, out);
        // Siblings are notified when the whole event is handled; what there is to say is known only now.
        self.note_for_siblings(id, before.is_becoming_primary, out);
        // Last what asks and notifies others: a slow hook must find traffic where the release says it is.
        out.stored.extend(calls.into_iter().chain(notifications));
    }

    /// A release that has ended makes room for the manifest's latest plan. A plan with another lane may have to wait for
    /// siblings: see [`apply_next_plans`](Self::apply_next_plans).
    pub(super) fn follow_next_plan(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        let Some(canary) = self.canaries.get(id).filter(|canary| canary.phase.run().is_none()) else { return };
        let conflicts = |plan| self.role_conflict(canary, plan, now).is_some();
        let is_conflict = canary.next_plan.as_ref().is_some_and(conflicts);
        let Some(canary) = self.canaries.get_mut(id).filter(|_| !is_conflict) else { return };
        if canary.plan.scope.lane.is_some() {
            out.is_lane_free = true;
        } else if let Some(plan) = canary.next_plan.take() {
            canary.follow(plan);
        }
    }

    /// Issues the entry that follows from the state. That of an abort leaves before it is stored, nothing else does: so a
    /// worker that knows of an entry the journal does not have proves a lost abort (see [`Epoch::next_abort`],
    /// [`Cause::LostAbort`]).
    ///
    /// [`Epoch::next_abort`]: crate::routing::table::Epoch::next_abort
    pub(super) fn issue_entry(&mut self, id: &CanaryId, is_abort: bool, now: Millis, out: &mut Output) {
        let is_taken = self.canaries.get(id).is_some_and(|canary| self.in_lane_of(canary).is_some());
        let is_withheld = !is_abort && self.canaries.get(id).is_some_and(|canary| self.withholds(canary, now));
        let Some(canary) = self.canaries.get_mut(id).filter(|_| is_abort || !is_taken) else {
            return;
        };
        if let Some(entry) = if is_withheld { canary.withdraw() } else { canary.issue(is_abort) } {
            let list = if is_abort { &mut out.urgent } else { &mut out.stored };
            list.push(Command::Push(Box::new(entry)));
        }
    }

    /// Ends the calls whose answers are not awaited any more: what a hook does for a release that was aborted, deploying it
    /// above all, must not happen because an attempt was still to come. At once, as the entry of that abort: should it never
    /// be stored, the next life of the agent makes again the calls that are still open.
    fn end_calls(&self, id: &CanaryId, before: Vec<CallId>, out: &mut Output) {
        let awaited = self.canaries.get(id).map(Canary::awaited_calls).unwrap_or_default();
        let calls: Vec<CallId> = before.into_iter().filter(|call| !awaited.contains(call)).collect();
        if !calls.is_empty() {
            out.urgent.push(Command::EndCalls { canary: id.clone(), calls });
        }
    }

    /// What the siblings must know: a version is becoming the primary, or has become it.
    fn note_for_siblings(&self, id: &CanaryId, was_becoming_primary: bool, out: &mut Output) {
        let Some(canary) = self.canaries.get(id) else { return };
        let is_becoming = is_becoming_primary(&canary.phase);
        let news = match (&canary.phase, canary.phase.run()) {
            (_, Some(run)) if is_becoming && !was_becoming_primary => {
                Some(News::Promoting { version: id.name().to_owned(), revision: run.revision.clone() })
            }
            (Phase::Succeeded(ended), _) if was_becoming_primary => {
                Some(News::Promoted { revision: ended.revision.clone() })
            }
            _ => None,
        };
        out.for_siblings.extend(news.map(|news| (id.clone(), news)));
    }
}

impl Before {
    /// Of the open calls without the one that has just been answered: that one has ended by itself.
    fn of(canary: &Canary, answered: Option<CallId>) -> Self {
        let mut calls = canary.awaited_calls();
        calls.retain(|call| Some(*call) != answered);
        Self {
            is_running: canary.phase.run().is_some(),
            is_becoming_primary: is_becoming_primary(&canary.phase),
            calls,
        }
    }
}
