//! A release that advances on certificate is looked at after every report, and when a deadline of its step has come.

use super::{Step, abort, advance, noted, promote, unchanged, with_run};
use crate::certificate::{Certificate, CertificateVerdict, Otherwise};
use crate::plan::{Advance, Plan};
use crate::release::{Cause, Hold, Note, Phase, Proof, Run};
use crate::time::Millis;

/// Leaves the step when it is proven; says so, waits for a person or gives up when that takes longer than the plan allows.
pub(super) fn looked(plan: &Plan, phase: &Phase, verdict: CertificateVerdict, hold: Option<Hold>, now: Millis) -> Step {
    let Advance::Certificate(certificate) = &plan.advance else { return unchanged(phase) };
    let (Phase::Progressing(run) | Phase::Paused(run) | Phase::Promoting(run, _)) = phase else {
        return unchanged(phase);
    };
    let run = Run { check_at: certificate.next_look(run.step_at, verdict.dwell, now), ..run.clone() };
    if run.step == 0 || !matches!(phase, Phase::Progressing(_)) {
        return unchanged(&with_run(phase, run));
    }
    if !verdict.is_certified() {
        return unproven(certificate, run, verdict, hold, now);
    }
    let may_leave = hold.is_none() && now.since(run.step_at) >= verdict.dwell;
    if !may_leave {
        return held(run, hold);
    }
    let (run, proof) = (Run { hold: None, ..run }, Some(Proof::Certificate(verdict)));
    if run.step >= plan.last_step() { promote(plan, &run, None, proof, now) } else { advance(plan, &run, proof, now) }
}

fn unproven(certificate: &Certificate, run: Run, verdict: CertificateVerdict, hold: Option<Hold>, now: Millis) -> Step {
    let (patience, why) = match verdict.requests() {
        0 => (certificate.no_data, Hold::NoTraffic),
        _ => (certificate.undecided, Hold::Undecided),
    };
    if now.since(run.step_at) < patience.after {
        return held(run, hold);
    }
    match patience.then {
        Otherwise::Hold => held(run, hold.or(Some(why))),
        Otherwise::Pause => noted(Phase::Paused(Run { hold: Some(why.clone()), ..run }), Note::Held(why)),
        Otherwise::Fail => abort(&run, Cause::Undecided { after: patience.after, verdict }, now),
    }
}

/// Stands where it stands; why is said once.
fn held(run: Run, hold: Option<Hold>) -> Step {
    let is_news = hold != run.hold;
    let phase = Phase::Progressing(Run { hold: hold.clone(), ..run });
    match hold {
        Some(hold) if is_news => noted(phase, Note::Held(hold)),
        _ => unchanged(&phase),
    }
}
