//! Everything that one run of `bench judge` finds.

use serde::Serialize;

use super::contest::{ENTRANTS, End, Load, Rates, from_the_start, later};
use super::cost::{Cost, costs};
use super::exact::{abort, certificate};
use super::product::{ALPHA, ALPHA_CERTIFY, FLOOR, LIMIT, MARGIN, wald_bound};
use super::restarts::{Mean, requests_to_abort};
use crate::machine::Machine;
use crate::parallel;

/// The multiple of Wald's bound that is to be kept, and up to which failure rate.
pub const GOAL: f64 = 1.45;
/// See [`GOAL`].
pub const GOAL_UP_TO: f64 = 0.1;

const FAULTS: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
const WITHIN_OBJECTIVE: [f64; 6] = [0.01, 0.0095, 0.009, 0.008, 0.005, 0.001];
const CERTIFIED: [f64; 7] = [0.0, 0.0001, 0.001, 0.002, 0.003, 0.005, 0.008];
const NOT_TO_CERTIFY: [f64; 4] = [0.01, 0.012, 0.015, 0.02];
/// Faults of the contest, and what the primary fails in it.
pub const CONTEST_FAULTS: [f64; 4] = [0.02, 0.05, 0.2, 1.0];
const PRIMARY: f64 = 0.001;
/// The contest's traffic.
pub const LOADS: [Load; 3] = [
    Load { per_second: 1000, weight: 0.1 },
    Load { per_second: 100, weight: 0.1 },
    Load { per_second: 20, weight: 0.05 },
];
/// Failure rates of a healthy canary and its primary.
pub const HEALTHY: [f64; 3] = [0.001, 0.005, 0.009];

const HORIZON: u64 = 1_000_000;
/// Ticks: ten minutes of health, thirty minutes of a release.
const TEN_MINUTES: u32 = 6_000;
const HALF_AN_HOUR: u32 = 18_000;

/// Requests until an abort.
#[derive(Clone, Debug, Serialize)]
pub struct ToAbort {
    /// The canary's failure rate.
    pub rate: f64,
    /// Wald's bound, in requests.
    pub bound: f64,
    /// Mean requests without restarts, exactly.
    pub from_start: f64,
    /// That in multiples of the bound.
    pub from_start_multiple: f64,
    /// Mean requests with paid restarts, as the product tests.
    pub restarts: Mean,
    /// That in multiples of the bound.
    pub restarts_multiple: f64,
}

/// Requests until a certificate, or how often there is one that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct ToCertify {
    /// The canary's failure rate.
    pub rate: f64,
    /// The certificate's bound on being wrong.
    pub alpha: f64,
    /// Mean requests, exactly.
    pub requests: f64,
    /// That in multiples of Wald's bound.
    pub multiple: f64,
}

/// A probability at some failure rate, within a million requests.
#[derive(Clone, Debug, Serialize)]
pub struct Erring {
    /// The canary's failure rate.
    pub rate: f64,
    /// The probability of a false abort, or of a wrong certificate.
    pub probability: f64,
}

/// How one entrant did with one fault.
#[derive(Clone, Debug, Serialize)]
pub struct Result {
    /// Who.
    pub name: &'static str,
    /// The canary's failure rate.
    pub fault: f64,
    /// Mean time to the abort, in seconds; over the runs that ended in one.
    pub seconds: f64,
    /// What 95 of 100 aborts do not take longer than.
    pub seconds_p95: f64,
    /// Mean bad answers that the canary's users got meanwhile.
    pub bad: f64,
    /// Share of runs aborted before there was a fault.
    pub too_early: f64,
    /// Share of runs without any abort in the time simulated.
    pub never: f64,
}

/// How often one entrant aborts where it should not, in half an hour.
#[derive(Clone, Debug, Serialize)]
pub struct FalseAborts {
    /// Who.
    pub name: &'static str,
    /// Requests a second.
    pub per_second: u64,
    /// The canary's share.
    pub weight: f64,
    /// Failure rates of canary and primary.
    pub canary: f64,
    /// See `canary`.
    pub primary: f64,
    /// Share of releases aborted.
    pub share: f64,
    /// How many were simulated.
    pub runs: usize,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Every random number follows from it.
    pub seed: u64,
    /// Releases simulated for each figure of the contest.
    pub runs: usize,
    /// Where it was measured; only the costs depend on it.
    pub machine: Machine,
    /// The greatest multiple of Wald's bound that is wanted, up to a failure rate of [`GOAL_UP_TO`].
    pub goal: f64,
    /// Whether the test keeps it from the start: [`ToAbort::from_start_multiple`], which is exact.
    pub is_goal_met: bool,
    /// Whether it does with paid restarts too, which buy late faults with a little time at the start.
    pub is_goal_met_with_restarts: bool,
    /// Requests to abort.
    pub to_abort: Vec<ToAbort>,
    /// False aborts at the limit and below, without restarts.
    pub false_abort: Vec<Erring>,
    /// Requests to certify.
    pub to_certify: Vec<ToCertify>,
    /// Certificates for a canary at the limit and above.
    pub wrong_certificate: Vec<Erring>,
    /// A fault from the start.
    pub from_the_start: Vec<Result>,
    /// A fault after ten minutes of health.
    pub later: Vec<Result>,
    /// Healthy canaries, and such exactly at a guard's boundary.
    pub false_aborts: Vec<FalseAborts>,
    /// What one update takes.
    pub cost: Vec<Cost>,
}

