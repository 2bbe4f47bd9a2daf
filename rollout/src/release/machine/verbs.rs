//! What a person may do by hand, in each phase; each is told with who and why.

use super::start::enter;
use super::{
    Context, Effect, Refusal, Step, abort, advance, first_look, is_returning, noted, refuse, then, unchanged, weight,
};
use crate::base::names::Actor;
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, Phase, Run};
use crate::release::plan::{Plan, Promotion};
use crate::routing::table::WeightPpm;

const NONE: &str = "no release is in progress";
const LANE: &str = "that is more than one version's equal part of the traffic, which the others leave it";
const HOLDS: &str = "the release holds and has not taken traffic; see `serin describe`";

/// In Finalising all traffic is on the new version already: a swap is taken back, a copy cannot be.
pub(super) fn aborted(plan: &Plan, phase: &Phase, cause: Cause, now: Millis) -> Result<Step, Refusal> {
    match (phase, &plan.promotion) {
        (Phase::Finalising(run, _), Promotion::Swap) => {
            let mut step = abort(run, cause, now);
            step.effects.push(Effect::SwapRoles);
            Ok(step)
        }
        (Phase::Finalising(..), Promotion::Copy { .. }) => refuse("abort", phase, DEPLOYED),
        _ if is_returning(phase) => refuse("abort", phase, DEPLOYED),
        _ => match phase.run() {
            Some(run) => Ok(abort(run, cause, now)),
            None => refuse("abort", phase, NONE),
        },
    }
}

const DEPLOYED: &str = "the primary upstream runs the new version already; release the one before it";

pub(super) fn promote(plan: &Plan, phase: &Phase, actor: Actor, reason: String, now: Millis) -> Result<Step, Refusal> {
    match phase {
        Phase::Progressing(run) | Phase::Paused(run) | Phase::WaitingPromotion(run) if run.step > 0 => {
            Ok(advance::promote(plan, run, Some((actor, reason)), None, now))
        }
        Phase::Waiting(_) => refuse("promote", phase, "it has not taken traffic; `serin skip` ends the wait"),
        Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_) => refuse("promote", phase, HOLDS),
        _ if is_returning(phase) => refuse("promote", phase, "it is; traffic returns to the primary"),
        Phase::Promoting(..) => {
            refuse("promote", phase, "it is; `serin confirm` once the primary runs the new version")
        }
        Phase::Finalising(..) => refuse("promote", phase, "it is promoted; traffic is on its way to the primary"),
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => refuse("promote", phase, NONE),
    }
}

pub(super) fn confirm(plan: &Plan, phase: &Phase, actor: Actor, reason: String, now: Millis) -> Result<Step, Refusal> {
    match phase {
        Phase::Promoting(..) if is_returning(phase) => Ok(unchanged(phase)),
        Phase::Promoting(run, _) => Ok(advance::confirm(plan, run, Some((actor, reason)), now)),
        _ => refuse("confirm", phase, "only a release that waits in Promoting can be confirmed"),
    }
}

pub(super) fn pause(phase: &Phase, actor: Actor, reason: String) -> Result<Step, Refusal> {
    match phase {
        Phase::Waiting(run) | Phase::Progressing(run) | Phase::WaitingPromotion(run) => {
            Ok(noted(Phase::Paused(run.clone()), Note::Paused { actor, reason }))
        }
        Phase::Paused(_) => Ok(unchanged(phase)),
        _ => refuse("pause", phase, "only a release that has not been promoted can be paused"),
    }
}

pub(super) fn resume(
    context: Context<'_>,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Step, Refusal> {
    let Phase::Paused(run) = phase else {
        return refuse("resume", phase, "only a paused release can be resumed");
    };
    let plan = context.plan;
    let next = now.plus(plan.interval);
    let run = Run {
        step_at: now,
        check_at: first_look(plan, now),
        round_at: next,
        gate_at: now,
        hold: run.hold.clone().filter(|hold| *hold == Hold::Unsupported),
        ..run.clone()
    };
    let resumed = noted(Phase::Progressing(run.clone()), Note::Resumed { actor, reason });
    if run.step > 0 || run.hold.is_some() || run.inquiry.is_some() {
        return Ok(resumed);
    }
    let entered = enter(context, &resumed.phase, &run, now);
    Ok(then(resumed, entered))
}

pub(super) fn set_weight(
    plan: &Plan,
    phase: &Phase,
    to: WeightPpm,
    actor: Actor,
    reason: String,
) -> Result<Step, Refusal> {
    match phase {
        _ if to > plan.most() => refuse("set the weight", phase, LANE),
        Phase::Progressing(run) | Phase::Paused(run) | Phase::WaitingPromotion(run) if run.step > 0 => {
            let from = weight(plan, run);
            let run = Run { weight: Some(to), hold: None, ..run.clone() };
            Ok(noted(Phase::Paused(run), Note::WeightSet { from, to, actor, reason }))
        }
        Phase::Waiting(_) | Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_) => {
            refuse("set the weight", phase, HOLDS)
        }
        Phase::Promoting(..) | Phase::Finalising(..) => {
            refuse("set the weight", phase, "it is promoted; traffic is on its way to the primary")
        }
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => refuse("set the weight", phase, NONE),
    }
}

pub(super) fn skip(
    context: Context<'_>,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Step, Refusal> {
    let note = Note::Skipped { actor, reason };
    let skipped = |run: &Run| {
        let mut run = Run { inquiry: None, hold: None, ..run.clone() };
        if run.step == 0 {
            run.agreed.extend([Purpose::Rollout, Purpose::PreRollout, Purpose::Increase]);
        }
        run
    };
    match phase {
        Phase::Progressing(run) | Phase::Paused(run) if run.hold == Some(Hold::Unsupported) => {
            refuse("skip", phase, "`serin release … --accept-unsupported` accepts what is not honoured")
        }
        Phase::Waiting(run) | Phase::Progressing(run) | Phase::Paused(run) | Phase::WaitingPromotion(run) => {
            let run = skipped(run);
            let first = noted(Phase::Progressing(run.clone()), note);
            let second = if run.step == 0 {
                enter(context, &first.phase, &run, now)
            } else {
                advance::advance(context.plan, &run, None, now)
            };
            Ok(then(first, second))
        }
        Phase::Promoting(..) | Phase::Finalising(..) => {
            refuse("skip", phase, "it is promoted; `serin confirm` once the primary runs the new version")
        }
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => refuse("skip", phase, NONE),
    }
}
