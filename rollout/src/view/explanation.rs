//! Why a release stands where it stands, with every number: what `serin explain` and the API show.
//!
//! Decisions are the guards', the checks' and the certificate's; here they are only shown, beside estimates and
//! anytime-valid intervals: looking often does not make those wrong.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::judgement::certificate::{CertificateFinding, CertificateVerdict};
use crate::judgement::guards::{EventCount, Forgiveness, GuardFinding, GuardsVerdict};
use crate::judgement::sample_ratio::Ratio;
use crate::release::text;
use crate::statistics::boundary::Allocation;
use crate::statistics::confidence::confidence_sequence;
use crate::view::destinations::{self, DestinationStatus};
use crate::view::headline::headline;
use crate::view::status::{self, VersionStatus};
use crate::worker::tally::PerVersion;

mod asked;
mod primary;

pub use asked::{CheckExplanation, HookExplanation, MetricExplanation};
pub use primary::{PrimaryExplanation, PrimaryLimit};

/// The intervals shown are anytime-valid with 95 % confidence.
const INTERVAL_ALPHA: f64 = 0.05;

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

/// A share of requests with an anytime-valid interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Requests that count against the version, and all that could.
    pub events: u64,
    /// See `events`.
    pub trials: u64,
    /// In percent; null without requests.
    pub percent: Option<f64>,
    /// 95 % interval, percent.
    pub low_percent: f64,
    /// See `low_percent`.
    pub high_percent: f64,
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

/// What one guard says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardExplanation {
    /// Which guard.
    pub guard: String,
    /// What it allows now, in words.
    pub rule: String,
    /// Whether it forgives what the primary suffers too: `inForce`, or why it cannot now: `aboveHalf`, `noDraw`; null where it
    /// never does.
    pub forgiveness: Option<Forgiveness>,
    /// What follows when it trips: `abort`, `pause` or `notify`.
    pub action: String,
    /// `bad` when it forced the verdict, `good` when its share of the canary is certain to be within the limit, else
    /// `undecided`.
    pub verdict: String,
    /// The canary's requests.
    pub canary: Share,
    /// The primary's, for comparison.
    pub primary: Share,
    /// Canary minus primary, percentage points, with a 95 % interval: least, estimate, greatest.
    pub difference: [f64; 3],
    /// The greatest good share, percent, where the canary alone decides.
    pub limit_percent: Option<f64>,
    /// The e-value against the canary: within the rule it reaches this with a chance of at most 1 in it.
    pub e_value: f64,
    /// What its e-value must reach to trip the guards alone.
    pub e_needed: f64,
    /// How far its e-value has come toward that, 0 to 1, in logarithms: 20 of 400 is halfway.
    pub toward_action: f64,
}

/// The canary's share of what the weight placed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatioExplanation {
    /// Canary requests among all that the weight placed.
    pub canary: u64,
    /// See `canary`.
    pub all: u64,
    /// How many it should have had.
    pub expected: f64,
    /// The e-value against the share being right.
    pub e_value: f64,
    /// What it must reach.
    pub e_needed: f64,
}

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

