//! From a request to release to the first traffic: accepted, approved, prepared.

use super::inquiry::{Answered, Asked, ask, rolled_back, silent};
use super::step::{
    Context, Effect, Refusal, Start, Transition, abort, held, look_later, quiet, refuse, then, with_note,
};
use super::{advance, first_look, is_returning};
use crate::base::names::{Actor, ReleaseId};
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, Pending, Phase, Preparing, Run, Underway};
use crate::routing::table::WeightPpm;

pub(super) fn start(context: Context<'_>, phase: &Phase, wanted: Start, now: Millis) -> Result<Transition, Refusal> {
    let is_supported_now = phase.is_unsupported() && context.plan.unsupported.is_empty();
    if phase.gives_way_to(&wanted.revision) || is_supported_now {
        return started(context, phase, wanted, now);
    }
    // Asking twice is harmless, and the second time may bring the acceptance.
    let accepts = wanted.accept_unsupported && phase.hold() == Some(&Hold::Unsupported);
    match phase {
        Phase::Progressing(Underway::Preparing(preparing)) if accepts => {
            Ok(accept(context, preparing, wanted.actor, now))
        }
        Phase::Paused(Underway::Preparing(_)) if accepts => {
            refuse("accept what is unsupported", phase, "it would take traffic; `serin resume` it first")
        }
        Phase::Finalising(finalising) if finalising.run.revision != wanted.revision => {
            refuse("release", phase, "wait for it to end")
        }
        _ => Ok(quiet(phase.clone())),
    }
}

fn started(context: Context<'_>, phase: &Phase, wanted: Start, now: Millis) -> Result<Transition, Refusal> {
    // Once the primary runs the release in progress, the one before is a revision like any other.
    let deployed = phase.run().filter(|_| is_returning(phase)).map(|run| run.revision.clone());
    // What the primary runs already is no change; in the middle of a release it means: take the other one back.
    if context.promoted == Some(&wanted.revision) && deployed.is_none() {
        let reverted = Cause::Reverted { actor: wanted.actor };
        return Ok(phase.run().map_or_else(|| quiet(phase.clone()), |run| abort(run, reverted, now)));
    }
    let before = phase.run().filter(|run| run.revision != wanted.revision);
    let mut begun = begin(context, wanted, now);
    if let Some(run) = before {
        begun.notes.insert(0, Note::Superseded { revision: run.revision.clone() });
    }
    begun.effects.splice(0..0, deployed.map(Effect::Promoted));
    Ok(begun)
}

pub(super) fn retry(
    context: Context<'_>,
    phase: &Phase,
    release: ReleaseId,
    by: (Actor, String),
    now: Millis,
) -> Result<Transition, Refusal> {
    match phase.ended() {
        Some(ended) if context.promoted == Some(&ended.revision) => {
            refuse("retry", phase, "it is promoted; `serin release` another revision")
        }
        Some(ended) => {
            let (actor, reason) = by;
            let revision = ended.revision.clone();
            let wanted = Start { release, revision, actor, reason, accept_unsupported: false };
            Ok(begin(context, wanted, now))
        }
        None if phase.run().is_some() => refuse("retry", phase, "the release goes on; `serin abort` it first"),
        None => refuse("retry", phase, "there was no release yet; `serin release` begins one"),
    }
}

fn begin(context: Context<'_>, wanted: Start, now: Millis) -> Transition {
    let Start { release, revision, actor, reason, accept_unsupported } = wanted;
    let run = Run {
        release,
        revision: revision.clone(),
        actor: actor.clone(),
        started_at: now,
        accepted_by: None,
        phase_at: now,
        failed_checks: 0,
        blind_checks: 0,
        round: 0,
        tripped: Vec::new(),
        primary_accepted_by: None,
    };
    let preparing = Preparing { run, pending: Pending::until(first_look(context.plan, now)) };
    let phase = Phase::Progressing(Underway::Preparing(preparing.clone()));
    let mut step = with_note(phase.clone(), Note::Started { revision, actor: actor.clone(), reason });
    step.effects.push(Effect::BeginEvidence);
    // The controller has asked whether anything holds it; what a worker's fuse says is about the release before.
    let context = Context { hold: None, ..context };
    let next = if let Some(rolled_back) = rolled_back(context, &preparing.run, now) {
        rolled_back
    } else if context.plan.unsupported.is_empty() {
        enter(context, &phase, &preparing, now)
    } else if accept_unsupported {
        accept(context, &preparing, actor, now)
    } else {
        held(phase, Some(Hold::Unsupported))
    };
    then(step, next)
}

fn accept(context: Context<'_>, preparing: &Preparing, actor: Actor, now: Millis) -> Transition {
    let mut preparing = preparing.clone();
    preparing.run.accepted_by = Some(actor.clone());
    preparing.pending.hold = None;
    let phase = Phase::Progressing(Underway::Preparing(preparing.clone()));
    let accepted = with_note(phase.clone(), Note::Accepted { actor, items: context.plan.unsupported.len() });
    then(accepted, enter(context, &phase, &preparing, now))
}

/// As far as nothing stands in its way: approved, prepared, first step.
pub(super) fn enter(context: Context<'_>, phase: &Phase, preparing: &Preparing, now: Millis) -> Transition {
    let run = &preparing.run;
    // Whatever holds it: a gate that was opened to roll it back is no reason to wait.
    if let Some(step) = rolled_back(context, run, now) {
        return step;
    }
    // Only whoever accepts what is not honoured ends this hold, and no other one takes its place.
    if preparing.pending.hold == Some(Hold::Unsupported) {
        return quiet(phase.clone());
    }
    if let Some(hold) = context.hold {
        return held(phase.clone(), Some(hold.clone()));
    }
    if let Asked::Waiting(step) = ask(context, &Phase::Waiting(preparing.clone()), Purpose::Rollout, now) {
        return step;
    }
    let phase = Phase::Progressing(Underway::Preparing(preparing.clone()));
    if context.plan.course.skip_analysis {
        let skipped = with_note(phase, Note::AnalysisSkipped);
        return then(skipped, advance::promote(context.plan, run, None, None, None, now));
    }
    if let Asked::Waiting(step) = ask(context, &phase, Purpose::PreRollout, now) {
        return step;
    }
    if context.plan.stage(1).weight > WeightPpm::ZERO
        && let Asked::Waiting(step) = ask(context, &phase, Purpose::Increase, now)
    {
        return step;
    }
    advance::advance(context.plan, run, None, None, now)
}

/// What an answer allows: before the first traffic a release goes on by itself as soon as all agree, unless a person holds
/// it. Later its next look moves it.
pub(super) fn go_on(context: Context<'_>, answered: Answered, now: Millis) -> Transition {
    let agreed = match answered {
        Answered::Waiting(step) => return step,
        Answered::Agreed(step) => step,
    };
    let Some(preparing) = agreed.phase.preparing().filter(|_| !matches!(agreed.phase, Phase::Paused(_))) else {
        return agreed;
    };
    let phase = Phase::Progressing(Underway::Preparing(preparing.clone()));
    let entered = enter(context, &phase, preparing, now);
    then(agreed, entered)
}

/// The time for answers is over.
pub(super) fn go_on_in_silence(context: Context<'_>, phase: Phase, now: Millis) -> Transition {
    let step = go_on(context, silent(context, phase, now), now);
    look_later(context.plan, step, now)
}
