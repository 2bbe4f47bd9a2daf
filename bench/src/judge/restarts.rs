//! Expected requests to abort with paid restarts, as the product tests: its state is the whole path, so by simulation,
//! one request at a time.

use rollout::statistics::mixture::{G8, Wealth};
use serde::Serialize;

use crate::parallel;

use super::draws::{Chance, stream};
use super::product::{ALPHA, LIMIT, ln_ratios};

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Of all runs.
    pub mean: f64,
    /// What another seed would differ by.
    pub standard_error: f64,
}

impl Mean {
    /// Of at least two samples.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, standard_error: (variance / count).sqrt() }
    }
}

/// Requests until a canary that fails at `rate` (above the limit) is aborted.
#[must_use]
pub fn requests_to_abort(rate: f64, runs: usize, seed: u64) -> Mean {
    let (failure, success) = (ln_ratios(1, 1, LIMIT), ln_ratios(1, 0, LIMIT));
    let needed = -libm::log(ALPHA);
    let requests = parallel::each(runs, |run| {
        let (mut draws, chance) = (stream(seed, run), Chance::new(rate));
        let mut wealth = Wealth::default();
        for requests in 1u64.. {
            wealth.stake(&wealth.due(false));
            let has_failed = chance.happens(&mut draws);
            wealth.bet(if has_failed { &failure } else { &success });
            // A success never raises the evidence.
            if has_failed && wealth.ln_e(&G8) >= needed {
                return requests as f64;
            }
        }
        f64::NAN
    });
    Mean::of(&requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_failure_takes_the_fewest_requests() {
        let total = requests_to_abort(1.0, 10, 1);
        assert!((total.mean - 2.0).abs() < 1e-12 && total.standard_error == 0.0, "{total:?}");
        assert!(requests_to_abort(0.2, 100, 1).mean > 5.0);
    }
}
