//! Anytime-valid bounds, for display and for explaining a decision.

use crate::statistics::mixture::{G8, PerAlternative, SRM_GRID, ln_sum_exp};

/// Bisection steps: more than f64 can tell apart.
const STEPS: u32 = 200;

/// Guard-consistent one-sided bounds on a rate: the lower is above a limit exactly when the guard on that limit rejects,
/// the upper below it exactly when certification succeeds. Each is anytime-valid at `alpha`.
pub fn guard_bounds(events: u64, trials: u64, alpha: f64) -> (f64, f64) {
    let needed = -libm::log(alpha);
    let (events, trials) = (events as f64, trials as f64);
    // G8 falls in p for a fixed count of events, and its mirror rises.
    let rejects = |p: f64| G8.ln_e(events, trials, p) >= needed;
    let certifies = |p: f64| G8.ln_e(trials - events, trials, 1.0 - p) >= needed;
    (last_true(rejects), 1.0 - last_true(|q| certifies(1.0 - q)))
}

/// The greatest p in [0, 1] up to which `holds`, for a predicate that holds on an interval from 0; 0 if it never does.
fn last_true(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

/// Two-sided confidence sequence of a rate with a Beta(1/2, 1/2) prior (Robbins 1970, Howard et al. 2021): for charts.
pub fn confidence_sequence(events: u64, trials: u64, alpha: f64) -> (f64, f64) {
    let (events, others) = (events as f64, trials.saturating_sub(events) as f64);
    if trials == 0 {
        return (0.0, 1.0);
    }
    let needed = -libm::log(alpha);
    let inside = |p: f64| ln_beta_mixture(0.5, 0.5, events, others, p) < needed;
    let estimate = events / (events + others);
    let edge = |mut out: f64, mut within: f64| {
        for _ in 0..STEPS {
            let middle = f64::midpoint(out, within);
            if inside(middle) { within = middle } else { out = middle }
        }
        within
    };
    let low = if events == 0.0 { 0.0 } else { edge(0.0, estimate) };
    let high = if others == 0.0 { 1.0 } else { edge(1.0, estimate) };
    (low, high)
}

/// ln e-value of "the rate is `p`" against a Beta(a, b) mixture, two-sided.
pub fn ln_beta_mixture(a: f64, b: f64, events: f64, others: f64, p: f64) -> f64 {
    let term = |count: f64, ln: f64| if count == 0.0 { 0.0 } else { count * ln };
    ln_beta(a + events, b + others) - ln_beta(a, b) - term(events, libm::log(p)) - term(others, libm::log1p(-p))
}

/// ln e-value of a sample ratio mismatch: the canary's share is not within `tolerance` (relative) of the weight. Each epoch
/// brings its canary requests, all requests, and weight (0 to 1); their likelihood ratios multiply.
pub fn sample_ratio(epochs: impl Iterator<Item = (u64, u64, f64)>, tolerance: f64) -> f64 {
    let (mut up, mut down) = (PerAlternative::default(), PerAlternative::default());
    for (canary, all, weight) in epochs {
        let (canary, all) = (canary as f64, all as f64);
        let (most, least) = (weight * (1.0 + tolerance), weight * (1.0 - tolerance));
        // At the ends there is no room for a deviation, hence nothing to test.
        if weight > 0.0 && most < 1.0 {
            add(&mut up, &SRM_GRID.ln_ratios_of(canary, all, most));
            add(&mut down, &SRM_GRID.ln_ratios_of(all - canary, all, 1.0 - least));
        }
    }
    ln_sum_exp(&[SRM_GRID.ln_mixture(&up), SRM_GRID.ln_mixture(&down)]) - std::f64::consts::LN_2
}

fn add(sum: &mut PerAlternative, more: &PerAlternative) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The same without tolerance and for any number of versions (Lindon & Malek 2022): shares `theta` against `counts`, with
/// concentration `kappa`. Only for exact splits: at billions of requests it finds hash rounding.
pub fn sample_ratio_exact(theta: &[f64], counts: &[u64], kappa: f64) -> f64 {
    let prior: Vec<f64> = theta.iter().map(|share| share * kappa).collect();
    let posterior: Vec<f64> = prior.iter().zip(counts).map(|(prior, count)| prior + *count as f64).collect();
    let likelihood: f64 = theta.iter().zip(counts).map(|(share, count)| *count as f64 * libm::log(*share)).sum();
    ln_dirichlet(&posterior) - ln_dirichlet(&prior) - likelihood
}

/// ln of the multivariate beta function, as a chain of betas so that no great logarithms cancel.
fn ln_dirichlet(alphas: &[f64]) -> f64 {
    let Some((first, rest)) = alphas.split_first() else { return 0.0 };
    if rest.is_empty() {
        return 0.0;
    }
    ln_beta(*first, rest.iter().sum()) + ln_dirichlet(rest)
}

/// ln B(a, b) with Stirling's correction for great arguments: differences of `lgamma` lose 1e-2 at 1e12 (as R's lbeta).
fn ln_beta(a: f64, b: f64) -> f64 {
    const LN_SQRT_2_PI: f64 = 0.918_938_533_204_672_8;
    const GREAT: f64 = 10.0;
    let (small, great) = if a < b { (a, b) } else { (b, a) };
    let share = small / (small + great);
    if small >= GREAT {
        let correction = stirling(small) + stirling(great) - stirling(small + great);
        return LN_SQRT_2_PI - 0.5 * libm::log(great)
            + correction
            + (small - 0.5) * libm::log(share)
            + great * libm::log1p(-share);
    }
    if great >= GREAT {
        let correction = stirling(great) - stirling(small + great);
        return libm::lgamma(small) + correction + small - small * libm::log(small + great)
            + (great - 0.5) * libm::log1p(-share);
    }
    libm::lgamma(small) + libm::lgamma(great) - libm::lgamma(small + great)
}

/// ln Gamma(x) minus Stirling's formula, for x >= 10 (Abramowitz & Stegun 6.1.41).
fn stirling(x: f64) -> f64 {
    let y = 1.0 / (x * x);
    let series = 1.0 / 12.0
        - y * (1.0 / 360.0
            - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y * (1.0 / 1188.0 - y * (691.0 / 360_360.0 - y / 156.0)))));
    series / x
}
