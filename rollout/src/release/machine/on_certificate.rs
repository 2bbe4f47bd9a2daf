//! A release that advances on certificate is looked at after every report, and when a deadline of its step has come.

use super::inquiry::{ask, silent};
use super::{Context, Step, abort, advance, held, is_returning, noted, unchanged};
use crate::base::time::Millis;
use crate::judgement::certificate::{Certificate, CertificateVerdict, Otherwise};
use crate::release::inquiry::Purpose;
use crate::release::phase::{Cause, Hold, Note, Phase, Proof, Run};
use crate::release::plan::Advance;

/// Leaves the step when it is proven and everybody agrees; says so, waits for a person or gives up when that takes longer
/// than the plan allows.
pub(super) fn looked(context: Context<'_>, phase: &Phase, verdict: CertificateVerdict, now: Millis) -> Step {
    let hold = context.hold.cloned();
    let Advance::Certificate(certificate) = &context.plan.advance else { return unchanged(phase) };
    let Some(run) = phase.judged() else { return unchanged(phase) };
    if is_returning(phase) {
        return if now >= run.check_at {
            advance::returned(context.plan, &Run { check_at: now.plus(context.plan.interval), ..run.clone() }, now)
        } else {
            unchanged(phase)
        };
    }
    let is_asked = Purpose::Check.calls(context.plan);
    let dwell = verdict.dwell.max(context.plan.stage(run.step).dwell);
    let check_at = next_look(certificate, run, dwell, is_asked, now);
    let is_proven = run.step > 0 && (run.is_proven || verdict.is_certified());
    let mut run = Run { check_at, is_proven, ..run.clone() };
    if run.step == 0 || matches!(phase, Phase::Promoting(..)) {
        return unchanged(&phase.with_run(run));
    }
    if let Some(inquiry) = &run.inquiry {
        return if now >= inquiry.until { silent(context, phase, &run, now) } else { unchanged(&phase.with_run(run)) };
    }
    if now >= run.round_at {
        run.agreed.clear();
    }
    if is_asked
        && now >= run.round_at
        && let Some(step) = ask(context, &phase.with_run(run.clone()), Purpose::Check, now)
    {
        return step;
    }
    if matches!(phase, Phase::Paused(_)) {
        return unchanged(&phase.with_run(run));
    }
    if !verdict.is_certified() {
        return unproven(certificate, phase, run, verdict, hold, now);
    }
    let is_awaited = run.hold.as_ref().is_some_and(is_approval) && now < run.gate_at;
    if is_awaited && hold.is_none() {
        return unchanged(&phase.with_run(run));
    }
    if hold.is_some() || now.since(run.step_at) < dwell || (is_asked && !run.agreed.contains(&Purpose::Check)) {
        return held(phase, run, hold);
    }
    advance::leave(context, &phase.with_run(run.clone()), &run, Proof::Certificate(verdict), now)
}

/// When to look next although no report comes: for the certificate, a question's end, the next check of hooks and
/// metrics, or to ask for an approval again.
fn next_look(certificate: &Certificate, run: &Run, dwell: Millis, is_asked: bool, now: Millis) -> Millis {
    let next = certificate.next_look(run.step_at, dwell, now);
    let later = |at: &Millis| *at > now;
    if let Some(inquiry) = &run.inquiry {
        return Some(inquiry.until).filter(later).map_or(next, |until| next.min(until));
    }
    let round = Some(run.round_at).filter(|_| is_asked).filter(later);
    let gate = Some(run.gate_at).filter(|_| run.hold.as_ref().is_some_and(is_approval)).filter(later);
    round.into_iter().chain(gate).fold(next, Millis::min)
}

const fn is_approval(hold: &Hold) -> bool {
    matches!(hold, Hold::Approval { .. })
}

fn unproven(
    certificate: &Certificate,
    phase: &Phase,
    run: Run,
    verdict: CertificateVerdict,
    hold: Option<Hold>,
    now: Millis,
) -> Step {
    let (patience, why) = match verdict.requests() {
        0 => (certificate.no_data, Hold::NoTraffic),
        _ => (certificate.undecided, Hold::Undecided),
    };
    if run.is_proven || now.since(run.step_at) < patience.after {
        // What it was proven for is awaited as before.
        let hold = hold.or_else(|| run.hold.clone().filter(is_approval));
        return held(phase, run, hold);
    }
    match patience.then {
        Otherwise::Hold => held(phase, run, hold.or(Some(why))),
        Otherwise::Pause => noted(Phase::Paused(Run { hold: Some(why.clone()), ..run }), Note::Held(why)),
        Otherwise::Fail => abort(&run, Cause::Undecided { after: patience.after, verdict }, now),
    }
}
