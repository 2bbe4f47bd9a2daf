//! False aborts stay below alpha under the conditions of real traffic, looked at after every report.
//!
//! By seeded Monte Carlo through the agent's own data path (`Evidence`: fold, slots, tests, guards). The canary is never
//! worse than what its guard allows. Each condition is met twice: as the product counts, which must stay below alpha; and
//! with one deliberate mistake in the counting, which must exceed it: proof that the simulation can tell.

#![cfg(test)]
#![allow(clippy::disallowed_macros, reason = "a simulation says its seed and what it found")]

mod fixture;

use fixture::draws::Draws;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::judgement::evidence::Evidence;
use rollout::judgement::guards::{EventCount, Guard, GuardAction, GuardRule, Guards};
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::plan::{Check, Metric, ThresholdRange};
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version, WeightPpm};
use rollout::worker::messages::{Incarnation, Watermark};
use rollout::worker::tally::{Counts, Failures, Slot, Stratum};

const SEED: u64 = 20_261_122;
const ALPHA: f64 = 0.01;
const RUNS: u64 = 200;
/// A run: 20 s in slots of 100 ms, with a report and a look after each.
const SLOTS: u32 = 200;

/// What a run is made of; every rate and share may change with the slot.
#[derive(Clone, Copy)]
struct Traffic {
    /// Requests of each worker in a slot.
    requests: u64,
    /// The weight's epoch and what it says, in the slots since the run began.
    weight: fn(u32) -> (u64, f64),
    /// For each of two workers: what it makes of the weight, and how many slots later it hears of it.
    workers: [(f64, u32); 2],
    /// Failure rate of both versions.
    rate: fn(u32) -> f64,
    /// Slots until the outcome is known: the canary's failures, its successes, the primary's failures.
    delays: [u32; 3],
    /// Requests of one user that fail together.
    cluster: usize,
    /// Whether those come in consecutive slots, not in one.
    spread: bool,
}

/// Ten canary requests a slot of a hundred, all known at once.
const PLAIN: Traffic = Traffic {
    requests: 50,
    weight: |_| (1, 0.1),
    workers: [(1.0, 0), (1.0, 0)],
    rate: |_| 0.01,
    delays: [0; 3],
    cluster: 1,
    spread: false,
};

/// One mistake in what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// A test for one look, taken after every report.
    OneLookTest,
    /// Slots that go on over a change of weight.
    PoolsEpochs,
    /// Requests that the weight means to be the canary's, not those that were.
    NominalShare,
    /// A request counts when it ends.
    AtCompletion,
    /// A primary request that has not ended yet has not failed.
    PendingIsGood,
    /// Failures of one user are as many events.
    NoClusters,
}

/// What becomes known of one worker's requests in one slot, and in which slot it does.
struct News {
    at: u32,
    stratum: Stratum<()>,
    counts: Counts,
}

/// Runs in which the guards trip.
fn aborts(name: &str, rule: GuardRule, max_cluster: u32, traffic: Traffic, mistake: Mistake) -> u64 {
    let max_cluster = if mistake == Mistake::NoClusters { 1 } else { max_cluster };
    let guards = guards(rule, max_cluster);
    let mut draws = Draws(SEED);
    let aborts = (0..RUNS).filter(|_| is_aborted(&guards, traffic, mistake, &mut draws)).count() as u64;
    println!("seed {SEED}: {name}, {mistake:?}: {aborts} of {RUNS} aborted, {} tolerated", tolerated());
    aborts
}

/// The condition must be met as the product counts, and not met with the mistake.
fn holds(name: &str, rule: GuardRule, max_cluster: u32, traffic: Traffic, mistake: Mistake) {
    let right = aborts(name, rule, max_cluster, traffic, Mistake::None);
    assert!(right <= tolerated(), "{name}: {right} of {RUNS}");
    let wrong = aborts(name, rule, max_cluster, traffic, mistake);
    assert!(wrong > tolerated(), "{name}: the simulation cannot tell {mistake:?}: {wrong} of {RUNS}");
}

#[test]
fn at_the_boundary_under_peeking_at_every_report() {
    holds("boundary", slo(0.01), 1, PLAIN, Mistake::OneLookTest);
}

#[test]
fn shared_incidents_while_the_weight_rises() {
    // Both versions fail together, most while the canary has most traffic; one worker hears of each step half a second late.
    let weight = |slot| match slot / 50 {
        0 => (1, 0.01),
        1 => (2, 0.05),
        2 => (3, 0.25),
        _ => (4, 0.5),
    };
    let rate = |slot| match slot {
        100..150 => 0.1,
        _ if slot % 50 >= 40 => 0.03,
        _ => 0.002,
    };
    let workers = [(1.0, 0), (1.0, 5)];
    holds("incidents and ramp", REGRESSION, 1, Traffic { weight, rate, workers, ..PLAIN }, Mistake::PoolsEpochs);
}

