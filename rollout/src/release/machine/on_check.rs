//! A tick: threshold checks, the hooks and metrics that go with them, and what a passed check allows.

use super::advance;
use super::inquiry::{Asked, ask};
use super::start::{enter, go_on_in_silence};
use super::step::{Context, Transition, abort, held, quiet, with_note};
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Awaiting, Cause, Hold, Note, Phase, Proof, Underway};
use crate::release::plan::Plan;
use crate::release::threshold_checks::{CheckResult, ChecksVerdict};

pub(super) fn checked(context: Context<'_>, phase: &Phase, verdict: ChecksVerdict, now: Millis) -> Transition {
    let (plan, mut phase) = (context.plan, phase.clone());
    let next = now.plus(plan.interval);
    let Some(check_at) = phase.check_at_mut() else { return quiet(phase) };
    *check_at = next;
    if let Phase::Promoting(promoting) = &phase
        && promoting.awaiting == Awaiting::Traffic
    {
        return advance::returned(context, promoting, now);
    }
    if phase.step().is_some() && verdict.answer == CheckResult::Fail {
        return failed(plan, phase, verdict, now);
    }
    if let Some(until) = phase.inquiry().map(|inquiry| inquiry.until) {
        if now >= until {
            return go_on_in_silence(context, phase, now);
        }
        phase.check_at_mut().into_iter().for_each(|check_at| *check_at = next.min(until));
        return quiet(phase);
    }
    let Some(on_step) = phase.on_step_mut() else { return unbegun(context, phase, now) };
    if now >= on_step.round_at {
        // What hooks and metrics agreed to at the check before is over.
        on_step.pending.agreed.clear();
        on_step.round_at = next;
    }
    match ask(context, &phase, Purpose::Check, now) {
        Asked::Waiting(step) => step,
        Asked::Agreed => passed(context, phase, verdict, now),
    }
}

/// A gate that it waits for was opened: it goes on if the last check agreed and its requests are still good. This is no
/// check itself: what speaks against the canary now is left to the next one, which comes when it would have.
pub(super) fn gate_opened(context: Context<'_>, phase: &Phase, verdict: ChecksVerdict, now: Millis) -> Transition {
    let Some(before) = phase.pending().filter(|pending| pending.inquiry.is_none()) else {
        return quiet(phase.clone());
    };
    let Some(on_step) = phase.on_step() else {
        return wait_as_before(phase, unbegun(context, phase.clone(), now));
    };
    let is_unseen = verdict.answer == CheckResult::Undecided && !context.plan.is_live(on_step.step.number.get());
    let is_good = (verdict.answer == CheckResult::Pass || is_unseen) && context.hold.is_none();
    let is_agreed = before.agreed.contains(&Purpose::Check) || !Purpose::Check.calls(context.plan);
    if !(is_moving(phase) && is_good && is_agreed) {
        return quiet(phase.clone());
    }
    wait_as_before(phase, advance::leave(context, phase, Proof::Checks(verdict), now))
}

/// Another approval is awaited now: the next check comes when it would have.
fn wait_as_before(before: &Phase, mut step: Transition) -> Transition {
    if !matches!(step.phase.hold(), Some(Hold::Approval { .. })) {
        return step;
    }
    if let (Some(check_at), Some(before)) = (step.phase.check_at_mut(), before.check_at()) {
        *check_at = before;
    }
    if let (Some(on_step), Some(before)) = (step.phase.on_step_mut(), before.on_step()) {
        (on_step.round_at, on_step.gate_at) = (before.round_at, before.gate_at);
    }
    step
}

/// Before the first traffic nothing is judged; what it waits for is asked for again. Promoted without analysis it waits for
/// the primary, and is promoted once.
fn unbegun(context: Context<'_>, phase: Phase, now: Millis) -> Transition {
    match &phase {
        Phase::Waiting(preparing) | Phase::Progressing(Underway::Preparing(preparing))
            if preparing.pending.hold != Some(Hold::Unsupported) =>
        {
            enter(context, &phase, preparing, now)
        }
        _ => quiet(phase),
    }
}

fn failed(plan: &Plan, mut phase: Phase, verdict: ChecksVerdict, now: Millis) -> Transition {
    if let Some(pending) = phase.pending_mut() {
        // An open question is moot. If no traffic kept it from advancing: there is some, and it is bad.
        pending.inquiry = None;
        pending.agreed.clear();
        pending.hold.take_if(|hold| matches!(hold, Hold::NoTraffic | Hold::NoLatency));
    }
    let Some(run) = phase.run_mut() else { return quiet(phase) };
    run.failed_checks += 1;
    let failed = run.failed_checks;
    if failed >= plan.threshold {
        return abort(run, Cause::Checks { failed, verdict }, now);
    }
    with_note(phase, Note::CheckFailed { failed, threshold: plan.threshold, verdict })
}

fn passed(context: Context<'_>, phase: Phase, verdict: ChecksVerdict, now: Millis) -> Transition {
    let Some(step) = phase.step() else { return quiet(phase) };
    let is_moving = is_moving(&phase);
    let is_live = context.plan.is_live(step.number.get());
    let is_too_soon = now < step.at.plus(context.plan.stage(step.number.get()).dwell);
    let is_undecided = verdict.answer == CheckResult::Undecided && is_live;
    if is_moving && context.hold.is_none() && !is_too_soon && !is_undecided {
        return advance::leave(context, &phase, Proof::Checks(verdict), now);
    }
    let mut afresh = phase;
    afresh.pending_mut().into_iter().for_each(|pending| pending.agreed.clear());
    if !is_moving {
        return quiet(afresh);
    }
    if context.hold.is_some() || is_too_soon {
        return held(afresh, context.hold.cloned());
    }
    // An approval is awaited as before: a quiet moment is no news then.
    let approval = afresh.hold().filter(|hold| matches!(hold, Hold::Approval { .. })).cloned();
    let why = if verdict.lacks_latencies() { Hold::NoLatency } else { Hold::NoTraffic };
    held(afresh, approval.or(Some(why)))
}

const fn is_moving(phase: &Phase) -> bool {
    matches!(phase, Phase::Progressing(_) | Phase::WaitingPromotion(_))
}
