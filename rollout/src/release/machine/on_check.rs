//! A tick: threshold checks, the hooks and metrics that go with them, and what a passed check allows.

use super::inquiry::{ask, silent};
use super::start::enter;
use super::{Context, Step, abort, advance, held, is_returning, noted, unchanged};
use crate::base::time::Millis;
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, Phase, Proof, Run};
use crate::release::plan::Plan;
use crate::release::threshold_checks::{CheckResult, ChecksVerdict};

pub(super) fn checked(context: Context<'_>, phase: &Phase, verdict: ChecksVerdict, now: Millis) -> Step {
    let (plan, hold) = (context.plan, context.hold.cloned());
    let Some(run) = phase.run().filter(|_| !matches!(phase, Phase::Finalising(..))) else { return unchanged(phase) };
    let run = Run { check_at: now.plus(plan.interval), ..run.clone() };
    if is_returning(phase) {
        return advance::returned(plan, &run, now);
    }
    if run.step > 0 && verdict.answer == CheckResult::Fail {
        return failed(plan, phase, run, verdict, now);
    }
    if let Some(inquiry) = &run.inquiry {
        let until = inquiry.until;
        return if now >= until {
            silent(context, phase, &run, now)
        } else {
            let check_at = run.check_at.min(until);
            unchanged(&phase.with_run(Run { check_at, ..run }))
        };
    }
    if run.step == 0 {
        return unbegun(context, phase, run, now);
    }
    // What hooks and metrics agreed to at the check before is over.
    let is_next = now >= run.round_at;
    let run = if is_next { Run { agreed: Vec::new(), round_at: run.check_at, ..run } } else { run };
    let phase = phase.with_run(run.clone());
    if !matches!(phase, Phase::Promoting(..))
        && let Some(step) = ask(context, &phase, Purpose::Check, now)
    {
        return step;
    }
    passed(context, &phase, &run, verdict, hold, now)
}

/// A gate that it waits for was opened: it goes on if the last check agreed and its requests are still good. This is no
/// check itself: what speaks against the canary now is left to the next one, which comes when it would have.
pub(super) fn opened(context: Context<'_>, phase: &Phase, verdict: ChecksVerdict, now: Millis) -> Step {
    let Some(run) = phase.run().filter(|run| run.inquiry.is_none()) else { return unchanged(phase) };
    let mut step = if run.step == 0 {
        unbegun(context, phase, run.clone(), now)
    } else {
        let is_moving = matches!(phase, Phase::Progressing(_) | Phase::WaitingPromotion(_));
        let is_unseen = verdict.answer == CheckResult::Undecided && !context.plan.is_live(run.step);
        let is_good = (verdict.answer == CheckResult::Pass || is_unseen) && context.hold.is_none();
        let is_agreed = run.agreed.contains(&Purpose::Check) || !Purpose::Check.calls(context.plan);
        if !(is_moving && is_good && is_agreed) {
            return unchanged(phase);
        }
        advance::leave(context, phase, run, Proof::Checks(verdict), now)
    };
    if let Some(after) = step.phase.run().filter(|after| matches!(after.hold, Some(Hold::Approval { .. }))) {
        let Run { check_at, round_at, gate_at, .. } = *run;
        step.phase = step.phase.with_run(Run { check_at, round_at, gate_at, ..after.clone() });
    }
    step
}

/// Before the first traffic nothing is judged; what it waits for is asked for again.
fn unbegun(context: Context<'_>, phase: &Phase, run: Run, now: Millis) -> Step {
    // Promoted without analysis it waits for the primary, and is promoted once.
    let is_waiting = matches!(phase, Phase::Paused(_) | Phase::Promoting(..));
    let is_blocked = run.hold == Some(Hold::Unsupported) || is_waiting;
    if is_blocked { unchanged(&phase.with_run(run)) } else { enter(context, phase, &run, now) }
}

fn failed(plan: &Plan, phase: &Phase, run: Run, verdict: ChecksVerdict, now: Millis) -> Step {
    // If no traffic kept it from advancing: there is some, and it is bad. An open question is moot.
    let failed = run.failed_checks + 1;
    let hold = run.hold.clone().filter(|hold| *hold != Hold::NoTraffic);
    let run = Run { failed_checks: failed, inquiry: None, agreed: Vec::new(), hold, ..run };
    if failed >= plan.threshold {
        return abort(&run, Cause::Checks { failed, verdict }, now);
    }
    noted(phase.with_run(run), Note::CheckFailed { failed, threshold: plan.threshold, verdict })
}

fn passed(
    context: Context<'_>,
    phase: &Phase,
    run: &Run,
    verdict: ChecksVerdict,
    hold: Option<Hold>,
    now: Millis,
) -> Step {
    let is_moving = matches!(phase, Phase::Progressing(_) | Phase::WaitingPromotion(_));
    let afresh = Run { agreed: Vec::new(), ..run.clone() };
    if !is_moving {
        return unchanged(&phase.with_run(afresh));
    }
    if hold.is_some() || now < run.step_at.plus(context.plan.stage(run.step).dwell) {
        return held(phase, afresh, hold);
    }
    if verdict.answer == CheckResult::Undecided && context.plan.is_live(run.step) {
        // An approval is awaited as before: a quiet moment is no news then.
        let is_awaited = matches!(run.hold, Some(Hold::Approval { .. }));
        let hold = if is_awaited { run.hold.clone() } else { Some(Hold::NoTraffic) };
        return held(phase, afresh, hold);
    }
    advance::leave(context, phase, run, Proof::Checks(verdict), now)
}
