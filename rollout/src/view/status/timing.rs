//! When a release and its step began, how far the step has come, and how long it will take: an estimate for people, from
//! its own rate.

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::judgement::certificate::CertificateVerdict;
use crate::release::phase::Phase;
use crate::release::plan::Advance;

/// Time on a step before its rate says anything.
const LEAST_FOR_A_RATE: Millis = Millis(1_000);

/// What the clock says of the latest release.
#[derive(Default)]
pub(super) struct Timing {
    /// When it began.
    pub(super) started_at_ms: Option<u64>,
    /// How long it has taken, to its end if it has ended.
    pub(super) ran_ms: Option<u64>,
    /// Time on this step.
    pub(super) on_step_ms: Option<u64>,
    /// Canary requests a second on this step.
    pub(super) requests_per_second: Option<f64>,
    /// Time until this step's requests have proven it, at that rate and if none is bad.
    pub(super) step_remaining_ms: Option<u64>,
}

/// Looks at the clock.
pub(super) fn timing(canary: &Canary, now: Millis) -> Timing {
    let started_at = started_at(canary);
    let until = canary.phase.ended().map_or(now, |ended| ended.at);
    let ran_ms = started_at.map(|at| until.since(at).0);
    let mut timing = Timing { started_at_ms: started_at.map(|at| at.0), ran_ms, ..Timing::default() };
    if let Some(step) = canary.phase.step() {
        let on_step = now.since(step.at);
        let started = canary.step_counts().started;
        timing.on_step_ms = Some(on_step.0);
        if on_step >= LEAST_FOR_A_RATE && started > 0 {
            timing.requests_per_second = Some(started as f64 * 1000.0 / on_step.0 as f64);
        }
        timing.step_remaining_ms = remaining(canary, on_step, timing.requests_per_second);
    }
    timing
}

fn started_at(canary: &Canary) -> Option<Millis> {
    let (release, _) = canary.phase.latest()?;
    let first = || canary.history.iter().find(|event| event.release == release).map(|event| event.at);
    canary.phase.run().map(|run| run.started_at).or_else(first)
}

/// Unknown where something other than requests is waited for, or where checks advance the release.
fn remaining(canary: &Canary, on_step: Millis, per_second: Option<f64>) -> Option<u64> {
    let is_advancing = matches!(canary.phase, Phase::Progressing(_)) && canary.phase.hold().is_none();
    if !is_advancing || canary.plan.advance == Advance::Interval {
        return None;
    }
    let certificate = canary.certificate.as_ref()?;
    let dwell = certificate.dwell.since(on_step).0;
    match certificate.requests_to_go(canary.plan.guards.max_cluster) {
        0 => Some(dwell),
        to_go => Some(dwell.max((to_go as f64 * 1000.0 / per_second?).ceil() as u64)),
    }
}

/// How far a step's certificate has come. Where the release says that it is proven, and only waits to be promoted, what comes
/// afterwards takes nothing back from that: the guards judge it.
pub(crate) fn toward_step(canary: &Canary, verdict: &CertificateVerdict) -> f64 {
    let is_past = matches!(canary.phase, Phase::WaitingPromotion(_) | Phase::Promoting(_));
    let is_proven = is_past && canary.phase.step().is_some_and(|step| step.is_proven);
    if is_proven { 1.0 } else { verdict.progress(canary.plan.guards.max_cluster) }
}
