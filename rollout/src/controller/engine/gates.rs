//! Stored gates: a person opens or closes one, and what waits for it goes on at once.

use super::Controller;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Done, Output, Refused};
use crate::controller::notify;
use crate::release::approvals::Approval;
use crate::release::integrations::{Hook, HookKind};
use crate::release::machine::Fact;
use crate::release::phase::{Actor, Cause, Note, ReleaseId, Run};
use crate::release::threshold_checks::check;

impl Controller {
    pub(super) fn open_gate(
        &mut self,
        id: &CanaryId,
        gate: &str,
        approval: Approval,
        now: Millis,
        out: &mut Output,
    ) -> Result<Done, Refused> {
        let canary = self.with_gate(id, gate)?;
        let Approval { revision, actor, reason, at, expires_at } = approval.clone();
        let expires_after = expires_at.map(|end| end.since(at));
        canary.approvals.expire(now);
        canary.approvals.open(gate, approval);
        let note = Note::GateOpened { gate: gate.into(), revision, expires_after, actor, reason };
        out.stored.extend(notify::record(canary, note, now));
        let rolls_back = |hook: &Hook| hook.name == gate && hook.kind == HookKind::Rollback && hook.is_gate();
        let is_meant = |run: &Run| canary.approvals.of(gate, Some(&run.revision), now).is_some();
        if canary.plan.outside.hooks.iter().any(rolls_back) && canary.phase.run().is_some_and(is_meant) {
            // Where there is nothing to roll back any more, only the gate is open.
            self.abort(id, Cause::Rollback { name: gate.into() }, now, out);
        } else if canary.make_gate_due(gate, now) && !self.certify(id, now, out) {
            let verdict = self.canaries.get(id).map(|canary| check(&canary.plan, &canary.evidence, now));
            verdict.into_iter().for_each(|verdict| self.apply(id, Fact::GateOpened(verdict), now, out));
        }
        self.known(id).map(done_with)
    }

    pub(super) fn close_gate(
        &mut self,
        id: &CanaryId,
        gate: &str,
        actor: Actor,
        reason: String,
        now: Millis,
        out: &mut Output,
    ) -> Result<Done, Refused> {
        let canary = self.with_gate(id, gate)?;
        canary.approvals.close(gate);
        out.stored.extend(notify::record(canary, Note::GateClosed { gate: gate.into(), actor, reason }, now));
        Ok(done_with(canary))
    }

    /// The canary, if its plan has such a gate.
    fn with_gate(&mut self, id: &CanaryId, gate: &str) -> Result<&mut Canary, Refused> {
        let canary = self.canaries.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        let known: Vec<&str> = canary.gates().collect();
        if known.contains(&gate) {
            return Ok(canary);
        }
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        Err(Refused::UnknownGate { canary: id.clone(), gate: gate.into(), known })
    }
}

/// What came of a request, as the canary stands now.
pub(super) fn done_with(canary: &Canary) -> Done {
    let (release, phase, manifest) = (ReleaseId(canary.releases), canary.phase.name(), canary.plan.hash());
    Done { release, phase, manifest, has_left: false }
}
