//! A release that advances on certificate is looked at after every report, and when a deadline of its step has come.

use super::inquiry::{Asked, ask};
use super::start::go_on_in_silence;
use super::step::{Context, Transition, abort, held, quiet, with_note};
use super::{advance, first_look};
use crate::base::time::Millis;
use crate::judgement::certificate::{Certificate, CertificateVerdict, Otherwise};
use crate::release::inquiry::Purpose;
use crate::release::phase::{Awaiting, Cause, Hold, Note, OnStep, Phase, Promoting, Proof, Underway};
use crate::release::plan::{Advance, Plan};

/// Leaves the step when it is proven and all agree; says so, waits for a person or gives up when that takes longer
/// than the plan allows.
pub(super) fn certified(context: Context<'_>, phase: &Phase, verdict: CertificateVerdict, now: Millis) -> Transition {
    let (plan, mut phase) = (context.plan, phase.clone());
    let Advance::Certificate(certificate) = &plan.advance else { return quiet(phase) };
    if let Phase::Promoting(promoting) = phase {
        return while_promoting(context, certificate, promoting, &verdict, now);
    }
    let is_asked = Purpose::Check.calls(plan);
    let Some(on_step) = phase.on_step_mut() else { return unbegun(plan, phase, now) };
    let dwell = verdict.dwell.max(plan.stage(on_step.step.number.get()).dwell);
    on_step.pending.check_at = next_look(certificate, on_step, dwell, is_asked, now);
    on_step.step.is_proven |= verdict.is_certified();
    if let Some(until) = on_step.pending.inquiry.as_ref().map(|inquiry| inquiry.until) {
        return if now >= until { go_on_in_silence(context, phase, now) } else { quiet(phase) };
    }
    let is_next_round = now >= on_step.round_at;
    if is_next_round {
        on_step.pending.agreed.clear();
    }
    let on_step = on_step.clone();
    if is_asked
        && is_next_round
        && let Asked::Waiting(step) = ask(context, &phase, Purpose::Check, now)
    {
        return step;
    }
    if matches!(phase, Phase::Paused(_)) {
        return quiet(phase);
    }
    if !verdict.is_certified() {
        return unproven(context, certificate, on_step, phase, verdict, now);
    }
    let OnStep { step, pending, gate_at, .. } = on_step;
    let is_awaited = pending.hold.as_ref().is_some_and(is_approval) && now < gate_at;
    if is_awaited && context.hold.is_none() {
        return quiet(phase);
    }
    let is_agreed = !is_asked || pending.agreed.contains(&Purpose::Check);
    if context.hold.is_some() || now.since(step.at) < dwell || !is_agreed {
        return held(phase, context.hold.cloned());
    }
    advance::leave(context, &phase, Proof::Certificate(verdict), now)
}

/// Nothing more is asked of it; what the primary takes over from the canary returns at its pace.
fn while_promoting(
    context: Context<'_>,
    certificate: &Certificate,
    mut promoting: Promoting,
    verdict: &CertificateVerdict,
    now: Millis,
) -> Transition {
    let plan = context.plan;
    if promoting.awaiting == Awaiting::Traffic {
        if now < promoting.check_at {
            return quiet(Phase::Promoting(promoting));
        }
        promoting.check_at = now.plus(plan.interval);
        return advance::returned(context, &promoting, now);
    }
    promoting.check_at = match &mut promoting.step {
        Some(step) => {
            // One that a person promoted early may be proven yet.
            step.is_proven |= verdict.is_certified();
            let dwell = verdict.dwell.max(plan.stage(step.number.get()).dwell);
            certificate.next_look(step.at, dwell, now)
        }
        None => first_look(plan, now),
    };
    quiet(Phase::Promoting(promoting))
}

/// Nothing is proven before the first traffic. The controller brings a verdict only of a step (`Canary::certify`), but
/// the machine takes every fact in every phase, and a look that was due must be due later whatever brought it
/// (`a_look_that_was_due_is_due_later`).
fn unbegun(plan: &Plan, mut phase: Phase, now: Millis) -> Transition {
    if let Some(check_at) = phase.check_at_mut().filter(|check_at| **check_at <= now) {
        *check_at = first_look(plan, now);
    }
    quiet(phase)
}

/// When to look next although no report comes: for the certificate, a question's end, the next check of hooks and
/// metrics, or to ask for an approval again.
fn next_look(certificate: &Certificate, on_step: &OnStep, dwell: Millis, is_asked: bool, now: Millis) -> Millis {
    let OnStep { step, pending, round_at, gate_at, .. } = on_step;
    let next = certificate.next_look(step.at, dwell, now);
    let later = |at: &Millis| *at > now;
    if let Some(inquiry) = &pending.inquiry {
        return Some(inquiry.until).filter(later).map_or(next, |until| next.min(until));
    }
    let round = Some(*round_at).filter(|_| is_asked).filter(later);
    let gate = Some(*gate_at).filter(|_| pending.hold.as_ref().is_some_and(is_approval)).filter(later);
    round.into_iter().chain(gate).fold(next, Millis::min)
}

const fn is_approval(hold: &Hold) -> bool {
    matches!(hold, Hold::Approval { .. })
}

fn unproven(
    context: Context<'_>,
    certificate: &Certificate,
    mut on_step: OnStep,
    phase: Phase,
    verdict: CertificateVerdict,
    now: Millis,
) -> Transition {
    let hold = context.hold.cloned();
    if verdict.left_out.is_too_much() {
        // Requests in flight unprove the rest for a moment: neither that nor its end is news. Who has to approve is asked
        // all the same.
        let is_kept = |hold: &Hold| is_approval(hold) || *hold == Hold::WorkersGone;
        let standing = on_step.pending.hold.clone().filter(is_kept);
        let gone = verdict.lacks_what_is_left_out().then_some(Hold::WorkersGone);
        if let Some(kept) = standing.or(gone) {
            return held(phase, hold.or(Some(kept)));
        }
    }
    let (patience, why) = match verdict.requests() {
        0 => (certificate.no_data, Hold::NoTraffic),
        _ => (certificate.undecided, Hold::Undecided),
    };
    if on_step.step.is_proven || now.since(on_step.step.at) < patience.after {
        // What it was proven for is awaited as before.
        return held(phase, hold.or_else(|| on_step.pending.hold.filter(is_approval)));
    }
    match patience.then {
        // Nothing was found against the canary, but much against where an abort would send its users.
        Otherwise::Fail if context.keeps_users(&on_step.run) => held(phase, hold.or(Some(why))),
        Otherwise::Hold => held(phase, hold.or(Some(why))),
        Otherwise::Pause => {
            on_step.pending.hold = Some(why.clone());
            with_note(Phase::Paused(Underway::OnStep(on_step)), Note::Held(why))
        }
        Otherwise::Fail => abort(&on_step.run, Cause::Undecided { after: patience.after, verdict }, now),
    }
}
