//! What a count of rounds says of the true rate: the exact upper limit of Clopper and Pearson (1934).

/// The greatest rate at which at most `hits` of `rounds` have a probability of 5 %: the upper 95 % limit.
#[must_use]
pub fn upper_95(hits: u32, rounds: u32) -> f64 {
    if hits >= rounds {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if at_most(hits, rounds, middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability of at most so many hits.
fn at_most(hits: u32, rounds: u32, rate: f64) -> f64 {
    let n = f64::from(rounds);
    let ln_of = |k: f64| {
        let ways = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
        ways + k * libm::log(rate) + (n - k) * libm::log1p(-rate)
    };
    (0..=hits).map(|k| libm::exp(ln_of(f64::from(k)))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_tables() {
        // Without a hit 1 - 0.05^(1/n), in closed form.
        for rounds in [20, 200, 2_000] {
            let closed = 1.0 - libm::pow(0.05, 1.0 / f64::from(rounds));
            assert!((upper_95(0, rounds) - closed).abs() < 1e-9, "{rounds}");
        }
        assert!((upper_95(1, 10) - 0.394_163).abs() < 1e-6 && (upper_95(5, 100) - 0.102_253).abs() < 1e-6);
        assert!(upper_95(12, 2_000) < 0.01 && upper_95(13, 2_000) > 0.01, "what 2,000 rounds allow");
        assert!((upper_95(7, 7) - 1.0).abs() < 1e-12);
    }
}
