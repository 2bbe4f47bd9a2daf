//! When a canary's release is due, and when its clocks stand still: suspended by its manifest, or while the agent was away.

use super::Canary;
use crate::base::time::Millis;
use crate::release::machine::{due, resumed_inquiry};
use crate::release::phase::{Phase, Run};
use crate::release::plan::Advance;
use crate::worker::connection::BACK_WITHIN;

impl Canary {
    /// When the phase has lasted as long as it may, and how long that is; never while the manifest suspends the release.
    pub fn deadline(&self) -> Option<(Millis, Millis)> {
        due(&self.plan, &self.phase).filter(|_| !self.latest_plan().is_suspended())
    }

    /// The manifest suspends the release no more: what it may take is counted from now, and a proven step is looked at.
    pub fn unsuspend(&mut self, now: Millis) {
        let Some(run) = self.phase.run().cloned() else { return };
        let is_moving = matches!(self.phase, Phase::Progressing(_) | Phase::WaitingPromotion(_)) && run.step > 0;
        let is_proof_awaited = matches!(self.plan.advance, Advance::Certificate(_)) && is_moving;
        let check_at = if is_proof_awaited { now } else { run.check_at };
        self.phase = self.phase.with_run(Run { phase_at: now, check_at, ..run });
    }

    /// The agent is back. How long it was away counts for nothing, whoever was asked has as long again to answer, and the
    /// first check waits for the workers.
    pub fn resume_clocks(&mut self, away: Millis, now: Millis) {
        if let Some(run) = self.phase.run().cloned() {
            self.phase = self.phase.with_run(Run {
                step_at: run.step_at.plus(away),
                phase_at: run.phase_at.plus(away),
                round_at: run.round_at.plus(away),
                gate_at: run.gate_at.plus(away),
                check_at: run.check_at.plus(away).max(now.plus(away.min(BACK_WITHIN))),
                ..run
            });
        }
        self.phase = resumed_inquiry(&self.plan, &self.phase, now);
    }
}
