//! What makes the guards trustworthy: the mean of every e-value is at most 1 where the null hypothesis is true.
//!
//! By exact enumeration of all outcomes for small numbers of requests, restarts included; no simulation, no luck.

#![cfg(test)]
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "means over outcomes, compared within a tolerance: no verdict depends on them"
)]

use proptest::prelude::*;
use rollout::statistics::boundary::{Boundary, Pair, Trials, certify};
use rollout::statistics::mixture::{Explained, G8, Wealth};

const ROUNDING: f64 = 1e-9;

/// Mean of exp(ln e) over all outcomes of `n` requests that fail with probability `p`, one request a batch.
fn mean_absolute(n: u32, p: f64, theta0: f64, forced: &[bool]) -> f64 {
    let mut mean = 0.0;
    for outcomes in 0u32..1 << n {
        let mut wealth = Wealth::default();
        for request in 0..n {
            let failed = u64::from(outcomes >> request & 1);
            wealth.stake(&wealth.due(forced.get(request as usize).copied().unwrap_or(false)));
            let canary = Trials { started: 1, events: failed, pending: 0 };
            let slot = Pair { canary, ..Pair::default() };
            wealth.bet(&Boundary::Absolute(theta0).ln_ratios(&slot, 1).unwrap_or(Explained::NOTHING).first);
        }
        let failures = outcomes.count_ones();
        mean += p.powi(failures as i32) * (1.0 - p).powi((n - failures) as i32) * wealth.ln_e(&G8).exp();
    }
    mean
}

fn binomial(n: u64, k: u64, p: f64) -> f64 {
    let ways = (0..k).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64);
    ways * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
}

/// The same for two slots of a comparison, with failure rates `p` of the primary and `margin * p` of the canary.
fn mean_relative(sizes: [(u64, u64); 2], rates: [f64; 2], margin: f64) -> f64 {
    let outcomes = |n: usize| {
        let ((nc, ns), p) = (sizes[n], rates[n]);
        (0..=nc)
            .flat_map(move |fc| (0..=ns).map(move |fs| (fc, fs, binomial(nc, fc, margin * p) * binomial(ns, fs, p))))
    };
    let slot = |n: usize, fc, fs| Pair {
        canary: Trials { started: sizes[n].0, events: fc, pending: 0 },
        primary: Trials { started: sizes[n].1, events: fs, pending: 0 },
        split: None,
    };
    let mut mean = 0.0;
    for (fc1, fs1, probability1) in outcomes(0) {
        let mut first = Wealth::default();
        first.stake(&first.due(false));
        first.bet(&Boundary::Relative(margin).ln_ratios(&slot(0, fc1, fs1), 1).unwrap_or(Explained::NOTHING).first);
        for (fc2, fs2, probability2) in outcomes(1) {
            let mut both = first.clone();
            both.stake(&both.due(true));
            both.bet(&Boundary::Relative(margin).ln_ratios(&slot(1, fc2, fs2), 1).unwrap_or(Explained::NOTHING).first);
            mean += probability1 * probability2 * both.ln_e(&G8).exp();
        }
    }
    mean
}

#[test]
fn at_the_boundary_the_mean_is_exactly_one() {
    for theta0 in [0.001, 0.01, 0.3, 0.9] {
        let mean = mean_absolute(10, theta0, theta0, &[]);
        assert!((mean - 1.0).abs() < ROUNDING, "{mean} at {theta0}");
    }
}

#[test]
fn above_the_boundary_it_exceeds_one() {
    // The test of the tests: were the e-value constant, all other means would be 1 as well.
    assert!(mean_absolute(10, 0.1, 0.01, &[]) > 2.0);
    assert!(mean_relative([(6, 6), (6, 6)], [0.05, 0.05], 1.0) <= 1.0 + ROUNDING);
}

#[test]
fn certifying_a_canary_at_its_limit_has_mean_one() {
    let (n, limit) = (40, 0.05);
    let of = |failures| certify(Trials { started: n, events: failures, pending: 0 }, limit, 1).exp();
    let mean: f64 = (0..=n).map(|failures| binomial(n, failures, limit) * of(failures)).sum();
    assert!((mean - 1.0).abs() < ROUNDING, "{mean}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn absolute_guards_with_any_restarts(theta0 in 1e-4f64..0.99, below in 0.0f64..=1.0, forced: [bool; 8]) {
        let mean = mean_absolute(8, theta0 * below, theta0, &forced);
        prop_assert!(mean <= 1.0 + ROUNDING, "{mean}");
    }

    #[test]
    fn relative_guards_under_any_common_rates(
        sizes in prop::array::uniform2((0u64..6, 0u64..8)), rates in prop::array::uniform2(0.0f64..0.33), margin in 1.0f64..3.0,
    ) {
        let mean = mean_relative(sizes, rates, margin);
        prop_assert!(mean <= 1.0 + ROUNDING, "{mean}");
    }

    #[test]
    fn what_is_pending_never_speaks_against_the_canary(
        nc in 1u64..50, ns in 1u64..500, fc in 0u64..50, fs in 0u64..50, late in 0u64..20, margin in 1.0f64..3.0,
    ) {
        let (fc, fs) = (fc.min(nc), fs.min(ns));
        let late = late.min(ns - fs);
        let ln_e = |slot: &Pair| G8.ln_mixture(&Boundary::Relative(margin).ln_ratios(slot, 1).unwrap_or(Explained::NOTHING).first);
        let canary = Trials { started: nc, events: fc, pending: 0 };
        let known = |events| Pair { canary, primary: Trials { started: ns, events, pending: 0 }, split: None };
        let pending = Pair { canary, primary: Trials { started: ns, events: fs, pending: late }, split: None };
        for failed_in_the_end in fs..=fs + late {
            prop_assert!(ln_e(&pending) <= ln_e(&known(failed_in_the_end)) + ROUNDING);
        }
    }

    #[test]
    fn without_restarts_order_and_batching_change_nothing(
        batches in prop::collection::vec((0u64..200, 0u64..10), 1..20), theta0 in 0.001f64..0.5,
    ) {
        let ratios = |order: &mut dyn Iterator<Item = &(u64, u64)>| {
            let mut wealth = Wealth::default();
            for (trials, events) in order {
                let canary = Trials { started: *trials, events: (*events).min(*trials), pending: 0 };
                let slot = Pair { canary, ..Pair::default() };
                wealth.bet(&Boundary::Absolute(theta0).ln_ratios(&slot, 1).unwrap_or(Explained::NOTHING).first);
            }
            wealth.ln_e(&G8)
        };
        let (forth, back) = (ratios(&mut batches.iter()), ratios(&mut batches.iter().rev()));
        prop_assert!((forth - back).abs() < 1e-6, "{forth} {back}");
    }
}
