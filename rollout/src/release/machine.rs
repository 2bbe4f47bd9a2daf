//! judge -> step: the whole life of a release as one total function. Every phase answers every input.

use thiserror::Error;

use crate::base::names::{Actor, ReleaseId, Revision};
use crate::base::time::Millis;
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::guards::{GuardAction, GuardsVerdict};
use crate::release::approvals::Approvals;
use crate::release::inquiry::{Callee, Reply};
use crate::release::phase::{Awaiting, Cause, Ended, Hold, Note, Phase, Run};
use crate::release::plan::{Advance, Deadlines, Plan};
use crate::release::threshold_checks::ChecksVerdict;
use crate::routing::table::WeightPpm;

mod advance;
mod inquiry;
mod on_certificate;
mod on_check;
mod start;
mod verbs;

pub use inquiry::resumed_inquiry;

/// How long Finalising waits for workers that do not confirm; their lease ends the canary's share anyway.
pub const FINALISE_WITHIN: Millis = Millis(10_000);

/// What may happen to a canary.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A person or pipeline begins a release.
    Start {
        /// Its number, if it is a new one.
        release: ReleaseId,
        /// What it brings.
        revision: Revision,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// Whether what this build cannot honour is accepted.
        accept_unsupported: bool,
    },
    /// The release that ended last, once more under this number.
    Retry(ReleaseId, Actor, String),
    /// A check is due and says this.
    Checked(ChecksVerdict),
    /// A stored gate that it waits for was opened between two checks; one would say this now.
    Opened(ChecksVerdict),
    /// This step's requests prove this, in a release that advances on certificate.
    Looked(CertificateVerdict),
    /// A guard has tripped.
    Tripped(GuardsVerdict),
    /// Somebody who was asked in this round answered.
    Reply(u64, Callee, Reply),
    /// Abort.
    Abort(Cause),
    /// Skip the rest of the analysis.
    Promote(Actor, String),
    /// The primary runs the new version: says a person.
    Confirm(Actor, String),
    /// Stop advancing.
    Pause(Actor, String),
    /// Go on.
    Resume(Actor, String),
    /// Give the canary this share, and stay there.
    SetWeight(WeightPpm, Actor, String),
    /// Go on to the next step without its proof or approval.
    Skip(Actor, String),
    /// All live workers have adopted the epoch in force, or the deadline is over and this many have not.
    Settled(usize),
}

/// What one step stands on besides the phase.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The plan in force.
    pub plan: &'a Plan,
    /// Which stored gates are open.
    pub approvals: &'a Approvals,
    /// What the primary runs, as far as it is known.
    pub promoted: Option<&'a Revision>,
    /// A reason to stand still that neither checks nor hooks know.
    pub hold: Option<&'a Hold>,
}

/// What the controller must do besides keeping the new phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new release begins: count afresh.
    BeginEvidence,
    /// Ask these, in the run's round.
    Ask(Vec<Callee>),
    /// Exchange primary and canary.
    SwapRoles,
    /// The primary runs this revision now.
    Promoted(Revision),
}

/// The outcome of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where the canary stands now.
    pub phase: Phase,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// What else must be done, in order.
    pub effects: Vec<Effect>,
}

/// A verb that makes no sense in this phase.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot {verb} while {phase}: {hint}")]
pub struct Refusal {
    /// The verb.
    pub verb: &'static str,
    /// The phase's name.
    pub phase: &'static str,
    /// What to do instead.
    pub hint: &'static str,
}

/// One input in one phase. Pure and total.
///
/// # Errors
/// When a person's verb makes no sense now; the phase is unchanged then.
pub fn step(context: Context<'_>, phase: &Phase, input: Input, now: Millis) -> Result<Step, Refusal> {
    let mut step = match input {
        Input::Start { release, revision, actor, reason, accept_unsupported } => {
            let wanted = start::Wanted { release, revision, actor, reason, accept_unsupported };
            start::start(context, phase, wanted, now)?
        }
        Input::Retry(release, actor, reason) => start::retry(context, phase, release, (actor, reason), now)?,
        Input::Checked(verdict) => on_check::checked(context, phase, verdict, now),
        Input::Opened(verdict) => on_check::opened(context, phase, verdict, now),
        Input::Looked(verdict) => on_certificate::looked(context, phase, verdict, now),
        Input::Tripped(verdict) => tripped(phase, verdict, now),
        Input::Reply(round, callee, reply) => inquiry::replied(context, phase, round, callee, reply, now),
        Input::Abort(cause) => verbs::aborted(context.plan, phase, cause, now)?,
        Input::Promote(actor, reason) => verbs::promote(context.plan, phase, actor, reason, now)?,
        Input::Confirm(actor, reason) => verbs::confirm(context.plan, phase, actor, reason, now)?,
        Input::Pause(actor, reason) => verbs::pause(phase, actor, reason)?,
        Input::Resume(actor, reason) => verbs::resume(context, phase, actor, reason, now)?,
        Input::SetWeight(weight, actor, reason) => verbs::set_weight(context.plan, phase, weight, actor, reason)?,
        Input::Skip(actor, reason) => verbs::skip(context, phase, actor, reason, now)?,
        Input::Settled(unheard) => advance::settled(phase, unheard, now),
    };
    let is_begun = |phase: &Phase| phase.run().is_some_and(|run| run.step > 0);
    // What Progressing may take is counted from the first traffic.
    if (step.phase.name() != phase.name() || is_begun(&step.phase) && !is_begun(phase))
        && let Some(run) = step.phase.run()
    {
        step.phase = step.phase.with_run(Run { phase_at: now, ..run.clone() });
    }
    Ok(step)
}

