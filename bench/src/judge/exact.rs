//! Expected requests and error rates of a test that depends on counts alone, by dynamic programming: no sampling error.
//!
//! Two integers are all its state, and it is looked at after each request. The mass of all failure counts that have not
//! been decided is carried from one request to the next.

use super::product::{aborts, certifies};

/// Mass below which a count is left out: together far less than the last digit shown.
const NEGLIGIBLE: f64 = 1e-22;

/// What becomes of a test in the long run.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// Mean number of requests until it decides, or until the horizon.
    pub requests: f64,
    /// Probability that it decides within the horizon.
    pub probability: f64,
}

/// How soon a canary that fails at `rate` is aborted, from the start, without restarts.
#[must_use]
pub fn abort(rate: f64, horizon: u64) -> Decided {
    let mut least = 1;
    walk(rate, horizon, |requests| {
        while least <= requests && !aborts(requests, least) {
            least += 1;
        }
        (0, least)
    })
}

/// How soon a canary that fails at `rate` is certified at `alpha`.
#[must_use]
pub fn certificate(rate: f64, alpha: f64, horizon: u64) -> Decided {
    let mut low = 0;
    walk(rate, horizon, |requests| {
        while low <= requests && certifies(requests, low, alpha) {
            low += 1;
        }
        (low, requests + 1)
    })
}

/// `undecided` gives, after so many requests, the least count of failures that does not decide, and the least above it that
/// does; neither ever falls.
fn walk(rate: f64, horizon: u64, mut undecided: impl FnMut(u64) -> (u64, u64)) -> Decided {
    // mass[n] is the probability of `first + n` failures so far and no decision.
    let (mut mass, mut first) = (vec![1.0], 0);
    let mut decided = Decided { requests: 0.0, probability: 0.0 };
    for requests in 1..=horizon {
        decided.requests += 1.0 - decided.probability;
        let mut before = 0.0;
        for here in &mut mass {
            let now = *here;
            *here = now * (1.0 - rate) + before * rate;
            before = now;
        }
        if before * rate > NEGLIGIBLE {
            mass.push(before * rate);
        }
        let (low, high) = undecided(requests);
        while first + mass.len() as u64 > high
            && let Some(certain) = mass.pop()
        {
            decided.probability += certain;
        }
        let below = mass.iter().enumerate().take_while(|(n, m)| first + (*n as u64) < low || **m < NEGLIGIBLE);
        let (gone, sum) =
            below.fold((0, 0.0), |(_, sum), (n, m)| (n + 1, sum + if first + (n as u64) < low { *m } else { 0.0 }));
        decided.probability += sum;
        mass.drain(..gone);
        first += gone as u64;
        if mass.is_empty() {
            break;
        }
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_tree_of_all_outcomes_finds() {
        // Two failures in at most four requests abort; a total failure is aborted by its second answer.
        let total = abort(1.0, 100);
        assert!((total.requests - 2.0).abs() < 1e-12 && (total.probability - 1.0).abs() < 1e-12);
        let p: f64 = 0.3;
        let none_or_one = |n: i32| (1.0 - p).powi(n) + f64::from(n) * p * (1.0 - p).powi(n - 1);
        let within_four = abort(p, 4);
        assert!((within_four.probability - (1.0 - none_or_one(4))).abs() < 1e-12, "{within_four:?}");
    }

    #[test]
    fn a_spotless_canary_is_certified_after_as_many_requests_as_the_table_says() {
        assert!((certificate(0.0, 0.05, 1_000).requests - 372.0).abs() < 1e-9);
        assert!((certificate(0.0, 0.01, 1_000).requests - 551.0).abs() < 1e-9);
    }
}
