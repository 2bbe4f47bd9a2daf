//! What is known of the primary: the canary's limits, with exchanged roles.

use serde::{Deserialize, Serialize};

use super::guards::{INTERVAL_ALPHA, Share, e_value, share};
use crate::controller::canary::Canary;
use crate::judgement::primary_watch::{PRIMARY_ALPHA, PrimaryFinding};
use crate::release::text;

/// How the primary does by the limits that the canary is held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryExplanation {
    /// Whether it was found failing, and is not certified again.
    pub fails: bool,
    /// Who sends users there all the same.
    pub accepted_by: Option<String>,
    /// The bound on finding one failing that is within its limits.
    pub alpha: f64,
    /// Each limit, by the requests of this step.
    pub limits: Vec<PrimaryLimit>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryLimit {
    /// Which guard's.
    pub guard: String,
    /// What it allows, in words.
    pub rule: String,
    /// The primary's requests.
    pub primary: Share,
    /// The canary's, for comparison.
    pub canary: Share,
    /// The e-value against the primary, since it was last found failing.
    pub e_value: f64,
    /// What it must reach alone.
    pub e_needed: f64,
}

pub(super) fn explained(canary: &Canary) -> Option<PrimaryExplanation> {
    let verdict = canary.primary_verdict.as_ref().filter(|verdict| !verdict.findings.is_empty())?;
    let limit = |finding: &PrimaryFinding| PrimaryLimit {
        guard: finding.rule.name().name().into(),
        rule: text::certified(&finding.rule),
        primary: share(finding.primary, INTERVAL_ALPHA),
        canary: share(finding.canary, INTERVAL_ALPHA),
        e_value: e_value(finding.ln_e),
        e_needed: e_value(verdict.ln_needed) * verdict.findings.len() as f64,
    };
    Some(PrimaryExplanation {
        fails: verdict.failing.is_some(),
        accepted_by: canary.phase.run().and_then(|run| run.primary_accepted_by.as_ref()).map(ToString::to_string),
        alpha: PRIMARY_ALPHA,
        limits: verdict.findings.iter().map(limit).collect(),
    })
}
