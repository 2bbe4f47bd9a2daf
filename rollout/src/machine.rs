//! judge -> step: the whole life of a release as one total function. Every phase answers every input.

use thiserror::Error;

use crate::certificate::CertificateVerdict;
use crate::gates::{Action, GatesVerdict};
use crate::judge::{Answer, Verdict};
use crate::names::Revision;
use crate::plan::{Advance, Plan, Promotion};
use crate::release::{Actor, Awaiting, Cause, Ended, Hold, Note, Phase, Proof, ReleaseId, Run};
use crate::time::Millis;

mod looked;

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
        /// Whether what this build cannot honour is accepted.
        accept_unsupported: bool,
    },
    /// A check is due and says this; `hold` is a reason to stand still that the checks do not know.
    Checked(Verdict, Option<Hold>),
    /// This step's requests prove this, in a release that advances on certificate; `hold` as above.
    Looked(CertificateVerdict, Option<Hold>),
    /// A gate has tripped.
    Tripped(GatesVerdict),
    /// Abort.
    Abort(Cause),
    /// Skip the rest of the analysis.
    Promote(Actor),
    /// The primary runs the new version: says a person.
    Confirm(Actor),
    /// The promotion hook answered.
    HookFinished(Result<(), String>),
    /// Stop advancing.
    Pause(Actor, String),
    /// Go on.
    Resume(Actor),
    /// All live workers have adopted the epoch in force, or the deadline is over and this many have not.
    Settled(usize),
}

/// What the controller must do besides keeping the new phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new release begins: count afresh.
    BeginEvidence,
    /// Call the plan's promotion hook.
    CallHook,
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
pub fn step(plan: &Plan, phase: &Phase, input: Input, now: Millis) -> Result<Step, Refusal> {
    match input {
        Input::Start { release, revision, actor, accept_unsupported } => {
            let asked = Asked { release, revision, actor, accept_unsupported };
            start(plan, phase, asked, now)
        }
        Input::Checked(verdict, hold) => Ok(checked(plan, phase, verdict, hold, now)),
        Input::Looked(verdict, hold) => Ok(looked::looked(plan, phase, verdict, hold, now)),
        Input::Tripped(verdict) => Ok(tripped(phase, verdict, now)),
        Input::Abort(cause) => aborted(plan, phase, cause, now),
        Input::Promote(actor) => match phase {
            Phase::Progressing(run) | Phase::Paused(run) if run.step > 0 => {
                Ok(promote(plan, run, Some(actor), None, now))
            }
            Phase::Progressing(_) | Phase::Paused(_) => {
                refuse("promote", phase, "the release holds and has not taken traffic; see `serin describe`")
            }
            Phase::Promoting(..) => {
                refuse("promote", phase, "it is; `serin confirm` once the primary runs the new version")
            }
            Phase::Finalising(..) => refuse("promote", phase, "it is promoted; traffic is on its way to the primary"),
            _ => refuse("promote", phase, "no release is in progress"),
        },
        Input::Confirm(actor) => match phase {
            Phase::Promoting(run, _) => Ok(confirm(run, Some(actor), now)),
            _ => refuse("confirm", phase, "only a release that waits in Promoting can be confirmed"),
        },
        Input::HookFinished(result) => Ok(hook_finished(phase, result, now)),
        Input::Pause(actor, reason) => match phase {
            Phase::Progressing(run) => Ok(noted(Phase::Paused(run.clone()), Note::Paused { actor, reason })),
            Phase::Paused(_) => Ok(unchanged(phase)),
            _ => refuse("pause", phase, "only a release in Progressing can be paused"),
        },
        Input::Resume(actor) => match phase {
            Phase::Paused(run) => {
                let run = Run { step_at: now, check_at: next_look(plan, now), ..run.clone() };
                Ok(noted(Phase::Progressing(run), Note::Resumed { actor }))
            }
            _ => refuse("resume", phase, "only a paused release can be resumed"),
        },
        Input::Settled(unheard) => Ok(settled(phase, unheard, now)),
    }
}

struct Asked {
    release: ReleaseId,
    revision: Revision,
    actor: Actor,
    accept_unsupported: bool,
}

