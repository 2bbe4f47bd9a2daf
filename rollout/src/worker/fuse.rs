//! The fuse's arithmetic: when one worker alone, without asking the agent, may say that a canary is plainly broken.
//!
//! G8 against a fixed boundary, with paid restarts, as integers: in run r = 0, 1, 2, … the k-th event trips the fuse when
//! it comes within a given number of requests, and a run is stale, so that a new one begins, when enough more passed that the
//! evidence fell by half a nat. Counting is additions and comparisons; a limit is computed when it is first needed.
//!
//! Why a false trip has probability alpha at most, at any time: run 0 has 3/4 of alpha, each of the 2^b runs from number 2^b
//! on has 1/4 · 1/((b+1)(b+2)) / 2^b of it, and these shares sum to one (the guards' stakes are 1/r and need an end; these
//! do not, and stay the same for half of all runs so far, which is what a table wants). A run begins at a moment chosen
//! by the past alone and counts only requests that start after it; within it, the evidence of any first n requests with
//! those of their events that are known is at most what it will be when all are known, and that is a supermartingale from
//! 1 if the canary keeps the limit (see [`mixture`](crate::statistics::mixture)). So n may be taken where the evidence is greatest:
//! at the youngest request known to be an event. Without that, requests which hang would hide each other.

use serde::{Deserialize, Serialize};

pub use crate::routing::fuse_plan::{FusePlan, MAX_CLUSTER, Ppb, PpbError};
use crate::statistics::boundary::forgiven_share;
use crate::statistics::mixture::{G8, STAKED_AT_START};
use crate::worker::fuse::beside::{Beside, last_that_holds};

mod beside;

/// Most clusters of events in a run; one that has neither tripped nor gone stale by then gives way to the next.
const MAX_CLUSTERS: u64 = 64;
/// A run is stale once its evidence has fallen so far, in nats. At one nat a run of good requests is up to 36 long against
/// a limit of 1 %, and a total failure at its end needs up to 11 answers; at a quarter runs are short, and there are many, so that
/// faults of 5 % take a fifth longer.
const STALE_AT: f64 = -0.5;

/// Which of a fuse's two tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FuseTest {
    /// Too many requests failed.
    Failed,
    /// Too many failed, took too long, or are open for too long.
    Slow,
}

impl FuseTest {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Failed, Self::Slow];

    /// Its name in messages and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Slow => "slow",
        }
    }
}

/// What tripped a fuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuseTrip {
    /// Which test.
    pub test: FuseTest,
    /// Requests of its run that speak against the canary…
    pub events: u64,
    /// …among this many.
    pub trials: u64,
}

/// One canary's fuse in one worker, for one release.
#[derive(Debug)]
pub struct Fuse {
    tests: [Option<Running>; 2],
    /// Trials of each test begun so far; each one's number among them is its ordinal. Goes on over all runs. A request is a
    /// trial of failure when it starts, of slowness when it has come in whole.
    begun: Begun,
    tripped: Option<FuseTrip>,
}

/// Trials begun so far, by test; goes on over all runs and from one release to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The canary's.
    pub canary: [u64; 2],
    /// The primary's.
    pub primary: [u64; 2],
}

fn bump(begun: &mut [u64; 2], which: FuseTest) -> u64 {
    let Some(count) = begun.get_mut(which as usize) else { return 0 };
    let ordinal = *count;
    *count = count.saturating_add(1);
    ordinal
}

impl Fuse {
    /// A fuse that has seen nothing, under an entry that gives the canary `weight` (0 to 1) of the traffic; ordinals go on
    /// from `begun`.
    pub fn new(plan: &FusePlan, weight: f64, begun: Begun) -> Self {
        Self { tests: Running::of(plan, weight, begun, [0; 2]), begun, tripped: None }
    }

    /// A later entry of the same release: whole again, with a new run, paid from the same alpha.
    pub fn rearm(&mut self, plan: &FusePlan, weight: f64) {
        let runs = [0, 1].map(|n| self.tests.get(n).and_then(Option::as_ref).map_or(0, |test| test.run + 1));
        self.tests = Running::of(plan, weight, self.begun, runs);
        self.tripped = None;
    }

    /// Trials of each test begun so far.
    pub const fn begun(&self) -> Begun {
        self.begun
    }

