//! Random numbers that are the same on every machine: a named portable generator, and `libm` instead of the platform's
//! functions, whose last bits differ (which is also why `rand_distr` is not used).

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// What numbers are drawn for. Each purpose has a stream of its own, so that one more draw for one does not shift the
/// others: the same seed gives the same traffic whatever the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// When requests come, from which user, and their luck.
    Traffic,
    /// Delays, repeats and broken streams.
    Network,
    /// Seeds and incarnations of workers.
    Workers,
    /// When an attacker's requests come; one stream for each.
    Attacker(usize),
    /// Which side a rival sends a request to; one stream for each.
    Rival(usize),
}

impl Purpose {
    const fn number(self) -> u64 {
        match self {
            Self::Traffic => 1,
            Self::Network => 2,
            Self::Workers => 3,
            Self::Attacker(n) => 100 + n as u64,
            Self::Rival(n) => 1000 + n as u64,
        }
    }
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    generator: Xoshiro256PlusPlus,
    /// The second of a pair of normal numbers.
    spare: Option<f64>,
}

impl Draws {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let generator = Xoshiro256PlusPlus::seed_from_u64(mix(&[seed, purpose.number()]));
        Self { generator, spare: None }
    }

    /// 64 uniform bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// Uniform from 0 to 1, 1 excluded.
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// Whether something happens that has this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// Exponential with this mean: the time to the next event of a Poisson process.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// Standard normal, by Marsaglia's polar method.
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = libm::sqrt(-2.0 * libm::log(square) / square);
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }
}

/// The 53 high bits as a number from 0 to 1, 1 excluded.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A well mixed 64-bit number for some others: SplitMix64's finaliser over each (Steele, Lea & Flood 2014).
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| {
        let mut z = (sum ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_never_change() {
        // Golden values: a change here would change what every seed means.
        let mut draws = Draws::new(42, Purpose::Traffic);
        let seen = (draws.bits(), draws.normal().to_bits(), draws.exponential(3.0).to_bits());
        assert_eq!(seen, (4224765661615773778, 13790109410884691660, 4606444150978859220));
    }

    #[test]
    fn the_distributions_have_their_moments() {
        let mut draws = Draws::new(7, Purpose::Network);
        let n = 200_000;
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / f64::from(n);
        let normals: Vec<f64> = (0..n).map(|_| draws.normal()).collect();
        let square = mean(normals.iter().map(|x| x * x).collect());
        assert!(mean(normals).abs() < 0.01 && (square - 1.0).abs() < 0.02, "{square}");
        let waits = mean((0..n).map(|_| draws.exponential(5.0)).collect());
        assert!((waits - 5.0).abs() < 0.05, "{waits}");
        let hits = mean((0..n).map(|_| f64::from(u8::from(draws.chance(0.3)))).collect());
        assert!((hits - 0.3).abs() < 0.005, "{hits}");
    }
}
