//! When a canary's release is due, and when its clocks stand still: suspended by its manifest, or while the agent was away.

use super::Canary;
use crate::base::time::Millis;
use crate::release::machine::{due, resumed_inquiry};
use crate::release::phase::Phase;
use crate::release::plan::Advance;
use crate::worker::connection::BACK_WITHIN;

impl Canary {
    /// When the phase has lasted as long as it may, and how long that is; never while the manifest suspends the release, nor
    /// while its end would send users to a primary that fails.
    pub fn deadline(&self) -> Option<(Millis, Millis)> {
        let stands = self.latest_plan().is_suspended() || (self.phase.steps() > 0 && self.keeps_users());
        due(&self.plan, &self.phase).filter(|_| !stands)
    }

    /// The manifest suspends the release no more: what it may take is counted from now, and a proven step is looked at.
    pub fn unsuspend(&mut self, now: Millis) {
        let Some(run) = self.phase.run_mut() else { return };
        run.phase_at = now;
        let is_moving = matches!(self.phase, Phase::Progressing(_) | Phase::WaitingPromotion(_));
        let is_proof_awaited = matches!(self.plan.advance, Advance::Certificate(_)) && is_moving;
        if let Some(on_step) = self.phase.on_step_mut().filter(|_| is_proof_awaited) {
            on_step.pending.check_at = now;
        }
    }

    /// The agent is back. How long it was away counts for nothing, an open question has as long again for its answers, and
    /// the first check waits for the workers.
    pub fn resume_clocks(&mut self, away: Millis, now: Millis) {
        let later = |at: &mut Millis| *at = at.plus(away);
        if let Some(run) = self.phase.run_mut() {
            later(&mut run.phase_at);
        }
        if let Some(on_step) = self.phase.on_step_mut() {
            later(&mut on_step.round_at);
            later(&mut on_step.gate_at);
        }
        if let Some(step) = self.phase.step_mut() {
            later(&mut step.at);
        }
        if let Some(check_at) = self.phase.check_at_mut() {
            *check_at = check_at.plus(away).max(now.plus(away.min(BACK_WITHIN)));
        }
        self.rollback.resume(away);
        self.phase = resumed_inquiry(&self.plan, &self.phase, now);
    }
}
