//! What moves traffic: to the next step, to promotion, and back to the primary.

use super::inquiry::ask;
use super::{Context, Effect, FINALISE_WITHIN, Step, ended, first_look, noted, then, unchanged, weight};
use crate::base::names::Actor;
use crate::base::time::Millis;
use crate::release::inquiry::{Callee, Purpose};
use crate::release::phase::{Awaiting, Hold, Note, Phase, Proof, Run};
use crate::release::plan::{Plan, Promotion, Strategy};
use crate::routing::table::WeightPpm;

/// Leaves a proven step, once it is approved.
pub(super) fn leave(context: Context<'_>, phase: &Phase, run: &Run, proof: Proof, now: Millis) -> Step {
    let plan = context.plan;
    let purpose = match next_step(plan, run).map(|next| plan.stage(next)) {
        // What needed the approval to promote has it.
        None => (!plan.stage(run.step).needs_approval).then_some(Purpose::Promotion),
        Some(next) if next.needs_approval => Some(Purpose::Promotion),
        Some(next) => (next.weight > weight(plan, run)).then_some(Purpose::Increase),
    };
    if let Some(step) = purpose.and_then(|purpose| ask(context, phase, purpose, now)) {
        return step;
    }
    advance(plan, run, Some(proof), now)
}

/// The step that comes next; `None` where all are done. After a share that a person set it is the first that gives more,
/// or the one that all traffic goes to before promotion: nobody's share stands for that approval.
fn next_step(plan: &Plan, run: &Run) -> Option<usize> {
    let mut steps = 1..=plan.last_step();
    let goes_on = |step: &usize| {
        let stage = plan.stage(*step);
        run.weight.is_some_and(|set| stage.weight > set) || (stage.needs_approval && *step > run.step)
    };
    match plan.strategy {
        Strategy::Steps(_) if run.weight.is_some() => steps.find(goes_on),
        // Iterations are counted, whatever share there is.
        Strategy::Steps(_) | Strategy::Iterations(_) => steps.find(|step| *step > run.step),
    }
}

/// Takes the next step, or promotes after the last.
pub(super) fn advance(plan: &Plan, run: &Run, proof: Option<Proof>, now: Millis) -> Step {
    let Some(step) = next_step(plan, run) else { return promote(plan, run, None, proof, now) };
    let (from, stage) = (weight(plan, run), plan.stage(step));
    let run = Run {
        step,
        // Iterations leave a share that a person set.
        weight: run.weight.filter(|set| *set > stage.weight),
        step_at: now,
        is_proven: false,
        check_at: first_look(plan, now),
        inquiry: None,
        agreed: Vec::new(),
        round_at: now.plus(plan.interval),
        gate_at: now,
        hold: None,
        ..run.clone()
    };
    let stepped = noted(Phase::Progressing(run.clone()), Note::Stepped { from, to: weight(plan, &run), proof });
    if !stage.pause {
        return stepped;
    }
    let stopped = Phase::Paused(Run { hold: Some(Hold::Stop), ..run });
    then(stepped, noted(stopped, Note::Held(Hold::Stop)))
}

/// Nothing is left to prove, or a person says so (`by`: who and why).
pub(super) fn promote(plan: &Plan, run: &Run, by: Option<(Actor, String)>, proof: Option<Proof>, now: Millis) -> Step {
    let run = Run { hold: None, inquiry: None, agreed: Vec::new(), check_at: now.plus(plan.interval), ..run.clone() };
    let (actor, reason) = by.map_or((None, String::new()), |(actor, reason)| (Some(actor), reason));
    let note = |awaiting| Note::Promoting { actor, reason, proof, awaiting };
    match &plan.promotion {
        Promotion::Copy { hook: Some(_) } => {
            let run = Run { round: run.round + 1, ..run };
            let mut step = noted(Phase::Promoting(run, Awaiting::Hook), note(Some(Awaiting::Hook)));
            step.effects.push(Effect::Ask(vec![Callee::Promotion]));
            step
        }
        Promotion::Copy { hook: None } => {
            let awaiting = Awaiting::Confirmation { after: None };
            noted(Phase::Promoting(run, awaiting.clone()), note(Some(awaiting)))
        }
        Promotion::Swap => {
            let mut step = noted(Phase::Finalising(run, now.plus(FINALISE_WITHIN)), note(None));
            step.effects.push(Effect::SwapRoles);
            step
        }
    }
}

/// The primary runs the new version: its traffic returns, at once or step by step.
pub(super) fn confirm(plan: &Plan, run: &Run, by: Option<(Actor, String)>, now: Millis) -> Step {
    let (actor, reason) = by.map_or((None, String::new()), |(actor, reason)| (Some(actor), reason));
    let confirmed = noted(finalising(run, now), Note::Confirmed { actor, reason });
    if plan.course.promotion_step.is_none() || weight(plan, run) == WeightPpm::ZERO {
        return confirmed;
    }
    let run = Run { check_at: now.plus(plan.interval), ..run.clone() };
    then(confirmed, returned(plan, &run, now))
}

/// So much less for the canary, whose version the primary runs by now.
pub(super) fn returned(plan: &Plan, run: &Run, now: Millis) -> Step {
    let from = weight(plan, run);
    let step = plan.course.promotion_step.unwrap_or(WeightPpm::WHOLE);
    let to = from.less(step);
    let note = Note::Returned { from, to };
    if to == WeightPpm::ZERO {
        return noted(finalising(run, now), note);
    }
    noted(Phase::Promoting(Run { weight: Some(to), ..run.clone() }, Awaiting::Traffic), note)
}

pub(super) fn settled(phase: &Phase, unheard: usize, now: Millis) -> Step {
    match phase {
        Phase::Finalising(run, _) => {
            let mut step = noted(Phase::Succeeded(ended(run, now)), Note::Succeeded { unheard });
            step.effects.push(Effect::Promoted(run.revision.clone()));
            step
        }
        _ => unchanged(phase),
    }
}

fn finalising(run: &Run, now: Millis) -> Phase {
    Phase::Finalising(run.clone(), now.plus(FINALISE_WITHIN))
}
