//! What people and pipelines ask: each verb becomes a request to the machine, or is refused before it.

use super::Controller;
use super::gates::done_with;
use super::roles::may_begin_onto;
use crate::base::names::{CanaryId, Revision};
use crate::base::time::Millis;
use crate::controller::events::{Command, Done, Output, Refused, Verb};
use crate::controller::notify;
use crate::release::approvals::Approval;
use crate::release::machine::{ReleaseRequest, Start, may_begin};
use crate::release::phase::{Actor, ReleaseId};
use crate::release::plan::Plan;

impl Controller {
    /// A person or pipeline asks.
    pub(super) fn requested(&mut self, id: &CanaryId, verb: Verb, now: Millis, out: &mut Output) {
        // Before its first traffic a release has no entry to abort, and nobody who aborts it waits for the disk either.
        let is_abort = matches!(verb, Verb::Abort { .. });
        let answer = self.answer(id, verb, now, out);
        // An abort is in force with the workers that have its entry, whatever a crash forgets; nothing else is.
        let is_entry = |command: &Command| matches!(command, Command::Push(entry) if entry.canary == *id);
        let has_left = out.urgent.iter().any(is_entry);
        out.reply_at_once = answer.is_err() || is_abort || has_left;
        out.reply = Some(answer.map(|done| Done { has_left, ..done }));
    }

    fn answer(&mut self, id: &CanaryId, verb: Verb, now: Millis, out: &mut Output) -> Result<Done, Refused> {
        let canary = self.known(id)?;
        if canary.withdrawn_at.is_some() && !matches!(verb, Verb::Forget { .. } | Verb::Abort { .. }) {
            let (verb, canary, primary) = (verb.name(), id.clone(), canary.primary().clone());
            return Err(Refused::Withdrawn { verb, canary, primary });
        }
        let request = match verb {
            Verb::Forget { actor, reason } => return self.forget(id, actor, reason, now, out),
            Verb::Release { revision, actor, reason, accept_unsupported } => {
                let release = self.prepare_release(id, &revision, now, out)?;
                ReleaseRequest::Start(Start { release, revision, actor, reason, accept_unsupported })
            }
            Verb::Retry { actor, reason } => self.prepare_retry(id, actor, reason, now)?,
            Verb::Abort { actor, reason } => ReleaseRequest::Abort(actor, reason),
            Verb::Promote { actor, reason } => ReleaseRequest::Promote(actor, reason),
            Verb::Confirm { actor, reason } => ReleaseRequest::Confirm(actor, reason),
            Verb::ForceConfirm { actor, reason } => ReleaseRequest::ForceConfirm(actor, reason),
            Verb::Pause { actor, reason } => ReleaseRequest::Pause(actor, reason),
            Verb::Resume { actor, reason } => ReleaseRequest::Resume(actor, reason),
            Verb::SetWeight { weight, actor, reason } => ReleaseRequest::SetWeight(weight, actor, reason),
            Verb::Skip { actor, reason } => ReleaseRequest::Skip(actor, reason),
            Verb::OpenGate { gate, revision, expires_after, actor, reason } => {
                let expires_at = expires_after.map(|after| now.plus(after));
                let running = || self.known(id).ok()?.phase.run().map(|run| run.revision.clone());
                let approval = Approval { revision: revision.or_else(running), actor, reason, at: now, expires_at };
                return self.open_gate(id, &gate, approval, now, out);
            }
            Verb::CloseGate { gate, actor, reason } => return self.close_gate(id, &gate, actor, reason, now, out),
        };
        self.request(id, request, now, out)?;
        self.known(id).map(done_with)
    }

    /// Whether a release of this revision may begin, and under which number. It follows the plan that waits for it.
    fn prepare_release(
        &mut self,
        id: &CanaryId,
        revision: &Revision,
        now: Millis,
        out: &mut Output,
    ) -> Result<ReleaseId, Refused> {
        let canary = self.known(id)?;
        self.may_begin_beside(canary)?;
        may_begin(canary.latest_plan(), "release", &canary.phase)?;
        let phase = &canary.phase;
        // A release that takes a running one's place is the next one, and so is one that could not begin under the plan
        // before.
        let is_next =
            |plan: &&Plan| phase.gives_way_to(revision) || (phase.is_unsupported() && plan.unsupported.is_empty());
        let must_wait = self.next_must_wait(id);
        let next = canary.next_plan.as_ref().filter(|plan| !must_wait && is_next(plan));
        self.may_begin_with_roles(canary, next, now)?;
        may_begin_onto(&self.fleet, canary, next.unwrap_or(&canary.plan), now)?;
        let (release, next) = (ReleaseId(canary.releases + 1), next.cloned());
        if let Some(plan) = next
            && let Some(canary) = self.canaries.get_mut(id)
        {
            canary.next_plan = None;
            canary.follow(plan);
            out.is_lane_free = true;
        }
        Ok(release)
    }

    fn prepare_retry(
        &self,
        id: &CanaryId,
        actor: Actor,
        reason: String,
        now: Millis,
    ) -> Result<ReleaseRequest, Refused> {
        let canary = self.known(id)?;
        self.may_begin_beside(canary)?;
        may_begin(canary.latest_plan(), "retry", &canary.phase)?;
        self.may_begin_with_roles(canary, canary.next_plan.as_ref(), now)?;
        if canary.may_retry() {
            may_begin_onto(&self.fleet, canary, &canary.plan, now)?;
        }
        Ok(ReleaseRequest::Retry(ReleaseId(canary.releases + 1), actor, reason))
    }

    /// The agent is back. Streams are gone, and what was asked without an answer that was stored is asked again. How long it
    /// was away counts against no release.
    pub(super) fn restart(&mut self, away: Millis, now: Millis, out: &mut Output) {
        self.fleet.disconnect_all(now);
        self.canaries.values_mut().for_each(|canary| canary.evidence.gone_workers.all_left(now));
        for canary in self.canaries.values_mut() {
            canary.resume_clocks(away, now);
            out.stored.extend(notify::calls(canary, &canary.unanswered()));
        }
    }
}
