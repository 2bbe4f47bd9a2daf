//! Questions to the outside: who is asked, and what follows when the last has answered.

use super::start::enter;
use super::{Context, Effect, Step, abort, advance, held, noted, then, unchanged};
use crate::base::time::Millis;
use crate::release::inquiry::{Callee, Inquiry, Objection, Purpose, Reason, Reply};
use crate::release::integrations::{Hook, HookCall, HookKind, HookTarget};
use crate::release::phase::{Awaiting, Cause, Hold, Note, Phase, Run};
use crate::release::plan::Plan;

/// What a call may take beyond its timeouts: waiting for its turn, and between attempts.
const MARGIN: Millis = Millis::from_secs(60);
/// Longest back-off between two attempts.
const BACK_OFF: Millis = Millis::from_secs(30);
/// How long a query may take.
const QUERY: Millis = Millis::from_secs(30);

/// Asks what this purpose needs; `None` when it is agreed to already: nobody to ask, all gates open, or asked before. A gate
/// that was closed since takes an approval back, as long as that has not been used.
pub(super) fn ask(context: Context<'_>, phase: &Phase, purpose: Purpose, now: Millis) -> Option<Step> {
    let run = phase.run()?;
    let is_agreed = run.agreed.contains(&purpose);
    // Whoever skips the approvals to begin skips the gates with them; a check is over once all have spoken.
    if is_agreed && (run.step == 0 || purpose == Purpose::Check) {
        return None;
    }
    if purpose == Purpose::Check
        && let Some(step) = rolled_back(context, run, now)
    {
        return Some(step);
    }
    let mut open = purpose.callees(context.plan);
    open.retain(|callee| {
        !is_agreed && hook_of(context.plan, *callee).is_none_or(|hook| hook.target != HookTarget::Gate)
    });
    if open.is_empty() && closed(context, run, purpose, now).is_empty() {
        return None;
    }
    let inquiry =
        Inquiry { purpose, refused: Vec::new(), until: silence(context.plan, &open, now), open: open.clone() };
    let run = Run { round: run.round + 1, ..waits(run, inquiry) };
    if open.is_empty() {
        return Some(concluded(context, phase, run, now));
    }
    let mut step = unchanged(&phase.with_run(run));
    step.effects.push(Effect::Ask(open));
    Some(step)
}

/// The stored gates that this purpose needs open and are not.
fn closed(context: Context<'_>, run: &Run, purpose: Purpose, now: Millis) -> Vec<Objection> {
    let gates = gates(context.plan, purpose.kind()).filter(|gate| !is_open(context, run, gate, now));
    gates.map(|gate| Objection { name: gate.name.clone(), why: Reason::Closed }).collect()
}

/// Rolls back where a gate that asks for it is open for this revision, be it since before the release.
pub(super) fn rolled_back(context: Context<'_>, run: &Run, now: Millis) -> Option<Step> {
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
    let Some(run) = phase.run() else { return phase.clone() };
    let Some(inquiry) = run.inquiry.clone() else { return phase.clone() };
    let until = silence(plan, &inquiry.open, now);
    phase.with_run(waits(run, Inquiry { until, ..inquiry }))
}

/// With an open question. Before the first traffic there is nothing to look at meanwhile; after it the checks go on: a
/// bad canary does not wait for a slow answer.
fn waits(run: &Run, inquiry: Inquiry) -> Run {
    let check_at = if run.step == 0 { inquiry.until } else { run.check_at.min(inquiry.until) };
    Run { check_at, inquiry: Some(inquiry), ..run.clone() }
}

/// An answer. One that is not awaited (any more) changes nothing.
pub(super) fn replied(
    context: Context<'_>,
    phase: &Phase,
    round: u64,
    callee: Callee,
    reply: Reply,
    now: Millis,
) -> Step {
    if let (Phase::Promoting(run, Awaiting::Hook), Callee::Promotion, Reply::Hook(result)) = (phase, callee, &reply) {
        return if run.round == round { deployed(context.plan, run, result, now) } else { unchanged(phase) };
    }
    let Some(run) = phase.run().filter(|run| run.round == round) else { return unchanged(phase) };
    let Some(mut inquiry) = run.inquiry.clone().filter(|inquiry| inquiry.open.contains(&callee)) else {
        return unchanged(phase);
    };
    inquiry.open.retain(|other| *other != callee);
    if let (Some(hook), Reply::Hook(Ok(()))) = (hook_of(context.plan, callee), &reply)
        && hook.kind == HookKind::Rollback
    {
        return roll_back(run, hook, now);
    }
    inquiry.refused.extend(objection(context.plan, callee, reply));
    let is_last = inquiry.open.is_empty();
    let run = Run { inquiry: Some(inquiry), ..run.clone() };
    if is_last { concluded(context, phase, run, now) } else { unchanged(&phase.with_run(run)) }
}

/// Nobody answers any more: whoever has not counts as refusing.
pub(super) fn silent(context: Context<'_>, phase: &Phase, run: &Run, now: Millis) -> Step {
    let mut run = run.clone();
    if let Some(inquiry) = &mut run.inquiry {
        let silence = |callee| match callee {
            Callee::Metric(_) => {
                Reply::Metric(Err(crate::release::integrations::MetricError::Failed("no answer".into())))
            }
            Callee::Hook(_) | Callee::Promotion => Reply::Hook(Err("no answer".into())),
        };
        let open = std::mem::take(&mut inquiry.open);
        inquiry.refused.extend(open.into_iter().filter_map(|callee| objection(context.plan, callee, silence(callee))));
    }
    let mut step = concluded(context, phase, run, now);
    if let Some(run) = step.phase.run().filter(|run| run.check_at <= now) {
        step.phase = step.phase.with_run(Run { check_at: now.plus(context.plan.interval), ..run.clone() });
    }
    step
}

