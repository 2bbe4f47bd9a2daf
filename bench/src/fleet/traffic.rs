//! The users of simulated proxies: when their requests come, how long those take, which of them fail. All of it from a seed.

use fastrand::Rng;
use rollout::base::time::Micros;

/// The least that an answer takes.
const LEAST: Micros = Micros(5_000);
/// How much more it takes on average.
const MEAN_US: f64 = 20_000.0;
/// The most: well below the limit of latency, so that a healthy version is healthy.
const MOST: Micros = Micros(400_000);

/// Draws for the workers of one thread.
pub(super) struct Users {
    draws: Rng,
    gap_us: f64,
}

impl Users {
    /// Users who send each worker `rate` requests per second.
    pub(super) fn new(seed: u64, rate: f64) -> Self {
        Self { draws: Rng::with_seed(seed), gap_us: 1e6 / rate }
    }

    /// When the next request comes after one at `now`: they know nothing of each other.
    pub(super) fn next(&mut self, now: Micros) -> Micros {
        Micros(now.0 + (self.exponential() * self.gap_us) as u64)
    }

    /// How long an answer takes.
    pub(super) fn latency(&mut self) -> Micros {
        Micros((LEAST.0 + (self.exponential() * MEAN_US) as u64).min(MOST.0))
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.draws.f64() < probability
    }

    /// A moment within a span, evenly drawn, never its beginning.
    pub(super) fn within(&mut self, span: Micros) -> Micros {
        Micros(self.draws.u64(0..span.0.max(1)) + 1)
    }

    /// Sixty-four random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.draws.u64(..)
    }

    /// With mean 1.
    fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.draws.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_at_the_rate_that_was_asked_for_and_a_seed_says_when() {
        let arrivals = |seed| {
            let mut users = Users::new(seed, 10.0);
            let mut at = Micros(0);
            (0..10_000)
                .map(|_| {
                    at = users.next(at);
                    at.0
                })
                .last()
        };
        let last_s = arrivals(7).unwrap() as f64 / 1e6;
        assert!((970.0..1_030.0).contains(&last_s), "{last_s}");
        assert_eq!(arrivals(7), arrivals(7));
        assert_ne!(arrivals(7), arrivals(8));
    }

    #[test]
    fn no_answer_of_a_healthy_version_is_slow() {
        let mut users = Users::new(1, 1.0);
        assert!((0..100_000).map(|_| users.latency()).all(|latency| (LEAST..=MOST).contains(&latency)));
        assert!(!users.happens(0.0) && users.happens(1.0));
        assert!((1..=9).contains(&users.within(Micros(9)).0));
    }
}