#[test]
fn a_router_that_does_not_do_what_the_weight_says() {
    // 1.3 times the weight in all, and not the same in both workers.
    let traffic = Traffic { workers: [(1.5, 0), (1.1, 0)], rate: |_| 0.05, ..PLAIN };
    holds("skew", REGRESSION, 1, traffic, Mistake::NominalShare);
}

#[test]
fn successes_that_take_longer_than_failures() {
    let traffic = Traffic { rate: |_| 0.009, delays: [0, 20, 0], ..PLAIN };
    holds("slow successes", slo(0.01), 1, traffic, Mistake::AtCompletion);
}

#[test]
fn a_canary_that_fails_fast_while_the_primary_times_out() {
    let rate = |slot| if slot % 100 < 40 { 0.05 } else { 0.001 };
    let traffic = Traffic { rate, delays: [0, 0, 20], ..PLAIN };
    holds("slow failures of the primary", REGRESSION, 1, traffic, Mistake::PendingIsGood);
}

#[test]
fn heavy_users_under_stickiness() {
    let success = Check {
        name: "request-success-rate".to_owned(),
        metric: Metric::SuccessRate,
        window: Millis::from_secs(60),
        range: ThresholdRange { min: Some(99.0), max: None },
    };
    let max_cluster =
        guards_of(&[success], true, &GuardSettings::all(Some(GuardAction::Abort), GuardAction::Pause)).max_cluster;
    let traffic = Traffic { cluster: max_cluster as usize, ..PLAIN };
    holds("heavy users", slo(0.01), max_cluster, traffic, Mistake::NoClusters);
    let traffic = Traffic { rate: |_| 0.05, spread: true, ..traffic };
    holds("heavy users over several slots, compared", REGRESSION, max_cluster, traffic, Mistake::NoClusters);
}

#[test]
fn what_is_really_worse_is_found_in_all_of_them() {
    let bad = Traffic { rate: |_| 0.04, delays: [0, 20, 20], cluster: 3, workers: [(1.5, 0), (1.1, 3)], ..PLAIN };
    let found = aborts("four times the limit", slo(0.01), 3, bad, Mistake::None);
    assert!(found > RUNS * 9 / 10, "{found} of {RUNS}");
}

const fn slo(limit: f64) -> GuardRule {
    GuardRule::Slo { limit, unless_primary_also: false }
}

/// As bad as the primary is allowed, however little both fail.
const REGRESSION: GuardRule = GuardRule::Regression { margin: 1.0, floor_rate: 0.000_001 };

/// The one place that knows what guards are made of.
fn guards(rule: GuardRule, max_cluster: u32) -> Guards {
    Guards { guards: vec![Guard { rule, action: GuardAction::Abort }], alpha: ALPHA, max_cluster, sample_ratio: None }
}

/// The greatest number of aborts in [`RUNS`] that chance reaches with probability above 1e-4 when each has [`ALPHA`]: the
/// binomial tolerance of all these tests.
fn tolerated() -> u64 {
    (0..RUNS).take_while(|count| at_least(*count, RUNS, ALPHA) > 1e-4).last().unwrap_or(0)
}

/// The probability of so many events or more among `trials`.
fn at_least(events: u64, trials: u64, probability: f64) -> f64 {
    let mut term = libm::exp(trials as f64 * libm::log1p(-probability));
    let mut fewer = 0.0;
    for count in 0..events {
        fewer += term;
        term *= (trials - count) as f64 / (count + 1) as f64 * probability / (1.0 - probability);
    }
    1.0 - fewer
}

fn is_aborted(guards: &Guards, traffic: Traffic, mistake: Mistake, draws: &mut Draws) -> bool {
    let mut evidence = Evidence::default();
    evidence.begin_release(Epoch(1), Millis(1_000), guards);
    for (epoch, weight) in (0..SLOTS).map(traffic.weight) {
        evidence.weigh(Epoch(epoch), WeightPpm::new((weight * 1e6) as u32).unwrap(), false);
    }
    let mut news: Vec<News> = Vec::new();
    let mut failing = Failing::default();
    for now in 0..SLOTS {
        for worker in 0..traffic.workers.len() {
            let more = requests(traffic, worker, now, mistake, &mut failing, draws);
            news.extend(more.into_iter().filter(|news| news.counts != Counts::default()));
        }
        let (known, later) = news.into_iter().partition(|news: &News| news.at <= now);
        news = later;
        known.into_iter().for_each(|news: News| evidence.fold(&news.stratum, &news.counts, at(now)));
        for (worker, (_, lag)) in traffic.workers.iter().enumerate() {
            let (epoch, slot) = place((traffic.weight)(now.saturating_sub(*lag)).0, now + 1, mistake);
            let canary = CanaryId::new("prod", "web").unwrap();
            let watermark = Watermark { canary, epoch: Epoch(epoch), slot: Slot(slot) };
            evidence.watermark(Incarnation(worker as u64), &watermark, at(now));
        }
        let verdict = evidence.look(guards, at(now)).unwrap();
        let EventCount { events, trials } = verdict.findings[0].canary;
        let is_aborted = match mistake {
            Mistake::OneLookTest => at_least(events, trials, (traffic.rate)(now)) <= ALPHA,
            _ => verdict.tripped.is_some(),
        };
        if is_aborted {
            return true;
        }
    }
    false
}