    /// The canary's trials of one test begun so far.
    pub const fn begun_of(&self, which: FuseTest) -> u64 {
        let [failed, slow] = self.begun.canary;
        match which {
            FuseTest::Failed => failed,
            FuseTest::Slow => slow,
        }
    }

    const fn primary_begun_of(&self, which: FuseTest) -> u64 {
        let [failed, slow] = self.begun.primary;
        match which {
            FuseTest::Failed => failed,
            FuseTest::Slow => slow,
        }
    }

    /// A trial begins; returns its ordinal. `known` is a number below which it is known of every ordinal whether it is an
    /// event. A run that has gone stale by then ends before the trial.
    pub fn start(&mut self, which: FuseTest, known: u64) -> u64 {
        let ordinal = self.begun_of(which);
        let primary = self.primary_begun_of(which);
        if let Some(test) = self.tests.get_mut(which as usize).and_then(Option::as_mut) {
            test.refresh(known, ordinal, primary);
        }
        bump(&mut self.begun.canary, which)
    }

    /// A trial begins on the primary; returns its ordinal among the primary's.
    pub fn start_primary(&mut self, which: FuseTest) -> u64 {
        if let Some(beside) = self.beside(which) {
            beside.start();
        }
        bump(&mut self.begun.primary, which)
    }

    /// One of the primary's trials is an event.
    pub fn primary_event(&mut self, which: FuseTest, ordinal: u64) {
        if let Some(beside) = self.beside(which) {
            beside.event(ordinal);
        }
    }

    /// It is known of one of the primary's trials whether it is an event: said once of each, after [`Fuse::primary_event`].
    /// A trip may have waited for it.
    pub fn primary_settled(&mut self, which: FuseTest, ordinal: u64) -> Option<FuseTrip> {
        let trip = self.beside(which)?.settled(ordinal)?;
        self.trip(trip)
    }

    fn beside(&mut self, which: FuseTest) -> Option<&mut Beside> {
        self.tests.get_mut(which as usize)?.as_mut()?.beside.as_mut()
    }

    /// The first trip counts.
    fn trip(&mut self, trip: FuseTrip) -> Option<FuseTrip> {
        if self.tripped.is_some() {
            return None;
        }
        self.tripped = Some(trip);
        self.tripped
    }

    /// A request turned out to be an event. Each one counts once for each test: the caller sees to that.
    pub fn event(&mut self, which: FuseTest, ordinal: u64) -> Option<FuseTrip> {
        let (begun, primary) = (self.begun_of(which), self.primary_begun_of(which));
        let test = self.tests.get_mut(which as usize)?.as_mut().filter(|test| ordinal >= test.first)?;
        let trials = test.event(ordinal, begun)?;
        let trip = FuseTrip { test: which, events: test.events, trials };
        let (needed, max_cluster) = (test.needed(), test.max_cluster);
        let trip = match &mut test.beside {
            Some(beside) => beside.judge(trip, primary, needed, max_cluster)?,
            None => trip,
        };
        self.trip(trip)
    }

    /// A request turned out to be no trial.
    pub fn void(&mut self, which: FuseTest, ordinal: u64) {
        if let Some(test) = self.tests.get_mut(which as usize).and_then(Option::as_mut)
            && ordinal >= test.first
        {
            test.voids += 1;
        }
    }

    /// What tripped it, until it is armed again.
    pub const fn tripped(&self) -> Option<FuseTrip> {
        self.tripped
    }
}

/// One test in its present run.
#[derive(Debug)]
struct Running {
    theta0: f64,
    /// For all runs together.
    alpha: f64,
    max_cluster: u32,
    run: u64,
    /// The first ordinal that belongs to the run.
    first: u64,
    /// Events known, and the greatest ordinal among them.
    events: u64,
    youngest: u64,
    /// Requests of the run known to be no trials.
    voids: u64,
    /// Within how many requests the k-th event trips, for this run's share of alpha; 0 for never.
    trips_within: Vec<u64>,
    /// The most requests with k events that are not stale yet.
    stale_after: Vec<u64>,
    /// The primary's trials, where what it suffers too is forgiven.
    beside: Option<Beside>,
}

