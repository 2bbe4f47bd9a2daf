//! A release under the product's guards and under other tools' rules, on the same traffic, tick by tick.
//!
//! Idealised alike: perfect counts, no delay in reporting, weights and aborts take effect at once. What remains is what they
//! decide. Traffic comes in ticks of 100 ms, the product's shortest slot and its time between two reports.

use fastrand::Rng;
use rollout::base::time::Millis;
use rollout::judgement::guards::Guards;
use rollout::judgement::sequential::{ObservedSlot, Sequential};
use rollout::routing::table::WeightPpm;
use sim::rivals::{Answers, FailedChecks, Limits, Rival, RivalRule, Steps, TICK};

use crate::parallel;

use super::draws::{Chance, Split, Tick, stream};
use super::product::{LIMIT, Which, guards, is_tripped, key, slot};

/// Requests that are expected of the smaller side in one slot: what the product fixes a slot's length by.
const EXPECTED_IN_SLOT: f64 = 5.0;
/// Ticks in the longest slot.
const MOST_TICKS: f64 = 100.0;

/// How much traffic there is.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests a second of both versions.
    pub per_second: u64,
    /// The canary's share, 0 to 1.
    pub weight: f64,
}

/// How often each version fails, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// The canary.
    pub canary: f64,
    /// The primary.
    pub primary: f64,
}

/// One decider.
#[derive(Clone)]
pub enum Player {
    /// The product's guards.
    Guards(Box<Ours>),
    /// Another tool's rule.
    Rival(Box<Rival>),
}

/// The product's guards with their evidence.
#[derive(Clone)]
pub struct Ours {
    guards: Guards,
    tests: Sequential,
    /// Ticks in a slot.
    length: u32,
    now: u32,
    open: ObservedSlot,
}

/// Who plays, by name.
#[derive(Clone, Copy, Debug)]
pub struct Entrant {
    /// In tables.
    pub name: &'static str,
    rule: Decides,
}

#[derive(Clone, Copy, Debug)]
enum Decides {
    Ours(Which),
    Theirs(RivalRule),
}

const fn ours(name: &'static str, which: Which) -> Entrant {
    Entrant { name, rule: Decides::Ours(which) }
}

const fn flagger(name: &'static str, interval_s: u64, threshold: u32, failed_checks: FailedChecks) -> Entrant {
    let interval = Millis(interval_s * 1_000);
    Entrant { name, rule: Decides::Theirs(RivalRule::Flagger { interval, threshold, failed_checks }) }
}

const fn argo(name: &'static str, failure_limit: u32) -> Entrant {
    let interval = Millis(30_000);
    Entrant { name, rule: Decides::Theirs(RivalRule::Argo { interval, failure_limit }) }
}

/// All deciders, the product first.
pub const ENTRANTS: [Entrant; 12] = [
    ours("ours, both guards", Which::Both),
    ours("ours, default guards", Which::Default),
    ours("ours, slo guard only", Which::Slo),
    ours("ours, regression guard only", Which::Regression),
    flagger("Flagger 10 s x2, consecutive", 10, 2, FailedChecks::Consecutive),
    flagger("Flagger 10 s x2, as coded", 10, 2, FailedChecks::Cumulative),
    flagger("Flagger 60 s x3, consecutive", 60, 3, FailedChecks::Consecutive),
    flagger("Flagger 60 s x3, as coded", 60, 3, FailedChecks::Cumulative),
    argo("Argo 30 s, failureLimit 0", 0),
    argo("Argo 30 s, failureLimit 1", 1),
    argo("Argo 30 s, failureLimit 2", 2),
    argo("Argo 30 s, failureLimit 3", 3),
];

/// How one release ended for one player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Before there was a fault.
    TooEarly,
    /// So many ticks after the fault began, and so many of the canary's answers since then bad.
    Aborted(u32, u64),
    /// Not within the time that was simulated.
    Never,
}

impl Entrant {
    /// A release that begins now; `phase` (0 to 1) is where between two of its ticks a rule begins, 1 for a whole interval.
    fn begin(&self, load: Load, phase: f64) -> Player {
        match self.rule {
            Decides::Ours(which) => Player::Guards(Box::new(Ours::new(which, load))),
            Decides::Theirs(rule) => {
                let (RivalRule::Flagger { interval, .. } | RivalRule::Argo { interval, .. }) = rule;
                let limits = Limits { failed: LIMIT, slow: 1.0 };
                let steps = Steps::constant(WeightPpm::new((load.weight * 1e6) as u32).unwrap_or(WeightPpm::ZERO));
                let first = (phase * interval.0 as f64) as u64 / TICK.0 * TICK.0;
                let rival = Rival::new(self.name, rule, limits, steps).checking_first_at(Millis(first.max(TICK.0)));
                Player::Rival(Box::new(rival))
            }
        }
    }
}

impl Player {
    /// What the users got in the tick that ends now, `number` ticks after the beginning; whether the release is aborted.
    fn sees(&mut self, number: u32, tick: &Tick) -> bool {
        match self {
            Self::Guards(ours) => ours.sees(tick),
            Self::Rival(rival) => {
                let [requests, failed] = tick.canary;
                let now = Millis(u64::from(number + 1) * TICK.0);
                rival.observe(now, Answers { requests, failed, slow: failed }).is_some()
            }
        }
    }
}

impl Ours {
    fn new(which: Which, load: Load) -> Self {
        let guards = guards(which);
        let smaller = load.per_second as f64 * load.weight.min(1.0 - load.weight) / 10.0;
        let length = (EXPECTED_IN_SLOT / smaller).clamp(1.0, MOST_TICKS) as u32;
        Self { tests: guards.begin(), guards, length, now: 0, open: ObservedSlot::NOTHING }
    }

