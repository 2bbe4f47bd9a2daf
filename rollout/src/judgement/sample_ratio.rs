//! Sample ratio: whether the canary gets the share that the weight says, where the choice is made for each request.
//!
//! Each epoch is a stream of trials with its own weight; their likelihood ratios multiply, so one test holds over the whole
//! release (docs/statistics.md, section 5). Requests are counted when they are placed, so nothing is pending here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judgement::guard_rule::GuardAction;
use crate::routing::table::{Epoch, WeightPpm};
use crate::statistics::boundary::Allocation;
use crate::statistics::confidence::sample_ratio;

/// What is asked of the share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleRatio {
    /// How far off the share may be, relative to the weight: 0.05 lets 10 % be 9.5 to 10.5 %.
    pub tolerance: f64,
    /// The bound on a false alarm over the whole release; not part of the guards' alpha.
    pub alpha: f64,
    /// What follows when it is further off.
    pub action: GuardAction,
}

/// What the weight placed, by epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio(BTreeMap<Epoch, Placed>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    weight: WeightPpm,
    /// Whether users, not requests, are drawn.
    is_sticky: bool,
    canary: u64,
    all: u64,
}

/// What is known of the share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatioFinding {
    /// The canary's requests among those that the weight placed in this release.
    pub canary: u64,
    /// How many it should have had.
    pub expected: f64,
    /// All that the weight placed.
    pub all: u64,
    /// ln e-value that the share is further off than the tolerance.
    pub ln_e: f64,
    /// ln of what it must reach: ln(1/alpha).
    pub ln_needed: f64,
    /// What follows.
    pub action: GuardAction,
}

impl RatioFinding {
    /// Whether the share is wrong.
    pub fn is_tripped(&self) -> bool {
        self.ln_e >= self.ln_needed
    }
}

impl Ratio {
    /// An entry was issued with this weight; with `is_sticky` it draws users, not requests.
    pub fn weigh(&mut self, epoch: Epoch, weight: WeightPpm, is_sticky: bool) {
        self.0.entry(epoch).or_insert(Placed { weight, is_sticky, canary: 0, all: 0 });
    }

    /// How the requests under an epoch are divided; `None` where no draw gives the canary any.
    pub fn split(&self, epoch: Epoch) -> Option<Allocation> {
        let placed = self.0.get(&epoch).filter(|placed| placed.weight > WeightPpm::ZERO)?;
        Some(Allocation { weight: placed.weight.percent() / 100.0, is_drawn: !placed.is_sticky })
    }

    /// The weight under an epoch, if it had one.
    pub fn weight(&self, epoch: Epoch) -> Option<WeightPpm> {
        self.0.get(&epoch).map(|placed| placed.weight)
    }

    /// Requests were placed under an epoch; of one that was never issued with a weight nothing is known.
    pub fn place(&mut self, epoch: Epoch, is_canary: bool, count: u64) {
        if let Some(placed) = self.0.get_mut(&epoch) {
            placed.all = placed.all.saturating_add(count);
            placed.canary = placed.canary.saturating_add(if is_canary { count } else { 0 });
        }
    }

    /// What the counts say.
    pub fn check_sample_ratio(&self, rule: &SampleRatio) -> RatioFinding {
        let share = |placed: &Placed| placed.weight.percent() / 100.0;
        let epochs = self.0.values().map(|placed| (placed.canary, placed.all, share(placed)));
        RatioFinding {
            canary: self.0.values().map(|placed| placed.canary).sum(),
            expected: self.0.values().map(|placed| share(placed) * placed.all as f64).sum(),
            all: self.0.values().map(|placed| placed.all).sum(),
            ln_e: sample_ratio(epochs, rule.tolerance),
            ln_needed: -libm::log(rule.alpha),
            action: rule.action,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SampleRatio = SampleRatio { tolerance: 0.05, alpha: 0.001, action: GuardAction::Pause };

    fn found(epochs: &[(u32, u64, u64)]) -> RatioFinding {
        let mut ratio = Ratio::default();
        for (epoch, (percent, canary, all)) in (1..).zip(epochs) {
            ratio.weigh(Epoch(epoch), WeightPpm::new(percent * 10_000).unwrap(), false);
            ratio.place(Epoch(epoch), true, *canary);
            ratio.place(Epoch(epoch), false, all - canary);
        }
        ratio.check_sample_ratio(&RULE)
    }

    #[test]
    fn one_epoch_is_the_formula_of_the_vectors() {
        let found = found(&[(10, 130, 1000)]);
        assert!((found.ln_e - sample_ratio([(130, 1000, 0.1)].into_iter(), 0.05)).abs() < 1e-12);
        assert!((found.expected - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_share_of_half_the_weight_is_found_and_a_right_one_is_not() {
        assert!(found(&[(10, 40, 800)]).is_tripped());
        assert!(!found(&[(10, 100_000, 1_000_000)]).is_tripped());
        assert!(!found(&[(10, 104_000, 1_000_000)]).is_tripped(), "within the tolerance");
    }

    #[test]
    fn epochs_add_up_and_the_whole_says_nothing() {
        let one = (20, 130, 500);
        assert!(!found(&[one]).is_tripped() && found(&[one, one, one, one]).is_tripped());
        assert!(found(&[(100, 5, 1000)]).ln_e.abs() < 1e-12, "there is no room above the whole");
    }

    #[test]
    fn what_was_placed_under_an_epoch_of_another_time_is_left_out() {
        let mut ratio = Ratio::default();
        ratio.place(Epoch(9), true, 1000);
        assert_eq!(ratio.check_sample_ratio(&RULE).all, 0);
    }
}
