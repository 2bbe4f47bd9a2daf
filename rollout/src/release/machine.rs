//! look -> step: the whole life of a release as two total functions. [`request`] is what people and pipelines ask, and
//! may be refused; [`apply`] is what has happened, and cannot be. Every phase answers both.

use crate::base::time::Millis;
use crate::judgement::guards::{GuardAction, GuardsVerdict};
use crate::release::phase::{Awaiting, Cause, Hold, Note, OnStep, Phase, Promoting, StepState, Underway};
use crate::release::plan::{Advance, Deadlines, Plan, Promotion};
use crate::routing::table::WeightPpm;

// In reading order: each uses only this file and those above it.

/// What goes in and what comes out.
mod step;

/// Questions to the outside, and their answers.
mod inquiry;

/// What moves traffic.
mod advance;

/// Up to the first traffic.
mod start;

/// A tick in a release that advances by checks.
mod on_check;

/// A look in a release that advances on certificate.
mod on_certificate;

/// What follows when the primary fails.
mod on_primary;

/// What people may do by hand.
mod requests;

pub use inquiry::{resumed_inquiry, silence};
pub use step::{Context, Effect, Fact, Refusal, ReleaseRequest, Start, Transition};
use step::{abort, quiet, with_note};

/// How long Finalising waits for workers that do not confirm; their lease ends the canary's share anyway.
pub const FINALISE_WITHIN: Millis = Millis(10_000);

/// One request in one phase. Pure and total.
///
/// # Errors
/// When it makes no sense in this phase, which is unchanged then.
pub fn request(
    context: Context<'_>,
    phase: &Phase,
    request: ReleaseRequest,
    now: Millis,
) -> Result<Transition, Refusal> {
    let plan = context.plan;
    let step = match request {
        ReleaseRequest::Start(start) => start::start(context, phase, start, now),
        ReleaseRequest::Retry(release, actor, reason) => start::retry(context, phase, release, (actor, reason), now),
        ReleaseRequest::Abort(actor, reason) => requests::abort(plan, phase, actor, reason, now),
        ReleaseRequest::Promote(actor, reason) => requests::promote(plan, phase, actor, reason, now),
        ReleaseRequest::Confirm(actor, reason) => requests::confirm(context, phase, actor, reason, now),
        ReleaseRequest::ForceConfirm(actor, reason) => requests::force_confirm(context, phase, actor, reason, now),
        ReleaseRequest::Pause(actor, reason) => requests::pause(phase, actor, reason),
        ReleaseRequest::Resume(actor, reason) => requests::resume(context, phase, actor, reason, now),
        ReleaseRequest::SetWeight(weight, actor, reason) => {
            requests::set_weight(plan, phase, weight, (actor, reason), now)
        }
        ReleaseRequest::Skip(actor, reason) => requests::skip(context, phase, actor, reason, now),
    }?;
    Ok(timed(phase, step, now))
}

/// One fact in one phase. Pure and total.
pub fn apply(context: Context<'_>, phase: &Phase, fact: Fact, now: Millis) -> Transition {
    let step = match (fact, phase) {
        (Fact::Checked(verdict), _) => on_check::checked(context, phase, verdict, now),
        (Fact::GateOpened(verdict), _) => on_check::gate_opened(context, phase, verdict, now),
        (Fact::Certified(verdict), _) => on_certificate::certified(context, phase, verdict, now),
        (Fact::GuardTripped(verdict), _) => guard_tripped(phase, verdict, now),
        (Fact::PrimaryFails(verdict), _) => on_primary::fails(context, phase, verdict),
        (Fact::PrimaryRecovered(verdict), _) => on_primary::recovered(phase, verdict, now),
        (Fact::Replied { round, callee, reply }, Phase::Promoting(promoting)) => {
            advance::hook_replied(context, promoting, round, callee, &reply, now)
        }
        (Fact::Replied { round, callee, reply }, _) => {
            let answered = inquiry::replied(context, phase, round, callee, reply, now);
            start::go_on(context, answered, now)
        }
        (Fact::Aborted(cause), _) => aborted(context.plan, phase, cause, now),
        (Fact::AbortClaimed { node, epoch }, _) => abort_claimed(phase, Note::AbortClaimed { node, epoch }),
        (Fact::RoutesCorrected, _) => begun_anew(context.plan, phase, now),
        (Fact::RoutingConfirmed { missing }, _) => advance::complete_finalising(context, phase, missing, now),
    };
    timed(phase, step, now)
}

/// What Progressing may take is counted from the first traffic, what other phases may from their beginning.
fn timed(before: &Phase, mut step: Transition, now: Millis) -> Transition {
    let is_first_traffic = step.phase.steps() > 0 && before.steps() == 0;
    if (step.phase.name() != before.name() || is_first_traffic)
        && let Some(run) = step.phase.run_mut()
    {
        run.phase_at = now;
    }
    step
}

