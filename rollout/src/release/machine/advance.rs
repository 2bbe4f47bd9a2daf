//! What moves traffic: to the next step, to promotion, and back to the primary.

use std::num::NonZeroUsize;

use super::inquiry::{Asked, ask};
use super::step::{Context, Effect, Transition, ended, quiet, then, with_note};
use super::{FINALISE_WITHIN, first_look, weight};
use crate::base::names::Actor;
use crate::base::time::Millis;
use crate::release::inquiry::{Callee, Purpose, Reply};
use crate::release::phase::{
    Awaiting, Finalising, Hold, Note, OnStep, Pending, Phase, Promoting, Proof, Run, StepState, Underway,
};
use crate::release::plan::{Plan, Promotion, Strategy};
use crate::routing::table::WeightPpm;

/// Leaves a proven step, once it is approved.
pub(super) fn leave(context: Context<'_>, phase: &Phase, proof: Proof, now: Millis) -> Transition {
    let (plan, Some(OnStep { run, step, .. })) = (context.plan, phase.on_step()) else { return quiet(phase.clone()) };
    let purpose = match next_step(plan, Some(step)).map(|next| plan.stage(next.get())) {
        // What needed the approval to promote has it.
        None => (!plan.stage(step.number.get()).needs_approval).then_some(Purpose::Promotion),
        Some(next) if next.needs_approval => Some(Purpose::Promotion),
        Some(next) => (next.weight > weight(plan, Some(step))).then_some(Purpose::Increase),
    };
    match purpose.map_or(Asked::Agreed, |purpose| ask(context, phase, purpose, now)) {
        Asked::Agreed => advance(plan, run, Some(step), Some(proof), now),
        Asked::Waiting(waiting) => waiting,
    }
}

/// The step that comes next; `None` where all are done. After a share that a person set it is the first that gives more,
/// or the one that all traffic goes to before promotion: no share stands for that approval.
fn next_step(plan: &Plan, step: Option<&StepState>) -> Option<NonZeroUsize> {
    let taken = step.map_or(0, |step| step.number.get());
    let mut steps = (1..=plan.last_step()).filter_map(NonZeroUsize::new);
    match (&plan.strategy, step.and_then(|step| step.weight)) {
        (Strategy::Steps(_), Some(set)) => steps.find(|next| {
            let stage = plan.stage(next.get());
            stage.weight > set || (stage.needs_approval && next.get() > taken)
        }),
        // Iterations are counted, whatever share there is.
        (Strategy::Steps(_) | Strategy::Iterations(_), _) => steps.find(|next| next.get() > taken),
    }
}

/// Takes the next step, or promotes after the last.
pub(super) fn advance(
    plan: &Plan,
    run: &Run,
    before: Option<&StepState>,
    proof: Option<Proof>,
    now: Millis,
) -> Transition {
    let Some(number) = next_step(plan, before) else { return promote(plan, run, before, None, proof, now) };
    let stage = plan.stage(number.get());
    // Iterations leave a share that a person set.
    let set = before.and_then(|step| step.weight).filter(|set| *set > stage.weight);
    let step = StepState { number, weight: set, at: now, is_proven: false, is_claimed: false };
    let note = Note::Stepped { from: weight(plan, before), to: weight(plan, Some(&step)), proof };
    let mut on_step = OnStep {
        run: run.clone(),
        step,
        pending: Pending::until(first_look(plan, now)),
        round_at: now.plus(plan.interval),
        gate_at: now,
    };
    let stepped = with_note(Phase::Progressing(Underway::OnStep(on_step.clone())), note);
    if !stage.pause {
        return stepped;
    }
    on_step.pending.hold = Some(Hold::Stop);
    then(stepped, with_note(Phase::Paused(Underway::OnStep(on_step)), Note::Held(Hold::Stop)))
}

/// Nothing is left to prove, or a person says so (`by`: who and why).
pub(super) fn promote(
    plan: &Plan,
    run: &Run,
    step: Option<&StepState>,
    by: Option<(Actor, String)>,
    proof: Option<Proof>,
    now: Millis,
) -> Transition {
    let (actor, reason) = by.map_or((None, String::new()), |(actor, reason)| (Some(actor), reason));
    let note = |awaiting| Note::Promoting { actor, reason, proof, awaiting };
    let mut run = run.clone();
    let promoting = |run, awaiting| {
        let check_at = now.plus(plan.interval);
        Phase::Promoting(Promoting { run, step: step.cloned(), check_at, awaiting, is_paused: false })
    };
    match &plan.promotion {
        Promotion::Copy { hook: Some(_) } => {
            run.round += 1;
            let mut step = with_note(promoting(run, Awaiting::Hook), note(Some(Awaiting::Hook)));
            step.effects.push(Effect::Ask(vec![Callee::Promotion]));
            step
        }
        Promotion::Copy { hook: None } => {
            let awaiting = Awaiting::Confirmation { after: None };
            with_note(promoting(run, awaiting.clone()), note(Some(awaiting)))
        }
        Promotion::Swap => {
            let mut step = with_note(finalising(&run, step, now), note(None));
            step.effects.push(Effect::SwapRoles);
            step
        }
    }
}

