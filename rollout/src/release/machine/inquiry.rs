//! Questions to the outside: who is asked, and what the answers come to. What follows from an agreement is for the callers.

use super::step::{Context, Effect, Transition, abort, held, quiet, with_note};
use crate::base::time::Millis;
use crate::release::inquiry::{Callee, Inquiry, Objection, Purpose, Reason, Reply};
use crate::release::integrations::{Hook, HookCall, HookKind, HookTarget, MetricError};
use crate::release::phase::{Cause, Hold, Note, Phase, Run, Underway};
use crate::release::plan::Plan;

/// What came of asking.
#[expect(clippy::large_enum_variant, reason = "taken apart where it is returned, never kept")]
pub(super) enum Asked {
    /// There is nothing to wait for: no one to ask, all gates open, or agreed to before.
    Agreed,
    /// The release waits for answers, was refused by a gate, or rolls back by one.
    Waiting(Transition),
}

/// What came of an answer, or of the silence in its place.
pub(super) enum Answered {
    /// The last one agreed, and so have all.
    Agreed(Transition),
    /// Others have not answered, somebody refused, or it was not awaited (any more).
    Waiting(Transition),
}

/// What a call may take beyond its timeouts: waiting for its turn, and between attempts.
const MARGIN: Millis = Millis::from_secs(60);
/// Longest back-off between two attempts.
const BACK_OFF: Millis = Millis::from_secs(30);
/// How long a query may take.
const QUERY: Millis = Millis::from_secs(30);

/// Asks what this purpose needs. A gate that was closed since takes an approval back, as long as that has not been used.
pub(super) fn ask(context: Context<'_>, phase: &Phase, purpose: Purpose, now: Millis) -> Asked {
    let (Some(run), Some(pending)) = (phase.run(), phase.pending()) else { return Asked::Agreed };
    let is_agreed = pending.agreed.contains(&purpose);
    // A person who skips the approvals to begin skips the gates with them; a check is over once all have answered.
    if is_agreed && (phase.step().is_none() || purpose == Purpose::Check) {
        return Asked::Agreed;
    }
    if purpose == Purpose::Check
        && let Some(step) = rolled_back(context, run, now)
    {
        return Asked::Waiting(step);
    }
    let mut open = purpose.callees(context.plan);
    open.retain(|callee| {
        !is_agreed && hook_of(context.plan, *callee).is_none_or(|hook| hook.target != HookTarget::Gate)
    });
    let closed = closed(context, run, purpose, now);
    if open.is_empty() && closed.is_empty() {
        return Asked::Agreed;
    }
    let mut next = phase.clone();
    next.run_mut().into_iter().for_each(|run| run.round += 1);
    if open.is_empty() {
        return Asked::Waiting(refused(context.plan, next, purpose, closed, now));
    }
    let until = silence(context.plan, &open, now);
    let mut step = quiet(awaiting(next, Inquiry { purpose, refused: Vec::new(), until, open: open.clone() }));
    step.effects.push(Effect::Ask(open));
    Asked::Waiting(step)
}

/// The stored gates that this purpose needs open and are not.
fn closed(context: Context<'_>, run: &Run, purpose: Purpose, now: Millis) -> Vec<Objection> {
    let gates = gates(context.plan, purpose.kind()).filter(|gate| !is_open(context, run, gate, now));
    gates.map(|gate| Objection { name: gate.name.clone(), why: Reason::Closed }).collect()
}

/// Rolls back where a gate that asks for it is open for this revision, be it since before the release.
pub(super) fn rolled_back(context: Context<'_>, run: &Run, now: Millis) -> Option<Transition> {
    let pressed = gates(context.plan, HookKind::Rollback).find(|gate| is_open(context, run, gate, now))?;
    Some(roll_back(run, pressed, now))
}

fn gates(plan: &Plan, kind: HookKind) -> impl Iterator<Item = &Hook> {
    plan.outside.hooks.iter().filter(move |hook| hook.kind == kind && hook.target == HookTarget::Gate)
}

fn is_open(context: Context<'_>, run: &Run, gate: &Hook, now: Millis) -> bool {
    context.approvals.of(&gate.name, Some(&run.revision), now).is_some()
}

/// The agent was away and asks those who have not answered again: they have as long as before.
pub fn resumed_inquiry(plan: &Plan, phase: &Phase, now: Millis) -> Phase {
    let Some(inquiry) = phase.inquiry().cloned() else { return phase.clone() };
    let until = silence(plan, &inquiry.open, now);
    awaiting(phase.clone(), Inquiry { until, ..inquiry })
}

