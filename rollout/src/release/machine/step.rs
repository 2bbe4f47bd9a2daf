//! What goes into the state machine and what comes out: requests and facts, and the steps that they lead to.

use thiserror::Error;

use crate::base::names::{Actor, ReleaseId, Revision};
use crate::base::time::Millis;
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::guards::GuardsVerdict;
use crate::judgement::primary_watch::PrimaryVerdict;
use crate::release::approvals::Approvals;
use crate::release::inquiry::{Callee, Reply};
use crate::release::phase::{Cause, Ended, Hold, Note, Phase, Run};
use crate::release::plan::Plan;
use crate::release::threshold_checks::ChecksVerdict;
use crate::routing::table::{Epoch, WeightPpm};

/// What a person or pipeline asks: who and why come last.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseRequest {
    /// Begin a release.
    Start(Start),
    /// Begin the release that ended last once more, under this number.
    Retry(ReleaseId, Actor, String),
    /// Abort the release.
    Abort(Actor, String),
    /// Skip the rest of the analysis.
    Promote(Actor, String),
    /// The primary runs the new version.
    Confirm(Actor, String),
    /// The same, although the primary fails.
    ForceConfirm(Actor, String),
    /// Stop advancing.
    Pause(Actor, String),
    /// Go on.
    Resume(Actor, String),
    /// Give the canary this share, and stay there.
    SetWeight(WeightPpm, Actor, String),
    /// Go on to the next step without its proof or approval.
    Skip(Actor, String),
}

/// A release to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number, if it is a new one.
    pub release: ReleaseId,
    /// What it brings.
    pub revision: Revision,
    /// Who asks.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// Whether what this build cannot honour is accepted.
    pub accept_unsupported: bool,
}

/// What has happened to a release.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A check was due, with this result.
    Checked(ChecksVerdict),
    /// A stored gate that it waits for was opened between two checks; one would have this result now.
    GateOpened(ChecksVerdict),
    /// This step's requests prove this, in a release that advances on certificate.
    Certified(CertificateVerdict),
    /// A guard has tripped.
    GuardTripped(GuardsVerdict),
    /// The primary was found failing.
    PrimaryFails(PrimaryVerdict),
    /// It is well again.
    PrimaryRecovered(PrimaryVerdict),
    /// A hook or metric server answered.
    Replied {
        /// Which question.
        round: u64,
        /// Who.
        callee: Callee,
        /// What.
        reply: Reply,
    },
    /// Something that is no person's request ends it. Where the new version is the primary already, nothing follows: see
    /// [`can_abort`](super::can_abort).
    Aborted(Cause),
    /// A worker that the journal does not know holds the table of an abort that the journal does not know either.
    AbortClaimed {
        /// The worker's node.
        node: String,
        /// The table's epoch.
        epoch: Epoch,
    },
    /// The step's requests, some of which went where the primary's go, have gone elsewhere for long enough.
    RoutesCorrected,
    /// All live workers have adopted the epoch in force, or the deadline is over and this many have not.
    RoutingConfirmed {
        /// Workers that have not.
        missing: usize,
    },
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
    /// Whether the primary fails: nothing but a person sends users there.
    pub primary_fails: bool,
    /// Whether the canary's requests go where the primary's go, whatever else holds it.
    pub is_misrouted: bool,
}

impl Context<'_> {
    /// Whether the primary fails and nobody has accepted that.
    pub(super) const fn keeps_users(&self, run: &Run) -> bool {
        self.primary_fails && run.primary_accepted_by.is_none()
    }
}

/// What the controller must do besides keeping the new phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new release begins: count afresh.
    BeginEvidence,
    /// The step begins anew in its place: what started before counts no more.
    BeginStepAnew,
    /// Ask these, in the run's round.
    Ask(Vec<Callee>),
    /// Exchange primary and canary.
    SwapRoles,
    /// The primary runs this revision now.
    Promoted(Revision),
}

/// The outcome of one request or fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Where the canary stands now.
    pub phase: Phase,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// What else must be done, in order.
    pub effects: Vec<Effect>,
}

/// A request that makes no sense in this phase.
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

/// A look that is due and moves nothing is due again later.
pub(super) fn look_later(plan: &Plan, mut step: Transition, now: Millis) -> Transition {
    if let Some(check_at) = step.phase.check_at_mut().filter(|check_at| **check_at <= now) {
        *check_at = now.plus(plan.interval);
    }
    step
}

/// It stays in its phase; the reason is noted once.
pub(super) fn held(mut phase: Phase, hold: Option<Hold>) -> Transition {
    let Some(pending) = phase.pending_mut() else { return quiet(phase) };
    let before = std::mem::replace(&mut pending.hold, hold.clone());
    let is_news = match (&hold, &before) {
        (Some(hold), Some(before)) => !hold.repeats(before),
        _ => true,
    };
    match hold {
        Some(hold) if is_news => with_note(phase, Note::Held(hold)),
        _ => quiet(phase),
    }
}

pub(super) fn abort(run: &Run, cause: Cause, now: Millis) -> Transition {
    with_note(Phase::Failed(ended(run, now), cause.clone()), Note::Aborted(cause))
}

pub(super) fn ended(run: &Run, now: Millis) -> Ended {
    Ended { release: run.release, revision: run.revision.clone(), at: now }
}

pub(super) fn with_note(phase: Phase, note: Note) -> Transition {
    Transition { phase, notes: vec![note], effects: Vec::new() }
}

/// No note and no effect.
pub(super) const fn quiet(phase: Phase) -> Transition {
    Transition { phase, notes: Vec::new(), effects: Vec::new() }
}

pub(super) fn then(first: Transition, second: Transition) -> Transition {
    let Transition { mut notes, mut effects, .. } = first;
    notes.extend(second.notes);
    effects.extend(second.effects);
    Transition { phase: second.phase, notes, effects }
}

pub(super) const fn refuse(verb: &'static str, phase: &Phase, hint: &'static str) -> Result<Transition, Refusal> {
    Err(Refusal { verb, phase: phase.name(), hint })
}
