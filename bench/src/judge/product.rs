//! The one place that knows what the guards are made of and how they are asked.

use rollout::base::time::Millis;
use rollout::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
use rollout::judgement::sample_ratio::Ratio;
use rollout::judgement::sequential::{Observed, ObservedSlot, Sequential, SlotKey};
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::plan::{Check, Metric, ThresholdRange};
use rollout::routing::table::Epoch;
use rollout::statistics::boundary::{Allocation, Boundary, Pair, Trials, certify};
use rollout::statistics::mixture::{Explained, G8, PerAlternative};
use rollout::worker::tally::{PerVersion, Slot};

/// The greatest good failure rate.
pub const LIMIT: f64 = 0.01;
/// The bound on a false abort over a whole release.
pub const ALPHA: f64 = 0.01;
/// The bound on certifying a canary exactly at the limit.
pub const ALPHA_CERTIFY: f64 = 0.05;
/// How many times the primary's failure rate is a regression, and the rate below which nothing is.
pub const MARGIN: f64 = 1.5;
/// See [`MARGIN`].
pub const FLOOR: f64 = LIMIT / 2.0;

/// Which of the product's guards look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The absolute one.
    Slo,
    /// The comparison with the primary.
    Regression,
    /// Both, sharing alpha.
    Both,
    /// All that a success rate of at least 99 % means when nothing else is said.
    Default,
}

/// The guards.
#[must_use]
pub fn guards(which: Which) -> Guards {
    let slo = GuardRule::Slo { limit: LIMIT, unless_primary_also: false };
    let regression = GuardRule::Regression { margin: MARGIN, floor_rate: FLOOR };
    let rules = match which {
        Which::Slo => vec![slo],
        Which::Regression => vec![regression],
        Which::Both => vec![slo, regression],
        Which::Default => return default_guards(),
    };
    let guards = rules.into_iter().map(|rule| Guard { rule, action: GuardAction::Abort }).collect();
    Guards { guards, alpha: ALPHA, max_cluster: 1, sample_ratio: None }
}

fn default_guards() -> Guards {
    let range = ThresholdRange { min: Some(100.0 - LIMIT * 100.0), max: None };
    let name = "request-success-rate".to_owned();
    let check = Check { name, metric: Metric::SuccessRate, window: Millis::from_secs(60), range };
    guards_of(&[check], false, &GuardSettings::all(Some(GuardAction::Abort), GuardAction::Pause))
}

/// What the contest's weight means for a slot.
const TENTH: Option<Allocation> = Some(Allocation { weight: 0.1, is_drawn: true });

/// Whether they would abort now.
#[must_use]
pub fn is_tripped(guards: &Guards, tests: &Sequential) -> bool {
    guards.look(tests, &PerVersion::default(), &Ratio::default()).tripped.is_some()
}

/// Which slot of a release with one epoch.
#[must_use]
pub const fn key(number: u32) -> SlotKey {
    SlotKey { epoch: Epoch(1), slot: Slot(number) }
}

/// A slot in which every outcome is known; failures are slow as well, as the worker counts them.
#[must_use]
pub fn slot(canary: [u64; 2], primary: [u64; 2]) -> ObservedSlot {
    let side = |[started, failed]: [u64; 2]| Observed { started, failed, slow: failed, ..Observed::NOTHING };
    ObservedSlot { canary: side(canary), primary: side(primary), split: TENTH, ..ObservedSlot::NOTHING }
}

/// The likelihood ratios of a batch against the failure rate `limit`.
#[must_use]
pub fn ln_ratios(requests: u64, failed: u64, limit: f64) -> PerAlternative {
    let canary = Trials { started: requests, events: failed, pending: 0 };
    Boundary::Absolute(limit).ln_ratios(&Pair { canary, ..Pair::default() }, 1).unwrap_or(Explained::NOTHING).first
}

/// Whether so many failures among so many requests from the start abort, without restarts.
#[must_use]
pub fn aborts(requests: u64, failed: u64) -> bool {
    G8.ln_mixture(&ln_ratios(requests, failed, LIMIT)) >= -libm::log(ALPHA)
}

/// Whether so many failures among so many requests certify a canary at `alpha`.
#[must_use]
pub fn certifies(requests: u64, failed: u64, alpha: f64) -> bool {
    certify(Trials { started: requests, events: failed, pending: 0 }, LIMIT, 1) >= -libm::log(alpha)
}

/// Requests that any test with this `alpha` needs on average to distinguish `rate` from [`LIMIT`]: Wald's bound,
/// ln(1/alpha) / KL(rate || limit).
#[must_use]
pub fn wald_bound(rate: f64, alpha: f64) -> f64 {
    let term = |p: f64, q: f64| if p == 0.0 { 0.0 } else { p * libm::log(p / q) };
    -libm::log(alpha) / (term(rate, LIMIT) + term(1.0 - rate, 1.0 - LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_one_in_the_books() {
        for (rate, requests) in [(0.02, 1176.7), (0.05, 111.5), (0.1, 31.9), (0.2, 10.7), (0.5, 2.85), (1.0, 1.0)] {
            assert!((wald_bound(rate, 0.01) / requests - 1.0).abs() < 0.005, "{rate}");
        }
    }

    #[test]
    fn the_default_guards_hold_the_same_limit() {
        assert!(
            guards(Which::Default)
                .guards
                .iter()
                .any(|guard| { matches!(guard.rule, GuardRule::Slo { limit, .. } if (limit - LIMIT).abs() < 1e-12) })
        );
    }
}
