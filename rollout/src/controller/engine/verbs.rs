//! What people and pipelines ask: each verb becomes an input of the machine, or is refused before it.

use super::{Controller, default_upstream};
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::events::{Command, Done, Output, Refused, Verb};
use crate::release::approvals::Approval;
use crate::release::machine::{Input, may_begin};
use crate::release::phase::{Cause, ReleaseId};
use crate::release::plan::Plan;

impl Controller {
    pub(super) fn ask(&mut self, id: &CanaryId, verb: Verb, now: Millis, out: &mut Output) {
        let answer = self.asked(id, verb, now, out);
        // A cut is in force with those who heard of it, whatever a crash forgets; nothing else is.
        let is_abort = |command: &Command| matches!(command, Command::Push(entry) if entry.canary == *id);
        out.reply_at_once = answer.is_err() || out.urgent.iter().any(is_abort);
        out.reply = Some(answer);
    }

    fn asked(&mut self, id: &CanaryId, verb: Verb, now: Millis, out: &mut Output) -> Result<Done, Refused> {
        if matches!(verb, Verb::Release { .. } | Verb::Retry { .. }) {
            self.may_begin_beside(id)?;
        }
        let unknown = self.unknown(id);
        let must_wait = self.next_must_wait(id);
        let canary = self.canaries.get_mut(id).ok_or(unknown)?;
        let input = match verb {
            Verb::Release { revision, actor, reason, accept_unsupported } => {
                may_begin(canary.latest_plan(), "release", &canary.phase)?;
                // A release that takes a running one's place is the next one, and follows the plan that waits for it; so does
                // one that could not begin under the plan before.
                let phase = &canary.phase;
                let is_next = |plan: &mut Plan| {
                    phase.gives_way_to(&revision) || (phase.is_unsupported() && plan.unsupported.is_empty())
                };
                let waiting = canary.next_plan.take_if(|plan| !must_wait && is_next(plan));
                if let Some(refused) = default_upstream::refused(&self.fleet, canary, waiting.as_ref(), now) {
                    canary.next_plan = waiting.or(canary.next_plan.take());
                    return Err(refused);
                }
                if let Some(plan) = waiting {
                    canary.follow(plan);
                    out.frees_lanes = true;
                }
                let release = ReleaseId(canary.releases + 1);
                Input::Start { release, revision, actor, reason, accept_unsupported }
            }
            Verb::Abort { actor, reason } => Input::Abort(Cause::Requested { actor, reason }),
            Verb::Retry { actor, reason } => {
                may_begin(canary.latest_plan(), "retry", &canary.phase)?;
                if let Some(refused) =
                    default_upstream::refused(&self.fleet, canary, None, now).filter(|_| canary.may_retry())
                {
                    return Err(refused);
                }
                Input::Retry(ReleaseId(canary.releases + 1), actor, reason)
            }
            Verb::Promote { actor, reason } => Input::Promote(actor, reason),
            Verb::Confirm { actor, reason } => Input::Confirm(actor, reason),
            Verb::Pause { actor, reason } => Input::Pause(actor, reason),
            Verb::Resume { actor, reason } => Input::Resume(actor, reason),
            Verb::SetWeight { weight, actor, reason } => Input::SetWeight(weight, actor, reason),
            Verb::Skip { actor, reason } => Input::Skip(actor, reason),
            Verb::OpenGate { gate, revision, expires_after, actor, reason } => {
                let revision = revision.or_else(|| canary.phase.run().map(|run| run.revision.clone()));
                let expires_at = expires_after.map(|after| now.plus(after));
                let approval = Approval { revision, actor, reason, at: now, expires_at };
                return self.open_gate(id, &gate, approval, now, out);
            }
            Verb::CloseGate { gate, actor, reason } => return self.close_gate(id, &gate, actor, reason, now, out),
        };
        self.input(id, input, now, out)?;
        let canary = self.canaries.get(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        Ok(Done { release: ReleaseId(canary.releases), phase: canary.phase.name() })
    }
}
