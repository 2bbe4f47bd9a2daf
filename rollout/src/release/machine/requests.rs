//! What a person may do by hand, in each phase; each is noted with who and why.

use std::num::NonZeroUsize;

use super::start::enter;
use super::step::{Context, Refusal, Transition, quiet, refuse, then, with_note};
use super::{aborted, advance, begin_step, can_abort, first_look, is_returning, weight};
use crate::base::names::Actor;
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Awaiting, Cause, Finalising, Hold, Note, OnStep, Phase, Promoting, StepState, Underway};
use crate::release::plan::{Plan, Promotion};
use crate::routing::table::WeightPpm;

const NONE: &str = "no release is in progress";
const LANE: &str = "that is more than one version's equal part of the traffic, which the others leave it";
const HOLDS: &str = "the release holds and has not taken traffic; see `serin describe`";

const DEPLOYED: &str = "the primary upstream runs the new version already; release the one before it";
const PROMOTED: &str = "it is promoted; traffic is on its way to the primary";
const ON_ITS_WAY: &str =
    "it is promoted; `serin set-weight` gives the canary a share again, `serin abort` takes a swap back";
const SWAPPED: &str = "the roles are exchanged: `serin abort` takes that back";
const FAILS: &str = "the primary fails (`serin explain` shows how), and its users would be sent there; mend it, move users by \
     `serin set-weight`, or accept it: `serin confirm … --force --reason …`";
const WHY: &str = "whoever sends users to a failing primary says why: `--reason …`";

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
    context: Context<'_>,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    match phase {
        Phase::Promoting(promoting) if context.keeps_users(&promoting.run) => refuse("confirm", phase, FAILS),
        Phase::Promoting(_) if is_returning(phase) => Ok(quiet(phase.clone())),
        Phase::Promoting(promoting) => {
            let promoting = Promoting { is_paused: false, ..promoting.clone() };
            Ok(advance::confirm(context, &promoting, Some((actor, reason)), now))
        }
        _ => refuse("confirm", phase, "only a release that waits in Promoting can be confirmed"),
    }
}

/// As `confirm`, and where the primary fails, a person takes that on: who and why stands in the history.
pub(super) fn force_confirm(
    context: Context<'_>,
    phase: &Phase,
    actor: Actor,
    reason: String,
    now: Millis,
) -> Result<Transition, Refusal> {
    let mut next = phase.clone();
    let held = next.run_mut().filter(|run| context.keeps_users(run));
    let Some(run) = held.filter(|_| matches!(phase, Phase::Promoting(_) | Phase::Finalising(_))) else {
        return confirm(context, phase, actor, reason, now);
    };
    if reason.trim().is_empty() {
        return refuse("confirm", phase, WHY);
    }
    run.primary_accepted_by = Some(actor.clone());
    if let Phase::Promoting(promoting) = &mut next {
        (promoting.is_paused, promoting.check_at) = (false, now.plus(context.plan.interval));
    }
    let accepted = with_note(next.clone(), Note::PrimaryAccepted { actor: actor.clone(), reason: reason.clone() });
    match &next {
        Phase::Promoting(promoting) if !is_returning(&next) => {
            Ok(then(accepted, advance::confirm(context, promoting, Some((actor, reason)), now)))
        }
        Phase::Promoting(promoting) => Ok(then(accepted, advance::returned(context, promoting, now))),
        _ => Ok(accepted),
    }
}