    fn sees(&mut self, tick: &Tick) -> bool {
        let number = self.now / self.length;
        if self.now.is_multiple_of(self.length) {
            self.tests.open(key(number), self.now == 0);
            self.open = ObservedSlot::NOTHING;
        }
        self.now += 1;
        let more = slot(tick.canary, tick.primary);
        for (side, more) in [(&mut self.open.canary, more.canary), (&mut self.open.primary, more.primary)] {
            side.started += more.started;
            side.failed += more.failed;
            side.slow += more.slow;
        }
        let is_closed = self.now.is_multiple_of(self.length);
        self.tests.observe(key(number), self.open, is_closed);
        // Only a failure of the canary can raise the evidence: at once in absolute tests, at the slot's end in comparisons.
        let is_news = tick.canary[1] > 0 || (is_closed && self.open.canary.failed > 0);
        is_news && is_tripped(&self.guards, &self.tests)
    }
}

/// Each entrant's releases with a fault from the start.
#[must_use]
pub fn from_the_start(load: Load, rates: Rates, most: u32, runs: usize, seed: u64) -> Vec<Vec<End>> {
    let ends = parallel::each(runs, |run| {
        let mut players: Vec<Player> = ENTRANTS.iter().map(|entrant| entrant.begin(load, 1.0)).collect();
        play(&mut players, load, rates, 0, most, &mut stream(seed, run))
    });
    by_entrant(&ends)
}

/// For each of the faults, each entrant's releases with that fault after `healthy` ticks of a canary as good as the primary.
#[must_use]
pub fn later(
    load: Load,
    primary: f64,
    faults: &[f64],
    [healthy, most]: [u32; 2],
    runs: usize,
    seed: u64,
) -> Vec<Vec<Vec<End>>> {
    let good = Rates { canary: primary, primary };
    let ends = parallel::each(runs, |run| {
        let mut draws = stream(seed, run);
        // Where the fault falls between two looks of a rule is chance.
        let begin = |entrant: &Entrant| entrant.begin(load, 1.0 - draws.f64());
        let mut players: Vec<Player> = ENTRANTS.iter().map(begin).collect();
        let early = play(&mut players, load, good, 0, healthy, &mut draws);
        let each = faults.iter().map(|fault| {
            let mut players = players.clone();
            let rates = Rates { canary: *fault, primary };
            let ends = play(&mut players, load, rates, healthy, most, &mut draws);
            let both = early.iter().zip(ends);
            both.map(|(early, end)| if *early == End::Never { end } else { End::TooEarly }).collect::<Vec<_>>()
        });
        each.collect::<Vec<_>>()
    });
    let of_fault = |fault: usize| ends.iter().filter_map(|run| run.get(fault).cloned()).collect::<Vec<_>>();
    (0..faults.len()).map(|fault| by_entrant(&of_fault(fault))).collect()
}

/// Until all have decided, or `most` ticks later.
fn play(players: &mut [Player], load: Load, rates: Rates, since: u32, most: u32, draws: &mut Rng) -> Vec<End> {
    let split = Split::new(load.per_second / 10, load.weight);
    let (canary, primary) = (Chance::new(rates.canary), Chance::new(rates.primary));
    let mut ends = vec![End::Never; players.len()];
    let (mut bad, mut playing) = (0, players.len());
    for number in 0..most {
        let tick = split.tick(draws, canary, primary);
        bad += tick.canary[1];
        for (player, end) in players.iter_mut().zip(&mut ends).filter(|(_, end)| **end == End::Never) {
            if player.sees(since + number, &tick) {
                *end = End::Aborted(number + 1, bad);
                playing -= 1;
            }
        }
        if playing == 0 {
            break;
        }
    }
    ends
}

fn by_entrant(runs: &[Vec<End>]) -> Vec<Vec<End>> {
    (0..ENTRANTS.len()).map(|entrant| runs.iter().filter_map(|run| run.get(entrant).copied()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { per_second: 1000, weight: 0.1 };

    fn ticks(ends: &[End]) -> Vec<u32> {
        ends.iter().map(|end| if let End::Aborted(ticks, _) = end { *ticks } else { 0 }).collect()
    }

    #[test]
    fn a_total_failure_is_cut_by_the_first_report_and_by_rules_at_their_ticks() {
        let ends = from_the_start(LOAD, Rates { canary: 1.0, primary: 0.001 }, 3_000, 3, 1);
        assert_eq!(ticks(&ends[0]), [1, 1, 1]);
        assert_eq!(ticks(&ends[4]), [200; 3]);
        assert_eq!(ticks(&ends[7]), [2_400; 3]);
    }

    #[test]
    fn healthy_releases_go_on_and_a_later_fault_is_found() {
        let ends = later(LOAD, 0.001, &[0.001, 0.2], [300, 1_000], 3, 1);
        assert_eq!(ends[0][0], [End::Never; 3]);
        assert!(ends[1][0].iter().all(|end| matches!(end, End::Aborted(1..30, 1..))), "{:?}", ends[1][0]);
    }

    #[test]
    fn slots_grow_where_the_canary_gets_little() {
        let length = |per_second, weight| Ours::new(Which::Both, Load { per_second, weight }).length;
        assert_eq!([length(1000, 0.1), length(100, 0.1), length(20, 0.05), length(1, 0.01)], [1, 5, 50, 100]);
    }
}