/// The answer of the hook that brings the primary to the new version, as long as it is awaited.
pub(super) fn hook_replied(
    context: Context<'_>,
    promoting: &Promoting,
    round: u64,
    callee: Callee,
    reply: &Reply,
    now: Millis,
) -> Transition {
    let is_awaited = promoting.awaiting == Awaiting::Hook && promoting.run.round == round;
    match (callee, reply) {
        (Callee::Promotion, Reply::Hook(Ok(()))) if is_awaited => confirm(context, promoting, None, now),
        (Callee::Promotion, Reply::Hook(Err(error))) if is_awaited => {
            let awaiting = Awaiting::Confirmation { after: Some(error.clone()) };
            let next = Phase::Promoting(Promoting { awaiting, ..promoting.clone() });
            with_note(next, Note::HookFailed { error: error.clone() })
        }
        _ => quiet(Phase::Promoting(promoting.clone())),
    }
}

/// The primary runs the new version: its traffic returns, at once or step by step; not while it fails, nor while a person
/// keeps the traffic where it is.
pub(super) fn confirm(
    context: Context<'_>,
    promoting: &Promoting,
    by: Option<(Actor, String)>,
    now: Millis,
) -> Transition {
    let plan = context.plan;
    let (actor, reason) = by.map_or((None, String::new()), |(actor, reason)| (Some(actor), reason));
    let note = Note::Confirmed { actor, reason };
    let step = promoting.step.as_ref();
    let is_at_once = plan.course.promotion_step.is_none() || weight(plan, step) == WeightPpm::ZERO;
    let stays = promoting.is_paused || context.keeps_users(&promoting.run);
    if is_at_once && !stays {
        return with_note(finalising(&promoting.run, step, now), note);
    }
    let check_at = now.plus(plan.interval);
    let returning = Promoting { check_at, awaiting: Awaiting::Traffic, ..promoting.clone() };
    let confirmed = with_note(Phase::Promoting(returning.clone()), note);
    then(confirmed, returned(context, &returning, now))
}

/// Takes a part of its share from the canary, whose version the primary runs by now.
pub(super) fn returned(context: Context<'_>, promoting: &Promoting, now: Millis) -> Transition {
    let plan = context.plan;
    if promoting.is_paused || context.keeps_users(&promoting.run) {
        return quiet(Phase::Promoting(promoting.clone()));
    }
    let from = weight(plan, promoting.step.as_ref());
    if from == WeightPpm::ZERO {
        return quiet(finalising(&promoting.run, promoting.step.as_ref(), now));
    }
    let to = from.less(plan.course.promotion_step.unwrap_or(WeightPpm::WHOLE));
    let note = Note::Returned { from, to };
    if to == WeightPpm::ZERO {
        return with_note(finalising(&promoting.run, promoting.step.as_ref(), now), note);
    }
    let step = promoting.step.clone().map(|step| StepState { weight: Some(to), ..step });
    with_note(Phase::Promoting(Promoting { step, awaiting: Awaiting::Traffic, ..promoting.clone() }), note)
}

/// The new primary takes all traffic, as far as the workers that must confirm it have.
pub(super) fn complete_finalising(context: Context<'_>, phase: &Phase, missing: usize, now: Millis) -> Transition {
    let Phase::Finalising(Finalising { run, deadline, .. }) = phase else { return quiet(phase.clone()) };
    if context.keeps_users(run) {
        // It is not over while users can still be moved back.
        let later = if now >= *deadline { now.plus(FINALISE_WITHIN) } else { *deadline };
        let mut held = phase.clone();
        held.delay_end(later);
        return quiet(held);
    }
    let mut step = with_note(Phase::Succeeded(ended(run, now)), Note::Succeeded { unconfirmed: missing });
    step.effects.push(Effect::Promoted(run.revision.clone()));
    step
}

fn finalising(run: &Run, step: Option<&StepState>, now: Millis) -> Phase {
    let steps = step.map_or(0, |step| step.number.get());
    Phase::Finalising(Finalising { run: run.clone(), steps, deadline: now.plus(FINALISE_WITHIN) })
}