/// With an open question. Before the first traffic there is nothing to look at meanwhile; after it the checks go on: a
/// bad canary does not wait for a slow answer.
fn awaiting(mut phase: Phase, inquiry: Inquiry) -> Phase {
    let is_preparing = phase.preparing().is_some();
    if let Some(pending) = phase.pending_mut() {
        pending.check_at = if is_preparing { inquiry.until } else { pending.check_at.min(inquiry.until) };
        pending.inquiry = Some(inquiry);
    }
    phase
}

/// An answer. One that is not awaited (any more) changes nothing.
pub(super) fn replied(
    context: Context<'_>,
    phase: &Phase,
    round: u64,
    callee: Callee,
    reply: Reply,
    now: Millis,
) -> Answered {
    let mut next = phase.clone();
    let Some(run) = phase.run().filter(|run| run.round == round) else { return Answered::Waiting(quiet(next)) };
    let inquiry = next.pending_mut().and_then(|pending| pending.inquiry.as_mut());
    let Some(inquiry) = inquiry.filter(|inquiry| inquiry.open.contains(&callee)) else {
        return Answered::Waiting(quiet(next));
    };
    inquiry.open.retain(|other| *other != callee);
    if let (Some(hook), Reply::Hook(Ok(()))) = (hook_of(context.plan, callee), &reply)
        && hook.kind == HookKind::Rollback
    {
        return Answered::Waiting(roll_back(run, hook, now));
    }
    inquiry.refused.extend(objection(context.plan, callee, reply));
    let is_last = inquiry.open.is_empty();
    if is_last { concluded(context, next, now) } else { Answered::Waiting(quiet(next)) }
}

/// The time for answers is over: a missing one counts as a refusal.
pub(super) fn silent(context: Context<'_>, mut phase: Phase, now: Millis) -> Answered {
    if let Some(inquiry) = phase.pending_mut().and_then(|pending| pending.inquiry.as_mut()) {
        let silence = |callee| match callee {
            Callee::Metric(_) => Reply::Metric(Err(MetricError::Failed("no answer".into()))),
            Callee::Hook(_) | Callee::Promotion | Callee::Rollback(_) => Reply::Hook(Err("no answer".into())),
        };
        let open = std::mem::take(&mut inquiry.open);
        inquiry.refused.extend(open.into_iter().filter_map(|callee| objection(context.plan, callee, silence(callee))));
    }
    concluded(context, phase, now)
}

fn concluded(context: Context<'_>, mut phase: Phase, now: Millis) -> Answered {
    let inquiry = phase.pending_mut().and_then(|pending| pending.inquiry.take());
    let (Some(run), Some(Inquiry { purpose, refused: answers, .. })) = (phase.run(), inquiry) else {
        return Answered::Waiting(quiet(phase));
    };
    // Gates count as they stand now: others may have taken their time to answer.
    let mut objections = closed(context, run, purpose, now);
    objections.extend(answers);
    if objections.is_empty() {
        Answered::Agreed(agreed(context.plan, phase, purpose, now))
    } else {
        Answered::Waiting(refused(context.plan, phase, purpose, objections, now))
    }
}

/// All agree: the controller looks at the release again at once.
fn agreed(plan: &Plan, mut phase: Phase, purpose: Purpose, now: Millis) -> Transition {
    if let Some(on_step) = phase.on_step_mut() {
        // Counted from the last answer: a slow one must not end what was agreed to before it.
        on_step.round_at = now.plus(plan.interval);
    }
    let Some(pending) = phase.pending_mut() else { return quiet(phase) };
    pending.agreed.push(purpose);
    pending.check_at = now;
    let was_awaited = matches!(&pending.hold, Some(Hold::Approval { purpose: held, .. }) if *held == purpose);
    if !was_awaited {
        return quiet(phase);
    }
    pending.hold = None;
    with_note(phase, Note::Approved { purpose })
}

/// Somebody does not agree: they are asked again at the next check.
fn refused(plan: &Plan, mut phase: Phase, purpose: Purpose, objections: Vec<Objection>, now: Millis) -> Transition {
    let next = now.plus(plan.interval);
    if let Some(on_step) = phase.on_step_mut() {
        (on_step.round_at, on_step.gate_at) = (next, next);
        // A release that awaits an approval has passed its check: that holds until the next.
        on_step.pending.agreed.retain(|agreed| *agreed == Purpose::Check && purpose != Purpose::Check);
    }
    if let Some(pending) = phase.pending_mut() {
        pending.check_at = next;
    }
    match purpose {
        Purpose::PreRollout | Purpose::Check => objected(plan, phase, objections, now),
        Purpose::Rollout | Purpose::Promotion => waiting(phase, purpose, objections),
        Purpose::Increase => held(phase, Some(Hold::Approval { purpose, refused: objections })),
    }
}

