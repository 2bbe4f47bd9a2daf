//! What the worker's own primary suffers too does not trip the fuse, as far as one worker can tell.

use super::*;

const FAILED: FuseTest = FuseTest::Failed;

fn forgiving(alpha: f64) -> FusePlan {
    FusePlan { unless_primary_also: [true; 2], ..plan(SLO, alpha) }
}

/// One worker's drawn requests; the failures of the primary's are known `late` requests after they began.
struct Worker {
    fuse: Fuse,
    weight: f64,
    open: std::collections::VecDeque<(u64, bool)>,
    late: usize,
    tripped: bool,
}

impl Worker {
    fn new(weight: f64, late: usize) -> Self {
        let fuse = Fuse::new(&forgiving(0.01 / 16.0), weight, Begun::default());
        Self { fuse, weight, open: std::collections::VecDeque::new(), late, tripped: false }
    }

    fn request(&mut self, seed: &mut u64, rates: [f64; 2]) {
        let is_canary = uniform(seed) < self.weight;
        let is_bad = uniform(seed) < rates[usize::from(!is_canary)];
        if is_canary {
            let ordinal = self.fuse.start(FAILED, begun(&self.fuse));
            self.tripped |= is_bad && self.fuse.event(FAILED, ordinal).is_some();
        } else {
            self.open.push_back((self.fuse.start_primary(FAILED), is_bad));
        }
        while self.open.len() > self.late
            && let Some((ordinal, is_bad)) = self.open.pop_front()
        {
            self.settle(ordinal, is_bad);
        }
    }

    fn settle(&mut self, ordinal: u64, is_bad: bool) {
        if is_bad {
            self.fuse.primary_event(FAILED, ordinal);
        }
        self.tripped |= self.fuse.primary_settled(FAILED, ordinal).is_some();
    }
}

/// Of 400 releases on one worker, the share in which the fuse tripped.
fn tripped(weight: f64, late: usize, rates: impl Fn(u32) -> [f64; 2]) -> f64 {
    let mut seed = 20_261_130;
    let trips = (0..400).filter(|_| {
        let mut worker = Worker::new(weight, late);
        (0..3_000).for_each(|n| worker.request(&mut seed, rates(n)));
        worker.tripped
    });
    trips.count() as f64 / 400.0
}

#[test]
fn under_poison_the_canarys_share_stays_served() {
    for (weight, late) in [(0.1, 0), (0.1, 50), (0.5, 5), (0.02, 5)] {
        let share = tripped(weight, late, |_| [0.12, 0.12]);
        assert!(share <= 0.01, "{share} at {weight}");
    }
    let incident = tripped(0.1, 200, |n| [if n % 1_000 < 300 { 0.6 } else { 0.001 }; 2]);
    assert!(incident <= 0.01, "the canary fails first: {incident}");
}

#[test]
fn what_is_the_canarys_own_trips_it() {
    for late in [0, 5, 200] {
        let share = tripped(0.1, late, |_| [0.2, 0.001]);
        assert!(share > 0.99, "{share}");
    }
    assert!(tripped(0.1, 5, |_| [0.5, 0.05]) > 0.99, "far worse than a primary that fails too");
    assert!(tripped(0.1, 1_000, |_| [1.0, 0.0]) > 0.99, "a hundred failures before the primary answers");
}

#[test]
fn a_trip_waits_for_what_was_open_and_not_for_what_begins_later() {
    let mut worker = Worker::new(0.1, usize::MAX);
    let open: Vec<u64> = (0..20).map(|_| worker.fuse.start_primary(FAILED)).collect();
    (0..6).for_each(|_| assert!(!request(&mut worker.fuse, true), "the primary may be failing too"));
    let later = worker.fuse.start_primary(FAILED);
    let (last, first) = open.split_last().unwrap();
    first.iter().for_each(|ordinal| worker.settle(*ordinal, false));
    let before = worker.tripped;
    worker.settle(*last, false);
    assert!(worker.tripped && worker.fuse.tripped().is_some(), "tripped before the last: {before}");
    worker.settle(later, true);
    assert!(worker.fuse.tripped().is_some(), "it stays tripped");
}

#[test]
fn a_total_failure_costs_so_many_answers() {
    let needed = |weight: f64| {
        let mut fuse = Fuse::new(&forgiving(0.01 / 16.0), weight, Begun::default());
        (1..100).find(|_| request(&mut fuse, true)).unwrap()
    };
    assert_eq!([0.01, 0.1, 0.5, 0.51, 1.0].map(needed), [3, 5, 14, 3, 3]);
}
