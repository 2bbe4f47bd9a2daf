//! Calls that nobody waits for any more are ended: what a hook does for a release that was cut, deploying it above all,
//! must not happen because an attempt was still to come.

use super::Controller;
use crate::base::names::CanaryId;
use crate::controller::canary::Canary;
use crate::controller::events::{Command, Output};
use crate::release::inquiry::CallId;
use crate::release::machine::Input;

/// The calls whose answers are awaited, but for the one that has just come.
pub(super) fn open(canary: &Canary, input: &Input) -> Vec<CallId> {
    let mut open = awaited(canary);
    if let Input::Reply(round, callee, _) = input {
        open.retain(|call| (call.round, call.callee) != (*round, *callee));
    }
    open
}

impl Controller {
    /// Ends those of `before` whose answers are not awaited now. At once, as the cut from which it may follow: should it
    /// never be stored, whoever is still to be asked is asked again by the next life.
    pub(super) fn end_calls(&self, id: &CanaryId, before: Vec<CallId>, out: &mut Output) {
        let awaited = self.canaries.get(id).map(awaited).unwrap_or_default();
        let calls: Vec<CallId> = before.into_iter().filter(|call| !awaited.contains(call)).collect();
        if !calls.is_empty() {
            out.urgent.push(Command::EndCalls { canary: id.clone(), calls });
        }
    }
}

fn awaited(canary: &Canary) -> Vec<CallId> {
    let Some(run) = canary.phase.run() else { return Vec::new() };
    let call = |callee| CallId { release: run.release, round: run.round, callee };
    canary.unanswered().into_iter().map(call).collect()
}