/// Whether there is a release that can be aborted: in Finalising all traffic is on the new version already, and a swap is
/// taken back, a copy cannot be.
pub fn can_abort(plan: &Plan, phase: &Phase) -> bool {
    match phase {
        Phase::Finalising(_) => plan.promotion == Promotion::Swap,
        _ => phase.run().is_some() && !is_returning(phase),
    }
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
    let after = match phase {
        Phase::Waiting(_) => waiting,
        // What is to be approved before the first traffic is waited for, too.
        Phase::Progressing(Underway::Preparing(_)) if matches!(phase.hold(), Some(Hold::Approval { .. })) => waiting,
        Phase::Progressing(Underway::OnStep(_)) => progressing,
        Phase::WaitingPromotion(_) => waiting_promotion,
        // Once the primary runs the new version, there is no way back that time could ask for.
        Phase::Promoting(paused) if !is_returning(phase) && !paused.is_paused => promoting,
        _ => None,
    }?;
    Some((phase.run()?.phase_at.plus(after), after))
}

/// Guards look at every report, so what they do short of an abort is done once.
fn guard_tripped(phase: &Phase, verdict: GuardsVerdict, now: Millis) -> Transition {
    let mut next = phase.clone();
    let is_judged = phase.step().is_some() && !is_returning(phase);
    let (Some(found), Some(run)) = (verdict.tripped.filter(|_| is_judged), next.run_mut()) else {
        return quiet(next);
    };
    if run.tripped.contains(&found) {
        return quiet(next);
    }
    run.tripped.push(found);
    if found.0 == GuardAction::Abort {
        return abort(run, Cause::Guards(verdict), now);
    }
    match (found.0, next) {
        (GuardAction::Pause, Phase::Progressing(underway)) => {
            with_note(Phase::Paused(underway), Note::Tripped(verdict))
        }
        (GuardAction::Pause, Phase::WaitingPromotion(on_step)) => {
            with_note(Phase::Paused(Underway::OnStep(on_step)), Note::Tripped(verdict))
        }
        (_, next) => with_note(next, Note::Tripped(verdict)),
    }
}

/// The abort may have been of this release: it holds without canary traffic. It may have been of one that ended in another
/// life of the agent, so that is not an abort. Where a person has promoted it, only the traffic follows; where it is the
/// primary's already, nothing does.
fn abort_claimed(phase: &Phase, note: Note) -> Transition {
    let mut next = phase.clone();
    if is_returning(phase) {
        return quiet(next);
    }
    if let Some(step) = next.step_mut() {
        (step.weight, step.is_proven, step.is_claimed) = (Some(WeightPpm::ZERO), false, true);
    }
    if let Some(pending) = next.pending_mut() {
        // What this build cannot honour must be accepted all the same.
        pending.hold.take_if(|hold| *hold != Hold::Unsupported);
    }
    let next = match next {
        Phase::Waiting(preparing) => Phase::Paused(Underway::Preparing(preparing)),
        Phase::Progressing(underway) => Phase::Paused(underway),
        Phase::WaitingPromotion(on_step) => Phase::Paused(Underway::OnStep(on_step)),
        // Without canary traffic a hook's answer would promote at once: from here on only a person ends the wait.
        Phase::Promoting(promoting) => {
            let awaiting = Awaiting::Confirmation { after: None };
            Phase::Promoting(Promoting { awaiting, is_paused: true, ..promoting })
        }
        Phase::Finalising(_) => return quiet(next),
        other => other,
    };
    with_note(next, note)
}

/// What hooks and metrics agreed to, or are asked now, is of answers that went astray.
fn begun_anew(plan: &Plan, phase: &Phase, now: Millis) -> Transition {
    let mut next = phase.clone();
    let Some(on_step) = next.on_step_mut() else { return quiet(next) };
    begin_step(plan, on_step, now);
    on_step.step.is_proven = false;
    on_step.pending.agreed.clear();
    on_step.pending.inquiry = None;
    Transition { phase: next, notes: vec![Note::BegunAnew], effects: vec![Effect::BeginStepAnew] }
}

fn aborted(plan: &Plan, phase: &Phase, cause: Cause, now: Millis) -> Transition {
    let Some(run) = phase.run().filter(|_| can_abort(plan, phase)) else { return quiet(phase.clone()) };
    let mut step = abort(run, cause, now);
    if matches!(phase, Phase::Finalising(_)) {
        step.effects.push(Effect::SwapRoles);
    }
    step
}

/// Whether the primary runs the new version and only gets its traffic back: nothing is judged then.
const fn is_returning(phase: &Phase) -> bool {
    matches!(phase.awaiting(), Some(Awaiting::Traffic))
}

/// The canary's share on a step; none before the first.
pub(crate) fn weight(plan: &Plan, step: Option<&StepState>) -> WeightPpm {
    step.map_or(WeightPpm::ZERO, |step| step.weight.unwrap_or_else(|| plan.stage(step.number.get()).weight))
}

/// The clocks of a step that begins now.
fn begin_step(plan: &Plan, on_step: &mut OnStep, now: Millis) {
    on_step.step.at = now;
    on_step.pending.check_at = first_look(plan, now);
    (on_step.round_at, on_step.gate_at) = (now.plus(plan.interval), now);
}

/// When to look first at a step that begins now.
fn first_look(plan: &Plan, now: Millis) -> Millis {
    match &plan.advance {
        Advance::Interval => now.plus(plan.interval),
        Advance::Certificate(certificate) => certificate.next_look(now, certificate.min_dwell, now),
    }
}
