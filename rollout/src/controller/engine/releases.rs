//! Manifests, and what people and pipelines ask: each verb becomes a request to the machine, or is refused before it.

use super::gates::done_with;
use super::{Controller, MAX_REMEMBERED, Remembered};
use crate::base::names::{CanaryId, Revision};
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Command, Done, Output, Refused, Verb};
use crate::controller::fleet::Fleet;
use crate::controller::notify;
use crate::release::approvals::Approval;
use crate::release::machine::{ReleaseRequest, Start, may_begin};
use crate::release::phase::{Actor, Cause, Note, ReleaseId};
use crate::release::plan::Plan;

impl Controller {
    /// A manifest was read: its plan is in force now, or with the next release.
    pub(super) fn declare(&mut self, plan: Plan, now: Millis, out: &mut Output) {
        let id = plan.id.clone();
        let at_once =
            self.canaries.get(&id).is_some_and(|canary| canary.phase.run().is_none() && !self.must_wait(canary, &plan));
        let Some(canary) = self.canaries.get_mut(&id) else {
            let Remembered { epoch, releases } = self.remembered.remove(&id).unwrap_or_default();
            let mut canary = Canary::new(plan, epoch);
            canary.releases = releases;
            let promoted = self.siblings(&canary).find_map(|sibling| sibling.promoted.clone());
            canary.promoted = promoted;
            out.stored.extend(notify::record(&mut canary, Note::Declared, now));
            self.canaries.insert(id.clone(), canary);
            return self.issue_entry(&id, false, out);
        };
        if canary.latest_plan().is_suspended() && !plan.is_suspended() {
            canary.unsuspend(now);
        }
        if canary.plan == plan {
            canary.next_plan = None;
            return self.issue_entry(&id, false, out);
        }
        let is_news = canary.next_plan.as_ref() != Some(&plan);
        if at_once {
            canary.follow(plan);
        } else {
            canary.next_plan = Some(plan);
        }
        if is_news {
            out.stored.extend(notify::record(canary, Note::Changed { at_once }, now));
        }
        self.issue_entry(&id, false, out);
    }

    /// A manifest is gone.
    pub(super) fn withdraw(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        self.abort(id, Cause::Withdrawn, now, out);
        let Some(mut canary) = self.canaries.remove(id) else { return };
        out.is_lane_free = true;
        out.stored.extend(canary.withdraw().map(|entry| Command::Push(Box::new(entry))));
        if self.remembered.len() < MAX_REMEMBERED {
            self.remembered.insert(id.clone(), Remembered { epoch: canary.epoch, releases: canary.releases });
        }
    }

    /// A person or pipeline asks.
    pub(super) fn requested(&mut self, id: &CanaryId, verb: Verb, now: Millis, out: &mut Output) {
        let answer = self.answer(id, verb, now, out);
        // An abort is in force with the workers that have its entry, whatever a crash forgets; nothing else is.
        let is_abort = |command: &Command| matches!(command, Command::Push(entry) if entry.canary == *id);
        out.reply_at_once = answer.is_err() || out.urgent.iter().any(is_abort);
        out.reply = Some(answer);
    }

    fn answer(&mut self, id: &CanaryId, verb: Verb, now: Millis, out: &mut Output) -> Result<Done, Refused> {
        self.known(id)?;
        let request = match verb {
            Verb::Release { revision, actor, reason, accept_unsupported } => {
                let release = self.prepare_release(id, &revision, now, out)?;
                ReleaseRequest::Start(Start { release, revision, actor, reason, accept_unsupported })
            }
            Verb::Retry { actor, reason } => self.prepare_retry(id, actor, reason, now)?,
            Verb::Abort { actor, reason } => ReleaseRequest::Abort(actor, reason),
            Verb::Promote { actor, reason } => ReleaseRequest::Promote(actor, reason),
            Verb::Confirm { actor, reason } => ReleaseRequest::Confirm(actor, reason),
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
        if canary.may_retry() {
            may_begin_onto(&self.fleet, canary, &canary.plan, now)?;
        }
        Ok(ReleaseRequest::Retry(ReleaseId(canary.releases + 1), actor, reason))
    }

    /// The agent is back. Streams are gone, and what was asked without an answer that was stored is asked again. How long it
    /// was away counts against no release.
    pub(super) fn restart(&mut self, away: Millis, now: Millis, out: &mut Output) {
        self.fleet.disconnect_all(now);
        for canary in self.canaries.values_mut() {
            canary.resume_clocks(away, now);
            out.stored.extend(notify::calls(canary, &canary.unanswered()));
        }
    }
}

/// No release begins onto an upstream that a proxy serves by default: without an agent it would serve unproven code.
fn may_begin_onto(fleet: &Fleet, canary: &Canary, plan: &Plan, now: Millis) -> Result<(), Refused> {
    let (primary, upstream) = canary.roles_under(plan);
    let Some(peer) = fleet.serving_by_default(canary.service(), upstream, now) else { return Ok(()) };
    let (node, upstream, instead) = (peer.node.clone(), upstream.clone(), primary.clone());
    Err(Refused::DefaultUpstream { node, upstream, instead })
}