fn concluded(context: Context<'_>, phase: &Phase, mut run: Run, now: Millis) -> Step {
    let Some(Inquiry { purpose, refused: answers, .. }) = run.inquiry.take() else { return unchanged(phase) };
    // Gates count as they stand now: others may have taken their time to answer.
    let mut refused = closed(context, &run, purpose, now);
    refused.extend(answers);
    let next = now.plus(context.plan.interval);
    if refused.is_empty() {
        return agreed(context, phase, run, purpose, now);
    }
    run = Run { check_at: next, round_at: next, gate_at: next, ..run };
    if run.step > 0 {
        // Whose approval is awaited has passed its check: it holds until the next.
        run.agreed.retain(|agreed| *agreed == Purpose::Check && purpose != Purpose::Check);
    }
    match purpose {
        Purpose::PreRollout | Purpose::Check => objected(context.plan, phase, run, refused, now),
        Purpose::Rollout => waiting(Phase::Waiting, phase, run, purpose, refused),
        Purpose::Promotion => waiting(Phase::WaitingPromotion, phase, run, purpose, refused),
        Purpose::Increase => held(phase, run, Some(Hold::Approval { purpose, refused })),
    }
}

/// All agree: the release goes on from where it asked; the controller looks at it again at once.
fn agreed(context: Context<'_>, phase: &Phase, mut run: Run, purpose: Purpose, now: Millis) -> Step {
    run.agreed.push(purpose);
    run.check_at = now;
    // Counted from the last answer: a slow one must not end what was agreed to before it.
    run.round_at = now.plus(context.plan.interval);
    let was_awaited = matches!(&run.hold, Some(Hold::Approval { purpose: held, .. }) if *held == purpose);
    let mut step = unchanged(&phase.with_run(run.clone()));
    if was_awaited {
        run.hold = None;
        step = noted(phase.with_run(run.clone()), Note::Approved { purpose });
    }
    // Before the first step it goes on by itself, unless a person holds it; later a check moves it.
    let may_enter = run.step == 0 && !matches!(phase, Phase::Paused(_));
    if may_enter { then(step, enter(context, &Phase::Progressing(run.clone()), &run, now)) } else { step }
}

/// An approval is refused: the release waits in a phase of its own, which is said once.
fn waiting(into: fn(Run) -> Phase, phase: &Phase, run: Run, purpose: Purpose, refused: Vec<Objection>) -> Step {
    // While a person holds it, it stays where it is.
    if matches!(phase, Phase::Paused(_)) {
        return unchanged(&phase.with_run(run));
    }
    let hold = Hold::Approval { purpose, refused: refused.clone() };
    let is_news = !run.hold.as_ref().is_some_and(|before| hold.repeats(before));
    let phase = into(Run { hold: Some(hold), ..run });
    if !is_news {
        return unchanged(&phase);
    }
    match purpose {
        Purpose::Promotion => noted(phase, Note::WaitingPromotion { refused }),
        _ => noted(phase, Note::Waiting { refused }),
    }
}

/// Hooks or metrics speak against it: a failed check, or a blind one where nobody said anything about the canary.
fn objected(plan: &Plan, phase: &Phase, run: Run, refused: Vec<Objection>, now: Millis) -> Step {
    if refused.iter().all(Objection::is_blind) {
        let (checks, limit) = (run.blind_checks + 1, plan.outside.blind_limit);
        let run = Run { blind_checks: checks, ..run };
        return if checks > limit {
            abort(&run, Cause::MetricError { checks, refused }, now)
        } else {
            noted(phase.with_run(run), Note::MetricError { checks, limit, refused })
        };
    }
    let (failed, threshold) = (run.failed_checks + 1, plan.threshold);
    let run = Run { failed_checks: failed, ..run };
    if failed >= threshold {
        abort(&run, Cause::Objections { failed, refused }, now)
    } else {
        noted(phase.with_run(run), Note::Objected { failed, threshold, refused })
    }
}

fn deployed(plan: &Plan, run: &Run, result: &Result<(), String>, now: Millis) -> Step {
    match result {
        Ok(()) => advance::confirm(plan, run, None, now),
        Err(error) => {
            let awaiting = Awaiting::Confirmation { after: Some(error.clone()) };
            noted(Phase::Promoting(run.clone(), awaiting), Note::HookFailed { error: error.clone() })
        }
    }
}

fn roll_back(run: &Run, hook: &Hook, now: Millis) -> Step {
    abort(run, Cause::Rollback { name: hook.name.clone() }, now)
}

fn objection(plan: &Plan, callee: Callee, reply: Reply) -> Option<Objection> {
    let (name, why) = match (callee, reply) {
        (Callee::Metric(n), Reply::Metric(result)) => {
            let metric = plan.outside.metrics.get(n)?;
            let why = match result {
                Err(blind) => Reason::MetricError(blind),
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
        Callee::Hook(n) => plan.outside.hooks.get(n),
        Callee::Metric(_) | Callee::Promotion => None,
    }
}

/// When those who are asked now and have not answered by then count as silent.
fn silence(plan: &Plan, open: &[Callee], now: Millis) -> Millis {
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