fn start(plan: &Plan, phase: &Phase, asked: Asked, now: Millis) -> Result<Step, Refusal> {
    if phase.gives_way_to(&asked.revision) {
        let mut begun = begin(plan, asked, now);
        if let Some(run) = phase.run() {
            begun.notes.insert(0, Note::Superseded { revision: run.revision.clone() });
        }
        return Ok(begun);
    }
    // Asking twice is harmless, and the second time may bring the acceptance.
    let accepts = |run: &Run| asked.accept_unsupported && run.hold == Some(Hold::Unsupported);
    match phase {
        Phase::Progressing(run) if accepts(run) => Ok(accept(plan, run, asked.actor, now)),
        Phase::Paused(run) if accepts(run) => {
            refuse("accept what is unsupported", phase, "it would take traffic; `serin resume` it first")
        }
        Phase::Promoting(run, _) if run.revision != asked.revision => {
            refuse("release", phase, "wait for it to end, or abort it first")
        }
        Phase::Finalising(..) => refuse("release", phase, "wait for it to end"),
        _ => Ok(unchanged(phase)),
    }
}

fn begin(plan: &Plan, asked: Asked, now: Millis) -> Step {
    let Asked { release, revision, actor, accept_unsupported } = asked;
    let run = Run {
        release,
        revision: revision.clone(),
        actor: actor.clone(),
        started_at: now,
        step: 0,
        failed_checks: 0,
        step_at: now,
        check_at: next_look(plan, now),
        accepted_by: None,
        hold: None,
        tripped: None,
    };
    let mut step = noted(Phase::Progressing(run.clone()), Note::Started { revision, actor: actor.clone() });
    step.effects.push(Effect::BeginEvidence);
    let next = if plan.unsupported.is_empty() {
        advance(plan, &run, None, now)
    } else if accept_unsupported {
        accept(plan, &run, actor, now)
    } else {
        let hold = Hold::Unsupported;
        noted(Phase::Progressing(Run { hold: Some(hold.clone()), ..run }), Note::Held(hold))
    };
    then(step, next)
}

fn accept(plan: &Plan, run: &Run, actor: Actor, now: Millis) -> Step {
    let run = Run { accepted_by: Some(actor.clone()), hold: None, ..run.clone() };
    let accepted = noted(Phase::Progressing(run.clone()), Note::Accepted { actor, items: plan.unsupported.len() });
    then(accepted, advance(plan, &run, None, now))
}

fn checked(plan: &Plan, phase: &Phase, verdict: Verdict, hold: Option<Hold>, now: Millis) -> Step {
    let (Phase::Progressing(run) | Phase::Paused(run) | Phase::Promoting(run, _)) = phase else {
        return unchanged(phase);
    };
    let mut run = Run { check_at: now.plus(plan.interval), ..run.clone() };
    if run.step == 0 {
        return unchanged(&with_run(phase, run));
    }
    if verdict.answer == Answer::Fail {
        run.failed_checks += 1;
        // What kept it from advancing was no traffic; there is some, and it is bad.
        run.hold = hold;
        if run.failed_checks >= plan.threshold {
            let failed = run.failed_checks;
            return abort(&run, Cause::Checks { failed, verdict }, now);
        }
        let note = Note::CheckFailed { failed: run.failed_checks, threshold: plan.threshold, verdict };
        return noted(with_run(phase, run), note);
    }
    if !matches!(phase, Phase::Progressing(_)) {
        return unchanged(&with_run(phase, run));
    }
    let hold = hold.or((verdict.answer == Answer::Undecided).then_some(Hold::NoTraffic));
    match hold {
        Some(hold) if run.hold.as_ref() == Some(&hold) => unchanged(&Phase::Progressing(run)),
        Some(hold) => noted(Phase::Progressing(Run { hold: Some(hold.clone()), ..run }), Note::Held(hold)),
        None if run.step >= plan.last_step() => {
            promote(plan, &Run { hold: None, ..run }, None, Some(Proof::Checks(verdict)), now)
        }
        None => advance(plan, &Run { hold: None, ..run }, Some(Proof::Checks(verdict)), now),
    }
}

/// Gates look at every report, so what they do short of cutting is done once.
fn tripped(phase: &Phase, verdict: GatesVerdict, now: Millis) -> Step {
    let (Phase::Progressing(run) | Phase::Paused(run) | Phase::Promoting(run, _)) = phase else {
        return unchanged(phase);
    };
    let action = verdict.tripped.map(|(action, _)| action);
    if run.step == 0 || action <= run.tripped {
        return unchanged(phase);
    }
    let run = Run { tripped: action, ..run.clone() };
    match (action, phase) {
        (Some(Action::Abort), _) => abort(&run, Cause::Gates(verdict), now),
        (Some(Action::Pause), Phase::Progressing(_)) => noted(Phase::Paused(run), Note::Tripped(verdict)),
        _ => noted(with_run(phase, run), Note::Tripped(verdict)),
    }
}

