//! What each guard says against the canary, with estimates and intervals.

use serde::{Deserialize, Serialize};

use crate::judgement::guards::{EventCount, Forgiveness, GuardFinding, GuardsVerdict};
use crate::judgement::sample_ratio::RatioFinding;
use crate::release::text;
use crate::statistics::boundary::Allocation;
use crate::statistics::confidence::confidence_sequence;

/// The intervals shown are anytime-valid with 95 % confidence.
pub(super) const INTERVAL_ALPHA: f64 = 0.05;

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

/// What each guard says; `split` is the one in force; `None` while no release is in progress.
pub(super) fn explained(verdict: &GuardsVerdict, split: Option<Option<Allocation>>) -> Vec<GuardExplanation> {
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

/// Whether the canary gets its share.
pub(super) fn ratio(found: &RatioFinding) -> RatioExplanation {
    RatioExplanation {
        canary: found.canary,
        all: found.all,
        expected: found.expected,
        e_value: e_value(found.ln_e),
        e_needed: e_value(found.ln_needed),
    }
}

pub(super) fn share(count: EventCount, alpha: f64) -> Share {
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

/// Finite, so that JSON has it.
pub(super) fn e_value(ln_e: f64) -> f64 {
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
