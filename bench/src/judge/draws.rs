//! Seeded traffic: how many requests each version gets in 100 ms, and how many of them fail.

use fastrand::Rng;

/// One run's random numbers: its own stream, whichever processor runs it.
#[must_use]
pub fn stream(seed: u64, run: usize) -> Rng {
    Rng::with_seed(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add((run as u64).wrapping_mul(0xd134_2543_de82_ef95)),
    )
}

/// What the users of one release get in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// The canary's requests, and those of them that fail.
    pub canary: [u64; 2],
    /// The primary's.
    pub primary: [u64; 2],
}

/// Requests at a constant pace, each of which goes to the canary with the weight's probability.
#[derive(Clone, Debug)]
pub struct Split {
    requests: u64,
    /// P(at most k of them go to the canary).
    cumulative: Vec<f64>,
}

impl Split {
    /// This many requests a tick, and this share of them (0 to 1, both excluded) for the canary.
    #[must_use]
    pub fn new(requests: u64, weight: f64) -> Self {
        let mut term = libm::exp(requests as f64 * libm::log1p(-weight));
        let mut sum = 0.0;
        let mut cumulative = Vec::new();
        for k in 0..requests {
            sum += term;
            cumulative.push(sum);
            term *= (requests - k) as f64 / (k + 1) as f64 * weight / (1.0 - weight);
        }
        Self { requests, cumulative }
    }

    /// One tick, with both versions' failure rates.
    pub fn tick(&self, draws: &mut Rng, canary: Chance, primary: Chance) -> Tick {
        let u = draws.f64();
        let to_canary = self.cumulative.partition_point(|below| *below <= u) as u64;
        let to_primary = self.requests - to_canary;
        Tick {
            canary: [to_canary, canary.among(to_canary, draws)],
            primary: [to_primary, primary.among(to_primary, draws)],
        }
    }
}

/// A probability that is asked for often.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    probability: f64,
    /// 1 / ln(1 - probability).
    per_ln: f64,
}

impl Chance {
    /// 0 to 1.
    #[must_use]
    pub fn new(probability: f64) -> Self {
        Self { probability, per_ln: 1.0 / libm::log1p(-probability) }
    }

    /// Whether it happens.
    pub fn happens(self, draws: &mut Rng) -> bool {
        draws.f64() < self.probability
    }

    /// How often it happens in so many trials, by the gaps between.
    pub fn among(self, trials: u64, draws: &mut Rng) -> u64 {
        if self.probability >= 1.0 {
            return trials;
        }
        let (mut reached, mut events) = (0.0, 0);
        loop {
            // 1 - u is never 0.
            reached += (libm::log(1.0 - draws.f64()) * self.per_ln).floor() + 1.0;
            if reached.is_nan() || reached > trials as f64 {
                return events;
            }
            events += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_has_the_means_it_should_have() {
        let (split, mut draws) = (Split::new(100, 0.1), stream(1, 2));
        let mut sums = [0, 0, 0, 0];
        for _ in 0..10_000 {
            let tick = split.tick(&mut draws, Chance::new(0.2), Chance::new(0.01));
            let now = [tick.canary[0], tick.canary[1], tick.primary[0], tick.primary[1]];
            sums.iter_mut().zip(now).for_each(|(sum, now)| *sum += now);
        }
        // Within five standard deviations: 300, 130, 300, 95.
        for (sum, (mean, within)) in
            sums.into_iter().zip([(100_000, 1500), (20_000, 700), (900_000, 1500), (9_000, 480)])
        {
            assert!(u64::abs_diff(sum, mean) < within, "{sums:?}");
        }
        assert_eq!(Chance::new(1.0).among(7, &mut draws), 7);
        assert_eq!(Chance::new(0.0).among(1_000_000, &mut draws), 0);
    }
}
