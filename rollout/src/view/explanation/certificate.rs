//! What this step's requests prove.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::judgement::certificate::{CertificateFinding, CertificateVerdict};
use crate::judgement::guards::EventCount;
use crate::release::text;
use crate::view::status;

/// What a step's requests prove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateExplanation {
    /// How far the slowest guard has come, 0 to 1.
    pub progress: f64,
    /// Time on this step so far, and the least, milliseconds.
    pub on_step_ms: u64,
    /// See `on_step_ms`.
    pub dwell_ms: u64,
    /// Requests of this step that none of these has, because their worker is gone: how they ended is not known.
    #[serde(default)]
    pub left_out: u64,
    /// In how many workers.
    #[serde(default)]
    pub gone_workers: u64,
    /// Each guard that must be certified.
    pub guards: Vec<CertificateGuard>,
}

/// One guard's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateGuard {
    /// Which guard.
    pub guard: String,
    /// What is certified, in words.
    pub rule: String,
    /// This step's canary requests that speak against it, and all that could.
    pub events: u64,
    /// See `events`.
    pub trials: u64,
    /// How far it has come, 0 to 1: requests that have ended, of these and those to go.
    pub progress: f64,
    /// Good answers that would complete it if nothing bad came, those to requests in flight among them; 0 when it is
    /// complete.
    pub requests_to_go: u64,
}

/// What this step's requests prove; `None` where checks advance the release, or none is on.
pub(super) fn explained(canary: &Canary, now: Millis) -> Option<CertificateExplanation> {
    let (step, verdict) = (canary.phase.step()?, canary.certificate.as_ref()?);
    let max_cluster = canary.plan.guards.max_cluster;
    Some(CertificateExplanation {
        progress: status::toward_step(canary, verdict),
        on_step_ms: now.since(step.at).0,
        dwell_ms: verdict.dwell.0,
        left_out: verdict.left_out.requests,
        gone_workers: verdict.left_out.workers,
        guards: verdict.findings.iter().map(|finding| certified(finding, verdict, max_cluster)).collect(),
    })
}

fn certified(finding: &CertificateFinding, verdict: &CertificateVerdict, max_cluster: u32) -> CertificateGuard {
    let EventCount { events, trials } = finding.canary;
    CertificateGuard {
        guard: finding.rule.name().name().into(),
        rule: text::certified(&finding.rule),
        events,
        trials,
        progress: finding.progress(verdict.ln_needed, max_cluster),
        requests_to_go: finding.requests_to_go(verdict.ln_needed, max_cluster),
    }
}
