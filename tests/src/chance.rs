//! Chance in tests: seeds that are printed, and exact bounds for what is random by nature.

/// A generator for this test's random choices. Its seed is printed, and `SERIN_TEST_SEED` repeats a run's choices.
#[must_use]
pub fn dice(test: &str) -> fastrand::Rng {
    let given = std::env::var("SERIN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: SERIN_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// How likely `hits` among `n` independent trials of probability `p` are, or anything further out on the same side:
/// twice the exact binomial tail, at most 1.
#[must_use]
pub fn two_sided(n: u64, hits: u64, p: f64) -> f64 {
    let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
    // ln of the chance of exactly k hits, k = 0, 1, ...: each follows from the one before.
    let mut ln_chance = n as f64 * ln_q;
    let (mut at_most, mut at_least) = (0.0, 0.0);
    for k in 0..=n {
        let chance = ln_chance.exp();
        at_most += if k <= hits { chance } else { 0.0 };
        at_least += if k >= hits { chance } else { 0.0 };
        ln_chance += ((n - k) as f64 / (k + 1) as f64).ln() + ln_p - ln_q;
    }
    (2.0_f64 * f64::min(at_most, at_least)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_textbook() {
        // 8 of 10 fair coins: (45 + 10 + 1) / 1024 on each side.
        assert!((two_sided(10, 8, 0.5) - 2.0 * 56.0 / 1024.0).abs() < 1e-12);
        assert!((two_sided(10, 2, 0.5) - 2.0 * 56.0 / 1024.0).abs() < 1e-12);
        assert!((two_sided(10, 5, 0.5) - 1.0).abs() < 1e-12);
        assert!((two_sided(3, 0, 0.1) - 1.0).abs() < 1e-12);
        // Far from the mean of 6000 (standard deviation 65), and near it.
        assert!(two_sided(20_000, 6_330, 0.3) < 1e-6 && two_sided(20_000, 5_670, 0.3) < 1e-6);
        assert!(two_sided(20_000, 6_100, 0.3) > 0.1);
    }
}
