//! Why a release stands where it stands, with every number: what `serin explain` and the API show.
//!
//! Decisions are the guards', the checks' and the certificate's; here they are only shown, beside estimates and
//! anytime-valid intervals: looking often does not make those wrong.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::judgement::sample_ratio::Ratio;
use crate::view::destinations::{self, DestinationStatus};
use crate::view::headline::headline;
use crate::view::status::{self, VersionStatus};
use crate::worker::tally::PerVersion;

mod asked;
mod certificate;
mod guards;
mod primary;

pub use asked::{CheckExplanation, HookExplanation, MetricExplanation};
pub use certificate::{CertificateExplanation, CertificateGuard};
pub use guards::{GuardExplanation, RatioExplanation, Share};
pub use primary::{PrimaryExplanation, PrimaryLimit};

/// One release's judgement at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `namespace/name`.
    pub canary: String,
    /// Number of the release; 0 before the first.
    pub release: u64,
    /// Phase, as Flagger names it.
    pub phase: String,
    /// What is going on and why, in one line.
    pub summary: String,
    /// What the latest release brings or brought.
    pub revision: Option<String>,
    /// Share meant for the canary now, percent.
    pub weight_percent: f64,
    /// Step taken, and how many there are.
    pub step: usize,
    /// See `step`.
    pub steps: usize,
    /// What the release advances on: `certificate` or `interval`.
    #[serde(default)]
    pub advance: String,
    /// Every step of the plan.
    #[serde(default)]
    pub stages: Vec<StageExplanation>,
    /// Primary and canary in this release.
    pub versions: Vec<VersionStatus>,
    /// The threshold checks that advance the release; empty where certificates do, or before the first look.
    #[serde(default)]
    pub checks: Vec<CheckExplanation>,
    /// The metric servers' metrics, as they answered last in this release.
    #[serde(default)]
    pub metrics: Vec<MetricExplanation>,
    /// The hooks that are called and whose answers count, as they answered last in this release.
    #[serde(default)]
    pub hooks: Vec<HookExplanation>,
    /// What each guard says against the canary.
    pub guards: Vec<GuardExplanation>,
    /// How far the guards' evidence has come toward an abort, 0 to 1.
    pub toward_abort: f64,
    /// The bound on a false abort over the whole release.
    pub alpha: f64,
    /// Failures that are taken as one event, and why.
    pub max_cluster: u32,
    /// See `max_cluster`.
    pub max_cluster_because: String,
    /// The counts apart: what started under one epoch, on one version, by one kind of placement. Oldest first; those of
    /// epoch 0 are several old ones together.
    pub strata: Vec<StratumExplanation>,
    /// Where the requests went that were asked: the primary's in this release, the canary's on this step.
    #[serde(default)]
    pub destinations: Vec<DestinationStatus>,
    /// Whether the canary gets its share; null where that is not judged.
    pub sample_ratio: Option<RatioExplanation>,
    /// What is known of the primary, judged by the canary's limits; null where there is none, or before the first report.
    #[serde(default)]
    pub primary: Option<PrimaryExplanation>,
    /// What this step's requests prove; null where checks advance the release, or none is on.
    pub certificate: Option<CertificateExplanation>,
}

/// One step of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageExplanation {
    /// Which, from 1.
    pub step: usize,
    /// The canary's share, percent.
    pub weight_percent: f64,
    /// Share of the primary's requests of which it gets a copy, percent.
    pub mirror_percent: f64,
    /// The least time on it, milliseconds; 0 where only what it is left after counts.
    pub dwell_ms: u64,
    /// Whether it is left only by `serin resume`.
    pub stops: bool,
    /// Whether the promotion must be approved before it.
    pub needs_approval: bool,
}

/// Requests that are alike in epoch, version and placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StratumExplanation {
    /// Epoch of the table entry under which they started.
    pub epoch: u64,
    /// The canary's share under that entry, percent; null where there was no split.
    pub weight_percent: Option<f64>,
    /// `primary` or `canary`.
    pub version: String,
    /// How they came to it: `drawn`, `sticky`, `mirrored` (a copy), `matched` (by a rule) or `failSafe` (to the primary: the
    /// lease is over, the fuse tripped, or no entry is known for their lane).
    pub placement: String,
    /// How many.
    pub requests: u64,
    /// Bad answers.
    pub failed: u64,
    /// Not yet ended.
    pub pending: u64,
}

/// Explains a canary's release, in progress or ended.
pub fn explain(canary: &Canary, now: Millis) -> Explanation {
    let guards = &canary.plan.guards;
    // Before the first report the guards say nothing, but what they are is worth reading.
    let unseen = || guards.look(&guards.begin(), &PerVersion::default(), &Ratio::default());
    let verdict = canary.verdict.clone().unwrap_or_else(unseen);
    Explanation {
        canary: canary.plan.id.to_string(),
        release: canary.releases,
        phase: canary.phase.name().into(),
        summary: summary(canary, now),
        revision: status::revision(&canary.phase),
        weight_percent: canary.weight().percent(),
        step: canary.phase.steps(),
        steps: canary.plan.last_step(),
        advance: canary.plan.advance.name().into(),
        stages: (1..=canary.plan.last_step()).map(|step| stage(canary, step)).collect(),
        versions: status::versions(canary, canary.evidence.release()),
        checks: asked::checks(canary, now),
        metrics: asked::metrics(canary),
        hooks: asked::hooks(canary),
        guards: guards::explained(&verdict, canary.phase.step().map(|_| canary.evidence.split(canary.epoch))),
        toward_abort: verdict.toward_abort,
        alpha: guards.alpha,
        max_cluster: guards.max_cluster,
        max_cluster_because: cluster_reason(canary),
        strata: strata(canary),
        destinations: destinations::of_release(canary),
        sample_ratio: verdict.ratio.as_ref().map(guards::ratio),
        primary: primary::explained(canary),
        certificate: certificate::explained(canary, now),
    }
}

fn summary(canary: &Canary, now: Millis) -> String {
    let newer = status::newer_manifest(canary).map_or_else(String::new, |newer| format!("; {newer}"));
    headline(canary, now) + &newer
}

fn stage(canary: &Canary, step: usize) -> StageExplanation {
    let stage = canary.plan.stage(step);
    StageExplanation {
        step,
        weight_percent: stage.weight.min(canary.plan.most()).percent(),
        mirror_percent: stage.mirror.percent(),
        dwell_ms: stage.dwell.0,
        stops: stage.pause,
        needs_approval: stage.needs_approval,
    }
}

fn strata(canary: &Canary) -> Vec<StratumExplanation> {
    let strata = canary.evidence.strata().map(|(epoch, version, placement, counts)| StratumExplanation {
        epoch: epoch.0,
        weight_percent: canary.evidence.weight(epoch).map(|weight| canary.plan.scope.of_all(weight).percent()),
        version: version.name().into(),
        placement: placement.name().into(),
        requests: counts.started,
        failed: counts.failed.total(),
        pending: counts.pending(),
    });
    strata.collect()
}

fn cluster_reason(canary: &Canary) -> String {
    let is_sticky = canary.plan.sticky.is_some();
    match (canary.plan.guards.max_cluster, is_sticky) {
        (1, _) => "each failure counts as an event of its own".into(),
        (_, true) => "users are sticky, and one user's failures may be one event".into(),
        (_, false) => "set in the manifest".into(),
    }
}