impl Findings {
    /// Simulates and measures; `say` gets the name of each part as it begins.
    #[must_use]
    pub fn gather(runs: usize, seed: u64, say: impl Fn(&str)) -> Self {
        say("requests to abort and to certify");
        let to_abort: Vec<ToAbort> = FAULTS.iter().map(|rate| to_abort(*rate, runs * 50, seed)).collect();
        let to_certify = [ALPHA_CERTIFY, ALPHA].map(|alpha| CERTIFIED.map(|rate| to_certify(rate, alpha))).concat();
        let erring = |rates: &[f64], of: fn(f64) -> f64| {
            let all = parallel::each(rates.len(), |n| rates.get(n).map(|rate| (*rate, of(*rate))));
            all.into_iter().flatten().map(|(rate, probability)| Erring { rate, probability }).collect()
        };
        say("false aborts and wrong certificates in a million requests");
        let false_abort = erring(&WITHIN_OBJECTIVE, |rate| abort(rate, HORIZON).probability);
        let certified = |rate| certificate(rate, ALPHA_CERTIFY, HORIZON).probability;
        let wrong_certificate = erring(&NOT_TO_CERTIFY, certified);
        say("the contest: a fault from the start, a fault after ten minutes");
        let (from_the_start, later) = (contest(runs, seed), contest_later(runs, seed));
        say("the contest: half an hour without a fault");
        let false_aborts = false_aborts(runs, seed);
        say("the cost of an update");
        let within = |multiple: fn(&ToAbort) -> f64| {
            to_abort.iter().filter(|row| row.rate <= GOAL_UP_TO).all(|row| multiple(row) <= GOAL)
        };
        let is_goal_met = within(|row| row.from_start_multiple);
        let is_goal_met_with_restarts = within(|row| row.restarts_multiple);
        let (machine, cost) = (Machine::this(), costs());
        Self {
            seed,
            runs,
            machine,
            goal: GOAL,
            is_goal_met,
            is_goal_met_with_restarts,
            to_abort,
            false_abort,
            to_certify,
            wrong_certificate,
            from_the_start,
            later,
            false_aborts,
            cost,
        }
    }
}

fn to_abort(rate: f64, runs: usize, seed: u64) -> ToAbort {
    let bound = wald_bound(rate, ALPHA);
    let from_start = abort(rate, HORIZON).requests;
    let restarts = requests_to_abort(rate, runs, seed);
    let (from_start_multiple, restarts_multiple) = (from_start / bound, restarts.mean / bound);
    ToAbort { rate, bound, from_start, from_start_multiple, restarts, restarts_multiple }
}

fn to_certify(rate: f64, alpha: f64) -> ToCertify {
    let requests = certificate(rate, alpha, HORIZON).requests;
    ToCertify { rate, alpha, requests, multiple: requests / wald_bound(rate, alpha) }
}

fn contest(runs: usize, seed: u64) -> Vec<Result> {
    let faults = CONTEST_FAULTS.iter().map(|fault| {
        let rates = Rates { canary: *fault, primary: PRIMARY };
        results(*fault, &from_the_start(LOADS[0], rates, HALF_AN_HOUR, runs, seed))
    });
    faults.flatten().collect()
}

fn contest_later(runs: usize, seed: u64) -> Vec<Result> {
    let ends = later(LOADS[0], PRIMARY, &CONTEST_FAULTS, [TEN_MINUTES, HALF_AN_HOUR], runs, seed);
    CONTEST_FAULTS.iter().zip(&ends).flat_map(|(fault, ends)| results(*fault, ends)).collect()
}

fn results(fault: f64, ends: &[Vec<End>]) -> Vec<Result> {
    let result = |name, ends: &Vec<End>| {
        let mut aborts: Vec<(u32, u64)> = ends
            .iter()
            .filter_map(|end| if let End::Aborted(ticks, bad) = end { Some((*ticks, *bad)) } else { None })
            .collect();
        aborts.sort_unstable();
        let mean = |of: fn(&(u32, u64)) -> f64| aborts.iter().map(of).sum::<f64>() / aborts.len() as f64;
        let share = |of: End| ends.iter().filter(|end| **end == of).count() as f64 / ends.len() as f64;
        let slow = aborts.get((aborts.len() * 95).div_ceil(100).saturating_sub(1));
        Result {
            name,
            fault,
            seconds: mean(|(ticks, _)| f64::from(*ticks) / 10.0),
            seconds_p95: slow.map_or(f64::NAN, |(ticks, _)| f64::from(*ticks) / 10.0),
            bad: mean(|(_, bad)| *bad as f64),
            too_early: share(End::TooEarly),
            never: share(End::Never),
        }
    };
    ENTRANTS.iter().zip(ends).map(|(entrant, ends)| result(entrant.name, ends)).collect()
}

/// Healthy canaries under all loads; then those exactly at the boundary of the absolute guard, and of the comparison.
fn false_aborts(runs: usize, seed: u64) -> Vec<FalseAborts> {
    let same = |rate| Rates { canary: rate, primary: rate };
    let healthy = LOADS.iter().flat_map(|load| HEALTHY.map(|rate| (*load, same(rate))));
    let at_floor = FLOOR * MARGIN;
    let boundaries = [same(LIMIT), Rates { canary: at_floor, primary: at_floor / MARGIN }];
    let all: Vec<(Load, Rates)> = healthy.chain(boundaries.map(|rates| (LOADS[0], rates))).collect();
    let of = |(load, rates): &(Load, Rates)| {
        let (load, rates) = (*load, *rates);
        let ends = from_the_start(load, rates, HALF_AN_HOUR, runs, seed);
        let row = move |(name, ends): (&'static str, Vec<End>)| FalseAborts {
            name,
            per_second: load.per_second,
            weight: load.weight,
            canary: rates.canary,
            primary: rates.primary,
            share: ends.iter().filter(|end| **end != End::Never).count() as f64 / ends.len() as f64,
            runs,
        };
        ENTRANTS.iter().map(|entrant| entrant.name).zip(ends).map(row).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}
