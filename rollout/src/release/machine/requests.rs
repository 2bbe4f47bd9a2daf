//! What a person may do by hand, in each phase; each is noted with who and why.

use super::start::enter;
use super::step::{Context, Refusal, Transition, quiet, refuse, then, with_note};
use super::{aborted, advance, can_abort, first_look, is_returning, weight};
use crate::base::names::Actor;
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, OnStep, Phase, Underway};
use crate::release::plan::Plan;
use crate::routing::table::WeightPpm;

const NONE: &str = "no release is in progress";
const LANE: &str = "that is more than one version's equal part of the traffic, which the others leave it";
const HOLDS: &str = "the release holds and has not taken traffic; see `serin describe`";

const DEPLOYED: &str = "the primary upstream runs the new version already; release the one before it";
const PROMOTED: &str = "it is promoted; traffic is on its way to the primary";

pub(super) fn abort(
    plan: &Plan,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    if can_abort(plan, phase) {
        return Ok(aborted(plan, phase, Cause::Requested { actor, reason }, now));
    }
    refuse("abort", phase, if phase.run().is_some() { DEPLOYED } else { NONE })
}

pub(super) fn promote(
    plan: &Plan,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    if let Some(OnStep { run, step, .. }) = phase.on_step() {
        return Ok(advance::promote(plan, run, Some(step), Some((actor, reason)), None, now));
    }
    let hint = match phase {
        Phase::Waiting(_) => "it has not taken traffic; `serin skip` ends the wait",
        Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_) => HOLDS,
        _ if is_returning(phase) => "it is; traffic returns to the primary",
        Phase::Promoting(_) => "it is; `serin confirm` once the primary runs the new version",
        Phase::Finalising(_) => PROMOTED,
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => NONE,
    };
    refuse("promote", phase, hint)
}

pub(super) fn confirm(
    plan: &Plan,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    match phase {
        Phase::Promoting(_) if is_returning(phase) => Ok(quiet(phase.clone())),
        Phase::Promoting(promoting) => Ok(advance::confirm(plan, promoting, Some((actor, reason)), now)),
        _ => refuse("confirm", phase, "only a release that waits in Promoting can be confirmed"),
    }
}

pub(super) fn pause(phase: &Phase, actor: Actor, reason: String) -> Result<Transition, Refusal> {
    let underway = match phase.clone() {
        Phase::Waiting(preparing) => Underway::Preparing(preparing),
        Phase::Progressing(underway) => underway,
        Phase::WaitingPromotion(on_step) => Underway::OnStep(on_step),
        paused @ Phase::Paused(_) => return Ok(quiet(paused)),
        _ => return refuse("pause", phase, "only a release that has not been promoted can be paused"),
    };
    Ok(with_note(Phase::Paused(underway), Note::Paused { actor, reason }))
}

pub(super) fn resume(
    context: Context<'_>,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    let Phase::Paused(underway) = phase.clone() else {
        return refuse("resume", phase, "only a paused release can be resumed");
    };
    let (plan, note) = (context.plan, Note::Resumed { actor, reason });
    let mut preparing = match underway {
        Underway::Preparing(preparing) => preparing,
        Underway::OnStep(mut on_step) => {
            on_step.step.at = now;
            on_step.pending.check_at = first_look(plan, now);
            on_step.pending.hold = None;
            (on_step.round_at, on_step.gate_at) = (now.plus(plan.interval), now);
            return Ok(with_note(Phase::Progressing(Underway::OnStep(on_step)), note));
        }
    };
    preparing.pending.check_at = first_look(plan, now);
    preparing.pending.hold.take_if(|hold| *hold != Hold::Unsupported);
    let phase = Phase::Progressing(Underway::Preparing(preparing.clone()));
    let resumed = with_note(phase.clone(), note);
    if preparing.pending.hold.is_some() || preparing.pending.inquiry.is_some() {
        return Ok(resumed);
    }
    Ok(then(resumed, enter(context, &phase, &preparing, now)))
}

pub(super) fn set_weight(
    plan: &Plan,
    phase: &Phase,
    to: WeightPpm,
    actor: Actor,
    reason: String,
) -> Result<Transition, Refusal> {
    let hint = match phase {
        _ if to > plan.most() => LANE,
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => NONE,
        Phase::Promoting(_) | Phase::Finalising(_) => PROMOTED,
        Phase::Waiting(_) | Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_) => {
            let Some(mut on_step) = phase.on_step().cloned() else { return refuse("set the weight", phase, HOLDS) };
            let from = weight(plan, Some(&on_step.step));
            on_step.step.weight = Some(to);
            // It was proven for another share.
            on_step.step.is_proven &= from == to;
            on_step.pending.hold = None;
            let note = Note::WeightSet { from, to, actor, reason };
            return Ok(with_note(Phase::Paused(Underway::OnStep(on_step)), note));
        }
    };
    refuse("set the weight", phase, hint)
}

pub(super) fn skip(
    context: Context<'_>,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    let note = Note::Skipped { actor, reason };
    if let Some(mut on_step) = phase.on_step().cloned() {
        (on_step.pending.inquiry, on_step.pending.hold) = (None, None);
        let skipped = with_note(Phase::Progressing(Underway::OnStep(on_step.clone())), note);
        let OnStep { run, step, .. } = &on_step;
        return Ok(then(skipped, advance::advance(context.plan, run, Some(step), None, now)));
    }
    let Some(mut preparing) = phase.preparing().cloned() else {
        let hint = match phase.run() {
            Some(_) => "it is promoted; `serin confirm` once the primary runs the new version",
            None => NONE,
        };
        return refuse("skip", phase, hint);
    };
    if preparing.pending.hold == Some(Hold::Unsupported) {
        return refuse("skip", phase, "`serin release … --accept-unsupported` accepts what is not honoured");
    }
    (preparing.pending.inquiry, preparing.pending.hold) = (None, None);
    preparing.pending.agreed.extend([Purpose::Rollout, Purpose::PreRollout, Purpose::Increase]);
    let phase = Phase::Progressing(Underway::Preparing(preparing.clone()));
    Ok(then(with_note(phase.clone(), note), enter(context, &phase, &preparing, now)))
}