/// An approval is refused: the release waits in a phase of its own, which is noted once.
fn waiting(phase: Phase, purpose: Purpose, refused: Vec<Objection>) -> Transition {
    let mut phase = match (purpose, phase) {
        // While a person holds it, it stays where it is.
        (_, phase @ Phase::Paused(_)) => return quiet(phase),
        (Purpose::Rollout, Phase::Progressing(Underway::Preparing(preparing))) => Phase::Waiting(preparing),
        (Purpose::Promotion, Phase::Progressing(Underway::OnStep(on_step))) => Phase::WaitingPromotion(on_step),
        (_, phase) => phase,
    };
    let hold = Hold::Approval { purpose, refused: refused.clone() };
    let is_news = !phase.hold().is_some_and(|before| hold.repeats(before));
    if let Some(pending) = phase.pending_mut() {
        pending.hold = Some(hold);
    }
    match purpose {
        _ if !is_news => quiet(phase),
        Purpose::Promotion => with_note(phase, Note::WaitingPromotion { refused }),
        _ => with_note(phase, Note::Waiting { refused }),
    }
}

/// Hooks or metrics object: a failed check, or a check without a value where no reply says anything about the canary.
fn objected(plan: &Plan, mut phase: Phase, refused: Vec<Objection>, now: Millis) -> Transition {
    let Some(run) = phase.run_mut() else { return quiet(phase) };
    if refused.iter().all(Objection::is_blind) {
        run.blind_checks += 1;
        let (checks, limit) = (run.blind_checks, plan.outside.blind_limit);
        return if checks > limit {
            abort(run, Cause::MetricError { checks, refused }, now)
        } else {
            with_note(phase, Note::MetricError { checks, limit, refused })
        };
    }
    run.failed_checks += 1;
    let (failed, threshold) = (run.failed_checks, plan.threshold);
    if failed >= threshold {
        abort(run, Cause::Objections { failed, refused }, now)
    } else {
        with_note(phase, Note::Objected { failed, threshold, refused })
    }
}

fn roll_back(run: &Run, hook: &Hook, now: Millis) -> Transition {
    abort(run, Cause::Rollback { name: hook.name.clone() }, now)
}

fn objection(plan: &Plan, callee: Callee, reply: Reply) -> Option<Objection> {
    let (name, why) = match (callee, reply) {
        (Callee::Metric(n), Reply::Metric(result)) => {
            let metric = plan.outside.metrics.get(n)?;
            let why = match result {
                Err(error) => Reason::MetricError(error),
                // It would pass a bound on the other side, and no journal could hold it.
                Ok(value) if !value.is_finite() => {
                    Reason::MetricError(MetricError::Failed(format!("answered {value}, which is no finite number")))
                }
                Ok(value) if metric.range.contains(value) => return None,
                Ok(value) => Reason::OutOfRange { value, range: metric.range },
            };
            (metric.name.clone(), why)
        }
        (Callee::Hook(_), Reply::Hook(Err(said))) => {
            let hook = hook_of(plan, callee).filter(|hook| hook.kind != HookKind::Rollback)?;
            (hook.name.clone(), Reason::Refused(said))
        }
        _ => return None,
    };
    Some(Objection { name, why })
}

fn hook_of(plan: &Plan, callee: Callee) -> Option<&Hook> {
    match callee {
        Callee::Hook(n) | Callee::Rollback(n) => plan.outside.hooks.get(n),
        Callee::Metric(_) | Callee::Promotion => None,
    }
}

/// When those who are asked now and have not answered by then count as silent.
pub fn silence(plan: &Plan, open: &[Callee], now: Millis) -> Millis {
    now.plus(open.iter().map(|callee| patience(plan, *callee)).max().unwrap_or_default())
}

fn patience(plan: &Plan, callee: Callee) -> Millis {
    match hook_of(plan, callee).map(|hook| &hook.target) {
        Some(HookTarget::Call(HookCall { timeout, retries, .. })) => {
            let retries = u64::from(*retries);
            let attempts = timeout.0.saturating_mul(retries.saturating_add(1));
            MARGIN.plus(Millis(attempts.saturating_add(BACK_OFF.0.saturating_mul(retries))))
        }
        Some(HookTarget::Gate) | None => MARGIN.plus(QUERY),
    }
}
