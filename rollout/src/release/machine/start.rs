//! From a request to release to the first traffic: accepted, approved, prepared.

use super::inquiry::{ask, rolled_back};
use super::{Context, Effect, Refusal, Step, abort, advance, first_look, held, noted, refuse, then, unchanged};
use crate::base::names::{Actor, ReleaseId, Revision};
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, Phase, Run};
use crate::routing::table::WeightPpm;

pub(super) struct Wanted {
    pub(super) release: ReleaseId,
    pub(super) revision: Revision,
    pub(super) actor: Actor,
    pub(super) reason: String,
    pub(super) accept_unsupported: bool,
}

pub(super) fn start(context: Context<'_>, phase: &Phase, wanted: Wanted, now: Millis) -> Result<Step, Refusal> {
    let is_mended = phase.is_unsupported() && context.plan.unsupported.is_empty();
    if phase.gives_way_to(&wanted.revision) || is_mended {
        return started(context, phase, wanted, now);
    }
    // Asking twice is harmless, and the second time may bring the acceptance.
    let accepts = |run: &Run| wanted.accept_unsupported && run.hold == Some(Hold::Unsupported);
    match phase {
        Phase::Progressing(run) if accepts(run) => Ok(accept(context, run, wanted.actor, now)),
        Phase::Paused(run) if accepts(run) => {
            refuse("accept what is unsupported", phase, "it would take traffic; `serin resume` it first")
        }
        Phase::Promoting(run, _) if run.revision != wanted.revision => {
            refuse("release", phase, "wait for it to end, or abort it first")
        }
        Phase::Finalising(run, _) if run.revision != wanted.revision => refuse("release", phase, "wait for it to end"),
        _ => Ok(unchanged(phase)),
    }
}

fn started(context: Context<'_>, phase: &Phase, wanted: Wanted, now: Millis) -> Result<Step, Refusal> {
    // What the primary runs already is no change; in the middle of a release it means: take the other one back.
    if context.promoted == Some(&wanted.revision) {
        let reverted = Cause::Reverted { actor: wanted.actor };
        return Ok(phase.run().map_or_else(|| unchanged(phase), |run| abort(run, reverted, now)));
    }
    let before = phase.run().filter(|run| run.revision != wanted.revision);
    let mut begun = begin(context, wanted, now);
    if let Some(run) = before {
        begun.notes.insert(0, Note::Superseded { revision: run.revision.clone() });
    }
    Ok(begun)
}

pub(super) fn retry(
    context: Context<'_>,
    phase: &Phase,
    release: ReleaseId,
    by: (Actor, String),
    now: Millis,
) -> Result<Step, Refusal> {
    match phase.ended() {
        Some(ended) if context.promoted == Some(&ended.revision) => {
            refuse("retry", phase, "it is promoted; `serin release` another revision")
        }
        Some(ended) => {
            let (actor, reason) = by;
            let revision = ended.revision.clone();
            let wanted = Wanted { release, revision, actor, reason, accept_unsupported: false };
            Ok(begin(context, wanted, now))
        }
        None if phase.run().is_some() => refuse("retry", phase, "the release goes on; `serin abort` it first"),
        None => refuse("retry", phase, "there was no release yet; `serin release` begins one"),
    }
}

fn begin(context: Context<'_>, wanted: Wanted, now: Millis) -> Step {
    let Wanted { release, revision, actor, reason, accept_unsupported } = wanted;
    let run = Run {
        release,
        revision: revision.clone(),
        actor: actor.clone(),
        started_at: now,
        phase_at: now,
        step: 0,
        weight: None,
        failed_checks: 0,
        blind_checks: 0,
        step_at: now,
        is_proven: false,
        check_at: first_look(context.plan, now),
        round: 0,
        inquiry: None,
        agreed: Vec::new(),
        round_at: now.plus(context.plan.interval),
        gate_at: now,
        accepted_by: None,
        hold: None,
        tripped: Vec::new(),
    };
    let mut step = noted(Phase::Progressing(run.clone()), Note::Started { revision, actor: actor.clone(), reason });
    step.effects.push(Effect::BeginEvidence);
    // Whoever asks sees to it that nothing holds it; what a worker's fuse says is about the release before.
    let context = Context { hold: None, ..context };
    let next = if context.plan.unsupported.is_empty() {
        enter(context, &step.phase, &run, now)
    } else if accept_unsupported {
        accept(context, &run, actor, now)
    } else {
        held(&Phase::Progressing(run.clone()), run, Some(Hold::Unsupported))
    };
    then(step, next)
}

fn accept(context: Context<'_>, run: &Run, actor: Actor, now: Millis) -> Step {
    let run = Run { accepted_by: Some(actor.clone()), hold: None, ..run.clone() };
    let items = context.plan.unsupported.len();
    let accepted = noted(Phase::Progressing(run.clone()), Note::Accepted { actor, items });
    let entered = enter(context, &accepted.phase, &run, now);
    then(accepted, entered)
}

/// As far as nothing stands in its way: approved, prepared, first step.
pub(super) fn enter(context: Context<'_>, phase: &Phase, run: &Run, now: Millis) -> Step {
    if let Some(hold) = context.hold {
        return held(phase, run.clone(), Some(hold.clone()));
    }
    if let Some(step) = rolled_back(context, run, now) {
        return step;
    }
    if let Some(step) = ask(context, &Phase::Waiting(run.clone()), Purpose::Rollout, now) {
        return step;
    }
    if context.plan.course.skip_analysis {
        let skipped = noted(Phase::Progressing(run.clone()), Note::AnalysisSkipped);
        return then(skipped, advance::promote(context.plan, run, None, None, now));
    }
    let phase = Phase::Progressing(run.clone());
    if let Some(step) = ask(context, &phase, Purpose::PreRollout, now) {
        return step;
    }
    if context.plan.stage(1).weight > WeightPpm::ZERO
        && let Some(step) = ask(context, &phase, Purpose::Increase, now)
    {
        return step;
    }
    advance::advance(context.plan, run, None, now)
}