const fn at(slot: u32) -> Millis {
    Millis(slot as u64 * 100)
}

const fn place(epoch: u64, slot: u32, mistake: Mistake) -> (u64, u32) {
    match mistake {
        Mistake::PoolsEpochs => (1, slot / 150),
        _ => (epoch, slot),
    }
}

/// Failures still to come of users whose first has come: by worker and version, for the next slots.
type Failing = [[[u64; 4]; 2]; 2];

/// All that will be known of the requests that one worker gets in a slot.
fn requests(
    traffic: Traffic,
    worker: usize,
    now: u32,
    mistake: Mistake,
    failing: &mut Failing,
    draws: &mut Draws,
) -> Vec<News> {
    let (skew, lag) = traffic.workers[worker];
    let (epoch, weight) = (traffic.weight)(now.saturating_sub(lag));
    let canary = draws.binomial(traffic.requests, weight * skew);
    let nominal = (weight * traffic.requests as f64) as u64;
    let mut news = Vec::new();
    for (version, real, nominal) in
        [(Version::Canary, canary, nominal), (Version::Primary, traffic.requests - canary, traffic.requests - nominal)]
    {
        let to_come = &mut failing[worker][version as usize];
        let failed = failures(traffic, real, (traffic.rate)(now), to_come, draws);
        let started = if mistake == Mistake::NominalShare { nominal.max(failed) } else { real };
        news.extend(of_version(traffic, (epoch, now), version, [started, failed], mistake));
    }
    news
}

/// How many of `started` requests fail in this slot.
fn failures(traffic: Traffic, started: u64, rate: f64, to_come: &mut [u64; 4], draws: &mut Draws) -> u64 {
    let users = draws.binomial(started, rate / traffic.cluster as f64);
    (0..traffic.cluster).for_each(|ahead| to_come[if traffic.spread { ahead } else { 0 }] += users);
    let failed = to_come[0].min(started);
    to_come.rotate_left(1);
    to_come[3] = 0;
    failed
}

/// When what is known of `started` requests, of which so many fail, and as what it counts.
fn of_version(
    traffic: Traffic,
    (epoch, now): (u64, u32),
    version: Version,
    [started, failed]: [u64; 2],
    mistake: Mistake,
) -> Vec<News> {
    let news = |at: u32, in_slot: u32, placement, [started, succeeded, failed]: [u64; 3]| {
        let (epoch, slot) = place(epoch, in_slot, mistake);
        let stratum = Stratum { canary: (), epoch: Epoch(epoch), version, placement, slot: Slot(slot) };
        let mut by_class = Failures::default();
        by_class.0[0] = failed;
        News {
            at,
            stratum,
            counts: Counts { started, received: started, succeeded, failed: by_class, ..Counts::default() },
        }
    };
    let [failure, success] = match version {
        Version::Canary => [now + traffic.delays[0], now + traffic.delays[1]],
        Version::Primary => [now + traffic.delays[2], now],
    };
    let (drawn, succeeded) = (Placement::Drawn, started - failed);
    match mistake {
        Mistake::AtCompletion => vec![
            news(failure, failure, drawn, [failed, 0, failed]),
            news(success, success, drawn, [succeeded, succeeded, 0]),
        ],
        // As if it had succeeded until it is known to have failed; a matched request keeps the slot from being settled.
        Mistake::PendingIsGood if version == Version::Primary => {
            vec![news(now, now, drawn, [started, started, 0]), news(failure, now, drawn, [0, 0, failed])]
        }
        Mistake::PendingIsGood => vec![
            news(now, now, drawn, [started, started - failed, failed]),
            news(now, now, Placement::Matched, [1, 0, 0]),
            news(now + traffic.delays[2], now, Placement::Matched, [0, 1, 0]),
        ],
        _ => vec![
            news(now, now, drawn, [started, 0, 0]),
            news(failure, now, drawn, [0, 0, failed]),
            news(success, now, drawn, [0, succeeded, 0]),
        ],
    }
}