pub(super) fn pause(phase: &Phase, actor: Actor, reason: String) -> Result<Transition, Refusal> {
    let underway = match phase.clone() {
        Phase::Promoting(promoting) if promoting.is_paused => return Ok(quiet(phase.clone())),
        Phase::Promoting(promoting) => {
            let paused = Phase::Promoting(Promoting { is_paused: true, ..promoting });
            return Ok(with_note(paused, Note::Paused { actor, reason }));
        }
        Phase::Finalising(_) => return refuse("pause", phase, ON_ITS_WAY),
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
    if let Phase::Promoting(promoting) = phase
        && promoting.is_paused
    {
        let mut promoting =
            Promoting { is_paused: false, check_at: now.plus(context.plan.interval), ..promoting.clone() };
        promoting.step.iter_mut().for_each(|step| step.is_claimed = false);
        promoting.run.phase_at = now;
        return Ok(with_note(Phase::Promoting(promoting), Note::Resumed { actor, reason }));
    }
    let Phase::Paused(underway) = phase.clone() else {
        return refuse("resume", phase, "only a paused release can be resumed");
    };
    let (plan, note) = (context.plan, Note::Resumed { actor, reason });
    let mut preparing = match underway {
        Underway::Preparing(preparing) => preparing,
        Underway::OnStep(mut on_step) => {
            begin_step(plan, &mut on_step, now);
            on_step.step.is_claimed = false;
            on_step.pending.hold = None;
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
    (actor, reason): (Actor, String),
    now: Millis,
) -> Result<Transition, Refusal> {
    let hint = match phase {
        _ if to > plan.most() => LANE,
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => NONE,
        Phase::Finalising(_) if plan.promotion == Promotion::Swap => SWAPPED,
        Phase::Promoting(_) | Phase::Finalising(_) => {
            let from = weight(plan, phase.step());
            let note = Note::WeightSet { from, to, actor, reason };
            return Ok(with_note(moved_back(plan, phase, to, now), note));
        }
        Phase::Waiting(_) | Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_) => {
            let Some(mut on_step) = phase.on_step().cloned() else { return refuse("set the weight", phase, HOLDS) };
            let from = weight(plan, Some(&on_step.step));
            (on_step.step.weight, on_step.step.is_claimed) = (Some(to), false);
            // It was proven for another share.
            on_step.step.is_proven &= from == to;
            on_step.pending.hold = None;
            let note = Note::WeightSet { from, to, actor, reason };
            return Ok(with_note(Phase::Paused(Underway::OnStep(on_step)), note));
        }
    };
    refuse("set the weight", phase, hint)
}

/// Users go where a person sends them also when the release is promoted; there they stay until it is resumed.
fn moved_back(plan: &Plan, phase: &Phase, to: WeightPpm, now: Millis) -> Phase {
    let number = NonZeroUsize::new(phase.steps()).or(NonZeroUsize::new(plan.last_step())).unwrap_or(NonZeroUsize::MIN);
    let fresh = StepState { number, weight: None, at: now, is_proven: false, is_claimed: false };
    let step = StepState { weight: Some(to), is_claimed: false, ..phase.step().cloned().unwrap_or(fresh) };
    let check_at = now.plus(plan.interval);
    let mut moved = match phase {
        Phase::Promoting(promoting) => Promoting { step: Some(step), check_at, is_paused: true, ..promoting.clone() },
        Phase::Finalising(Finalising { run, .. }) => {
            let (run, awaiting) = (run.clone(), Awaiting::Traffic);
            Promoting { run, step: Some(step), check_at, awaiting, is_paused: true }
        }
        _ => return phase.clone(),
    };
    // Whoever moves users again decides anew.
    moved.run.primary_accepted_by = None;
    Phase::Promoting(moved)
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
        on_step.step.is_claimed = false;
        let skipped = with_note(Phase::Progressing(Underway::OnStep(on_step.clone())), note);
        let OnStep { run, step, .. } = &on_step;
        return Ok(then(skipped, advance::advance(context.plan, run, Some(step), None, now)));
    }
    if let Phase::Promoting(promoting) = phase
        && is_returning(phase)
    {
        if context.keeps_users(&promoting.run) {
            return refuse("skip", phase, FAILS);
        }
        let promoting = Promoting { is_paused: false, check_at: now.plus(context.plan.interval), ..promoting.clone() };
        let skipped = with_note(Phase::Promoting(promoting.clone()), note);
        return Ok(then(skipped, advance::returned(context, &promoting, now)));
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