/// Whether a release may begin under the manifest's latest plan.
///
/// # Errors
/// When that says `suspend: true`.
pub const fn may_begin(latest: &Plan, verb: &'static str, phase: &Phase) -> Result<(), Refusal> {
    let hint = "the manifest says suspend: true; take that out first";
    if latest.is_suspended() { Err(Refusal { verb, phase: phase.name(), hint }) } else { Ok(()) }
}

/// When the phase has lasted as long as the plan allows, and how long that is.
pub fn due(plan: &Plan, phase: &Phase) -> Option<(Millis, Millis)> {
    let Deadlines { waiting, progressing, waiting_promotion, promoting } = plan.course.deadlines;
    let (run, after) = match phase {
        Phase::Waiting(run) => (run, waiting?),
        // What is to be approved before the first traffic is waited for, too.
        Phase::Progressing(run) if matches!(run.hold, Some(Hold::Approval { .. })) && run.step == 0 => (run, waiting?),
        Phase::Progressing(run) if run.step > 0 => (run, progressing?),
        Phase::WaitingPromotion(run) => (run, waiting_promotion?),
        // Once the primary runs the new version, there is no way back that time could ask for.
        Phase::Promoting(run, Awaiting::Hook | Awaiting::Confirmation { .. }) => (run, promoting?),
        _ => return None,
    };
    Some((run.phase_at.plus(after), after))
}

/// Guards look at every report, so what they do short of cutting is done once.
fn tripped(phase: &Phase, verdict: GuardsVerdict, now: Millis) -> Step {
    let Some(run) = phase.judged().filter(|_| !is_returning(phase)) else { return unchanged(phase) };
    let Some(found) = verdict.tripped.filter(|found| run.step > 0 && !run.tripped.contains(found)) else {
        return unchanged(phase);
    };
    let mut run = run.clone();
    run.tripped.push(found);
    match (found.0, phase) {
        (GuardAction::Abort, _) => abort(&run, Cause::Guards(verdict), now),
        (GuardAction::Pause, Phase::Progressing(_) | Phase::WaitingPromotion(_)) => {
            noted(Phase::Paused(run), Note::Tripped(verdict))
        }
        _ => noted(phase.with_run(run), Note::Tripped(verdict)),
    }
}

/// Whether the primary runs the new version and only gets its traffic back: nothing is judged then.
const fn is_returning(phase: &Phase) -> bool {
    matches!(phase, Phase::Promoting(_, Awaiting::Traffic))
}

/// The canary's share in a run.
pub(crate) fn weight(plan: &Plan, run: &Run) -> WeightPpm {
    run.weight.unwrap_or_else(|| plan.stage(run.step).weight)
}

/// When to look first at a step that begins now.
fn first_look(plan: &Plan, now: Millis) -> Millis {
    match &plan.advance {
        Advance::Interval => now.plus(plan.interval),
        Advance::Certificate(certificate) => certificate.next_look(now, certificate.min_dwell, now),
    }
}

/// Stands where it stands; why is said once.
fn held(phase: &Phase, run: Run, hold: Option<Hold>) -> Step {
    let is_news = match (&hold, &run.hold) {
        (Some(hold), Some(before)) => !hold.repeats(before),
        _ => true,
    };
    let phase = phase.with_run(Run { hold: hold.clone(), ..run });
    match hold {
        Some(hold) if is_news => noted(phase, Note::Held(hold)),
        _ => unchanged(&phase),
    }
}

fn abort(run: &Run, cause: Cause, now: Millis) -> Step {
    noted(Phase::Failed(ended(run, now), cause.clone()), Note::Aborted(cause))
}

fn ended(run: &Run, now: Millis) -> Ended {
    Ended { release: run.release, revision: run.revision.clone(), at: now }
}

fn noted(phase: Phase, note: Note) -> Step {
    Step { phase, notes: vec![note], effects: Vec::new() }
}

fn unchanged(phase: &Phase) -> Step {
    Step { phase: phase.clone(), notes: Vec::new(), effects: Vec::new() }
}

fn then(first: Step, second: Step) -> Step {
    let Step { mut notes, mut effects, .. } = first;
    notes.extend(second.notes);
    effects.extend(second.effects);
    Step { phase: second.phase, notes, effects }
}

const fn refuse(verb: &'static str, phase: &Phase, hint: &'static str) -> Result<Step, Refusal> {
    Err(Refusal { verb, phase: phase.name(), hint })
}