fn advance(plan: &Plan, run: &Run, proof: Option<Proof>, now: Millis) -> Step {
    let (from, to) = (plan.weight_at(run.step), plan.weight_at(run.step + 1));
    let run = Run { step: run.step + 1, step_at: now, check_at: next_look(plan, now), ..run.clone() };
    noted(Phase::Progressing(run), Note::Stepped { from, to, proof })
}

/// When to look first at a step that begins now.
fn next_look(plan: &Plan, now: Millis) -> Millis {
    match &plan.advance {
        Advance::Interval => now.plus(plan.interval),
        Advance::Certificate(certificate) => certificate.next_look(now, certificate.min_dwell, now),
    }
}

fn promote(plan: &Plan, run: &Run, actor: Option<Actor>, proof: Option<Proof>, now: Millis) -> Step {
    let run = Run { hold: None, ..run.clone() };
    match &plan.promotion {
        Promotion::Copy { hook } => {
            let awaiting = if hook.is_some() { Awaiting::Hook } else { Awaiting::Confirmation { after: None } };
            let note = Note::Promoting { actor, proof, awaiting: Some(awaiting.clone()) };
            let mut step = noted(Phase::Promoting(run, awaiting), note);
            step.effects.extend(hook.as_ref().map(|_| Effect::CallHook));
            step
        }
        Promotion::Swap => {
            let phase = Phase::Finalising(run, now.plus(FINALISE_WITHIN));
            let mut step = noted(phase, Note::Promoting { actor, proof, awaiting: None });
            step.effects.push(Effect::SwapRoles);
            step
        }
    }
}

fn confirm(run: &Run, actor: Option<Actor>, now: Millis) -> Step {
    let phase = Phase::Finalising(run.clone(), now.plus(FINALISE_WITHIN));
    noted(phase, Note::Confirmed { actor })
}

fn hook_finished(phase: &Phase, result: Result<(), String>, now: Millis) -> Step {
    match (phase, result) {
        (Phase::Promoting(run, Awaiting::Hook), Ok(())) => confirm(run, None, now),
        (Phase::Promoting(run, Awaiting::Hook), Err(error)) => {
            let awaiting = Awaiting::Confirmation { after: Some(error.clone()) };
            noted(Phase::Promoting(run.clone(), awaiting), Note::HookFailed { error })
        }
        // The release was aborted or confirmed while the hook ran: its answer changes nothing.
        _ => unchanged(phase),
    }
}

fn settled(phase: &Phase, unheard: usize, now: Millis) -> Step {
    match phase {
        Phase::Finalising(run, _) => {
            let mut step = noted(Phase::Succeeded(ended(run, now)), Note::Succeeded { unheard });
            step.effects.push(Effect::Promoted(run.revision.clone()));
            step
        }
        _ => unchanged(phase),
    }
}

/// In Finalising all traffic is on the new version already: a swap is taken back, a copy cannot be.
fn aborted(plan: &Plan, phase: &Phase, cause: Cause, now: Millis) -> Result<Step, Refusal> {
    match (phase, &plan.promotion) {
        (Phase::Finalising(run, _), Promotion::Swap) => {
            let mut step = abort(run, cause, now);
            step.effects.push(Effect::SwapRoles);
            Ok(step)
        }
        (Phase::Finalising(..), Promotion::Copy { .. }) => {
            refuse("abort", phase, "the primary upstream runs the new version already; release the one before it")
        }
        _ => match phase.run() {
            Some(run) => Ok(abort(run, cause, now)),
            None => refuse("abort", phase, "no release is in progress"),
        },
    }
}

fn abort(run: &Run, cause: Cause, now: Millis) -> Step {
    noted(Phase::Failed(ended(run, now), cause.clone()), Note::Aborted(cause))
}

fn ended(run: &Run, now: Millis) -> Ended {
    Ended { release: run.release, revision: run.revision.clone(), at: now }
}

fn with_run(phase: &Phase, run: Run) -> Phase {
    match phase {
        Phase::Progressing(_) => Phase::Progressing(run),
        Phase::Paused(_) => Phase::Paused(run),
        Phase::Promoting(_, awaiting) => Phase::Promoting(run, awaiting.clone()),
        Phase::Finalising(_, deadline) => Phase::Finalising(run, *deadline),
        Phase::Initialized | Phase::Succeeded(_) | Phase::Failed(..) => phase.clone(),
    }
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
