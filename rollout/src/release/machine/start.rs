//! From a request to release to the first traffic: accepted, approved, prepared.

use super::inquiry::{ask, rolled_back};
use super::{Effect, Given, Refusal, Step, abort, advance, first_look, held, noted, refuse, then, unchanged};
use crate::base::names::{Actor, ReleaseId, Revision};
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, Phase, Run};
use crate::routing::table::WeightPpm;

pub(super) struct Asked {
    pub(super) release: ReleaseId,
    pub(super) revision: Revision,
    pub(super) actor: Actor,
    pub(super) reason: String,
    pub(super) accept_unsupported: bool,
}

pub(super) fn start(given: Given<'_>, phase: &Phase, asked: Asked, now: Millis) -> Result<Step, Refusal> {
    let is_mended = phase.is_unsupported() && given.plan.unsupported.is_empty();
    if phase.gives_way_to(&asked.revision) || is_mended {
        return started(given, phase, asked, now);
    }
    // Asking twice is harmless, and the second time may bring the acceptance.
    let accepts = |run: &Run| asked.accept_unsupported && run.hold == Some(Hold::Unsupported);
    match phase {
        Phase::Progressing(run) if accepts(run) => Ok(accept(given, run, asked.actor, now)),
        Phase::Paused(run) if accepts(run) => {
            refuse("accept what is unsupported", phase, "it would take traffic; `serin resume` it first")
        }
        Phase::Promoting(run, _) if run.revision != asked.revision => {
            refuse("release", phase, "wait for it to end, or abort it first")
        }
        Phase::Finalising(run, _) if run.revision != asked.revision => refuse("release", phase, "wait for it to end"),
        _ => Ok(unchanged(phase)),
    }
}

fn started(given: Given<'_>, phase: &Phase, asked: Asked, now: Millis) -> Result<Step, Refusal> {
    // What the primary runs already is no change; in the middle of a release it means: take the other one back.
    if given.promoted == Some(&asked.revision) {
        let reverted = Cause::Reverted { actor: asked.actor };
        return Ok(phase.run().map_or_else(|| unchanged(phase), |run| abort(run, reverted, now)));
    }
    let before = phase.run().filter(|run| run.revision != asked.revision);
    let mut begun = begin(given, asked, now);
    if let Some(run) = before {
        begun.notes.insert(0, Note::Superseded { revision: run.revision.clone() });
    }
    Ok(begun)
}

pub(super) fn retry(
    given: Given<'_>,
    phase: &Phase,
    release: ReleaseId,
    by: (Actor, String),
    now: Millis,
) -> Result<Step, Refusal> {
    match phase.ended() {
        Some(ended) if given.promoted == Some(&ended.revision) => {
            refuse("retry", phase, "it is promoted; `serin release` another revision")
        }
        Some(ended) => {
            let (actor, reason) = by;
            let revision = ended.revision.clone();
            let asked = Asked { release, revision, actor, reason, accept_unsupported: false };
            Ok(begin(given, asked, now))
        }
        None if phase.run().is_some() => refuse("retry", phase, "the release goes on; `serin abort` it first"),
        None => refuse("retry", phase, "there was no release yet; `serin release` begins one"),
    }
}

fn begin(given: Given<'_>, asked: Asked, now: Millis) -> Step {
    let Asked { release, revision, actor, reason, accept_unsupported } = asked;
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
        check_at: first_look(given.plan, now),
        round: 0,
        asking: None,
        agreed: Vec::new(),
        round_at: now.plus(given.plan.interval),
        gate_at: now,
        accepted_by: None,
        hold: None,
        tripped: Vec::new(),
    };
    let mut step = noted(Phase::Progressing(run.clone()), Note::Started { revision, actor: actor.clone(), reason });
    step.effects.push(Effect::BeginEvidence);
    // Whoever asks sees to it that nothing holds it; what a worker's fuse says is about the release before.
    let given = Given { hold: None, ..given };
    let next = if given.plan.unsupported.is_empty() {
        enter(given, &step.phase, &run, now)
    } else if accept_unsupported {
        accept(given, &run, actor, now)
    } else {
        held(&Phase::Progressing(run.clone()), run, Some(Hold::Unsupported))
    };
    then(step, next)
}

fn accept(given: Given<'_>, run: &Run, actor: Actor, now: Millis) -> Step {
    let run = Run { accepted_by: Some(actor.clone()), hold: None, ..run.clone() };
    let items = given.plan.unsupported.len();
    let accepted = noted(Phase::Progressing(run.clone()), Note::Accepted { actor, items });
    let entered = enter(given, &accepted.phase, &run, now);
    then(accepted, entered)
}

/// As far as nothing stands in its way: approved, prepared, first step.
pub(super) fn enter(given: Given<'_>, phase: &Phase, run: &Run, now: Millis) -> Step {
    if let Some(hold) = given.hold {
        return held(phase, run.clone(), Some(hold.clone()));
    }
    if let Some(step) = rolled_back(given, run, now) {
        return step;
    }
    if let Some(step) = ask(given, &Phase::Waiting(run.clone()), Purpose::Rollout, now) {
        return step;
    }
    if given.plan.course.skip_analysis {
        let skipped = noted(Phase::Progressing(run.clone()), Note::AnalysisSkipped);
        return then(skipped, advance::promote(given.plan, run, None, None, now));
    }
    let phase = Phase::Progressing(run.clone());
    if let Some(step) = ask(given, &phase, Purpose::PreRollout, now) {
        return step;
    }
    if given.plan.stage(1).weight > WeightPpm::ZERO
        && let Some(step) = ask(given, &phase, Purpose::Increase, now)
    {
        return step;
    }
    advance::advance(given.plan, run, None, now)
}