/// Explains a canary's release, in progress or ended.
pub fn explain(canary: &Canary, now: Millis) -> Explanation {
    let guards = &canary.plan.guards;
    // Before the first report the guards say nothing, but what they are is worth reading.
    let unseen = || guards.look(&guards.begin(), &PerVersion::default(), &Ratio::default());
    let verdict = canary.verdict.clone().unwrap_or_else(unseen);
    let step = canary.phase.step();
    Explanation {
        canary: canary.plan.id.to_string(),
        release: canary.releases,
        phase: canary.phase.name().into(),
        summary: headline(canary, now) + status::newer_manifest(canary),
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
        guards: explained(&verdict, canary.phase.step().map(|_| canary.evidence.split(canary.epoch))),
        toward_abort: verdict.toward_abort,
        alpha: guards.alpha,
        max_cluster: guards.max_cluster,
        max_cluster_because: cluster_reason(canary),
        strata: strata(canary),
        destinations: destinations::of_release(canary),
        sample_ratio: verdict.ratio.map(|found| RatioExplanation {
            canary: found.canary,
            all: found.all,
            expected: found.expected,
            e_value: e_value(found.ln_e),
            e_needed: e_value(found.ln_needed),
        }),
        primary: primary::explained(canary),
        certificate: step.zip(canary.certificate.as_ref()).map(|(step, verdict)| CertificateExplanation {
            progress: status::toward_step(canary, verdict),
            on_step_ms: now.since(step.at).0,
            dwell_ms: verdict.dwell.0,
            left_out: verdict.left_out.requests,
            gone_workers: verdict.left_out.workers,
            guards: verdict.findings.iter().map(|finding| certified(finding, verdict, guards.max_cluster)).collect(),
        }),
    }
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

/// `split` is the one in force; `None` while no release is in progress.
fn explained(verdict: &GuardsVerdict, split: Option<Option<Allocation>>) -> Vec<GuardExplanation> {
    let one = |finding: &GuardFinding| {
        let forced = verdict.tripped.is_some_and(|(_, guard)| guard == finding.guard.rule.name());
        let (canary, primary) = (share(finding.canary, INTERVAL_ALPHA), share(finding.primary, INTERVAL_ALPHA));
        let limit_percent = finding.guard.rule.limit().map(|limit| limit * 100.0);
        let is_within = limit_percent.is_some_and(|limit| canary.high_percent < limit);
        GuardExplanation {
            guard: finding.guard.rule.name().name().into(),
            rule: split
                .map_or_else(|| text::rule(&finding.guard.rule), |split| text::rule_now(&finding.guard.rule, split)),
            forgiveness: split.and_then(|split| finding.guard.rule.forgiveness(split)),
            action: finding.guard.action.name().into(),
            verdict: if forced {
                "bad"
            } else if is_within {
                "good"
            } else {
                "undecided"
            }
            .into(),
            canary,
            primary,
            difference: difference(finding.canary, finding.primary),
            limit_percent,
            e_value: e_value(finding.ln_e),
            e_needed: e_value(finding.ln_needed),
            // As `serin replay` has it: the logarithms of what it has and of what it needs alone.
            toward_action: (finding.ln_e / finding.ln_needed).clamp(0.0, 1.0),
        }
    };
    verdict.findings.iter().map(one).collect()
}

fn share(count: EventCount, alpha: f64) -> Share {
    let EventCount { events, trials } = count;
    let (low, high) = confidence_sequence(events, trials, alpha);
    Share { events, trials, percent: count.percent(), low_percent: low * 100.0, high_percent: high * 100.0 }
}

/// Both intervals at half the alpha hold together, so their difference holds at the whole.
fn difference(canary: EventCount, primary: EventCount) -> [f64; 3] {
    let [canary, primary] = [canary, primary].map(|counts| share(counts, INTERVAL_ALPHA / 2.0));
    let estimate = canary.percent.unwrap_or_default() - primary.percent.unwrap_or_default();
    [canary.low_percent - primary.high_percent, estimate, canary.high_percent - primary.low_percent]
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

/// Finite, so that JSON has it.
fn e_value(ln_e: f64) -> f64 {
    libm::exp(ln_e.clamp(-700.0, 700.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_wider_than_its_parts_and_holds_its_estimate() {
        let count = |events, trials| EventCount { events, trials };
        let [low, estimate, high] = difference(count(10, 200), count(5, 1_000));
        assert!((estimate - 4.5).abs() < 1e-9 && low < estimate && estimate < high);
        let alone = share(count(10, 200), INTERVAL_ALPHA);
        assert!(high - low > alone.high_percent - alone.low_percent);
        assert_eq!(difference(count(0, 0), count(0, 0)), [-100.0, 0.0, 100.0], "nothing is known of nothing");
    }

    #[test]
    fn e_values_stay_numbers() {
        assert!(e_value(f64::INFINITY).is_finite() && e_value(f64::NEG_INFINITY) > 0.0);
    }
}