impl Running {
    fn of(plan: &FusePlan, weight: f64, begun: Begun, runs: [u64; 2]) -> [Option<Self>; 2] {
        let share = forgiven_share(weight);
        let [forgives_failed, forgives_slow] =
            plan.unless_primary_also.map(|is_forgiven| share.filter(|_| is_forgiven));
        let limits = plan.limits();
        let alpha = plan.alpha.probability() / limits.iter().flatten().count().max(1) as f64;
        let [failed, slow] = limits;
        let ([first_failed, first_slow], [run_failed, run_slow]) = (begun.canary, runs);
        let [beside_failed, beside_slow] = begun.primary;
        let runs = [
            (failed, first_failed, forgives_failed.zip(Some(beside_failed)), run_failed),
            (slow, first_slow, forgives_slow.zip(Some(beside_slow)), run_slow),
        ];
        runs.map(|(limit, first, beside, run)| {
            limit.map(|limit| Self {
                theta0: limit.probability(),
                alpha,
                max_cluster: plan.max_cluster.max(1),
                run,
                first,
                events: 0,
                youngest: first,
                voids: 0,
                trips_within: Vec::new(),
                stale_after: Vec::new(),
                beside: beside.map(|(share, first)| Beside::new(share, first)),
            })
        })
    }

    /// Begins a new run at `next`, and `primary` beside it, if this one is stale.
    fn refresh(&mut self, known: u64, next: u64, primary: u64) {
        let seen = known.min(next).saturating_sub(self.first).saturating_sub(self.voids);
        let is_over = self.events >= MAX_CLUSTERS * u64::from(self.max_cluster);
        if !is_over && seen <= self.stale_after(self.events) {
            return;
        }
        let has_same_alpha = block_of(self.run) == block_of(self.run + 1);
        if !has_same_alpha {
            self.trips_within.clear();
        }
        if let Some(beside) = &mut self.beside {
            beside.begin_run(primary, has_same_alpha);
        }
        self.run += 1;
        self.first = next;
        self.youngest = next;
        self.events = 0;
        self.voids = 0;
    }

    /// Counts an event of this run; the trials among which it was one too many, if it was.
    fn event(&mut self, ordinal: u64, begun: u64) -> Option<u64> {
        self.events += 1;
        self.youngest = self.youngest.max(ordinal);
        let up_to_youngest = self.youngest - self.first + 1;
        let all = begun.saturating_sub(self.first).saturating_sub(self.voids);
        let trials = up_to_youngest.min(all);
        (trials <= self.trips_within(self.events)).then_some(trials)
    }

    /// The ln e-value of this run's share of alpha.
    fn needed(&self) -> f64 {
        -libm::log(self.alpha * share_of(self.run))
    }

    fn trips_within(&mut self, events: u64) -> u64 {
        let needed = self.needed();
        while self.trips_within.len() as u64 <= events {
            let events = self.trips_within.len() as u64;
            self.trips_within.push(self.most_trials(events, needed));
        }
        at(&self.trips_within, events)
    }

    fn stale_after(&mut self, events: u64) -> u64 {
        while self.stale_after.len() as u64 <= events {
            let events = self.stale_after.len() as u64;
            self.stale_after.push(self.most_trials(events, STALE_AT));
        }
        at(&self.stale_after, events)
    }

    /// The most trials with which `events` are worth `ln_e` at least; 0 for none. Evidence falls with every trial.
    fn most_trials(&self, events: u64, ln_e: f64) -> u64 {
        let per_cluster = |count: u64| count as f64 / f64::from(self.max_cluster);
        let holds = |trials: u64| G8.ln_e(per_cluster(events), per_cluster(trials), self.theta0) >= ln_e;
        if !holds(events) {
            return 0;
        }
        last_that_holds(events, holds)
    }
}

/// A run's share of alpha; over all runs they sum to one.
fn share_of(run: u64) -> f64 {
    block_of(run).map_or(STAKED_AT_START, |block| {
        let (runs, block) = ((1u64 << block) as f64, f64::from(block));
        (1.0 - STAKED_AT_START) / (runs * (block + 1.0) * (block + 2.0))
    })
}

/// The block b of the 2^b runs that share alike; the first run has none.
const fn block_of(run: u64) -> Option<u32> {
    run.checked_ilog2()
}

fn at(limits: &[u64], events: u64) -> u64 {
    usize::try_from(events).ok().and_then(|events| limits.get(events)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
