//! The fuse's tables against the reference, its promise by enumeration and by chance, and how quick it is.

use super::*;

mod shared;

const SLO: f64 = 0.01;

fn plan(failed: f64, alpha: f64) -> FusePlan {
    FusePlan {
        failed: Some(Ppb::nearest(failed)),
        slow: None,
        alpha: Ppb::nearest(alpha),
        max_cluster: 1,
        unless_primary_also: [false; 2],
    }
}

const fn begun(fuse: &Fuse) -> u64 {
    fuse.begun_of(FuseTest::Failed)
}

/// One request that starts and ends at once; whether the fuse trips by it.
fn request(fuse: &mut Fuse, is_bad: bool) -> bool {
    let ordinal = fuse.start(FuseTest::Failed, begun(fuse));
    is_bad && fuse.event(FuseTest::Failed, ordinal).is_some()
}

/// Failures in a row that it takes after so many good requests.
fn failures_after(plan: &FusePlan, good: u64) -> u32 {
    let mut fuse = Fuse::new(plan, 0.1, Begun::default());
    assert!((0..good).all(|_| !request(&mut fuse, false)));
    (1..).find(|_| request(&mut fuse, true)).unwrap()
}

/// The least and the most over all moments of a run.
fn failures_about(plan: &FusePlan, good: u64) -> (u32, u32) {
    let failures = (0..12).map(|more| failures_after(plan, good + more));
    failures.fold((u32::MAX, 0), |(least, most), count| (least.min(count), most.max(count)))
}

/// SplitMix64, as a number from 0 to 1.
fn uniform(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn the_first_runs_table_is_the_references() {
    for (theta0, alpha, expected) in [
        (0.01, 0.01, &[0, 4, 16, 35, 64, 96, 132, 172, 216, 262, 310, 359, 411, 464, 519, 576, 634, 692, 752, 812]),
        (0.01, 0.005, &[0, 3, 12, 29, 53, 83, 116, 153, 194, 238, 283, 330, 379, 430, 482, 537, 593, 649, 707, 766]),
        (0.1, 0.01, &[0, 0, 3, 5, 8, 12, 16, 20, 25, 30, 35, 40, 45, 51, 57, 62, 68, 74, 81, 87]),
    ] {
        // Run 0 has three quarters of alpha.
        let plan = plan(theta0, alpha / STAKED_AT_START);
        let [Some(mut test), None] = Running::of(&plan, 0.1, Begun::default(), [0; 2]) else { panic!() };
        let table: Vec<u64> = (1..=20).map(|k| test.trips_within(k)).collect();
        assert_eq!(table, expected, "{theta0} {alpha}");
    }
}

#[test]
fn limits_grow_with_events_and_stale_lies_above_trip() {
    let [Some(mut test), None] = Running::of(&plan(SLO, 0.01), 0.1, Begun::default(), [7, 0]) else { panic!() };
    for k in 1..=64 {
        assert!(test.trips_within(k) >= test.trips_within(k - 1));
        assert!(test.stale_after(k) > test.stale_after(k - 1) && test.stale_after(k) > test.trips_within(k), "{k}");
    }
}

#[test]
fn all_runs_together_have_one_alpha() {
    let of_block = |block: u32| share_of(1 << block) * (1u64 << block) as f64;
    let sum = share_of(0) + (0..60).map(of_block).sum::<f64>();
    assert!(sum < 1.0 && sum > 0.99, "{sum}");
    assert!((1..1000).all(|run| share_of(run + 1) <= share_of(run)));
}

#[test]
fn it_is_nearly_as_quick_after_an_hour_of_health_as_at_the_start() {
    // One of 16 workers, 100 canary requests a second each.
    let shared = plan(SLO, 0.01 / 16.0);
    assert_eq!(failures_after(&shared, 0), 3);
    assert_eq!(failures_about(&shared, 100 * 60), (6, 8));
    assert_eq!(failures_about(&shared, 100 * 3600), (7, 9));
    assert_eq!(failures_after(&plan(SLO, 0.01), 0), 2, "alone, as fast as the guard");
}

#[test]
fn the_promise_holds_exactly_for_every_course_of_a_few_requests() {
    // A boundary and an alpha so great that runs end and trips happen within twelve requests.
    for (theta0, alpha) in [(0.3, 0.5), (0.5, 0.4), (0.1, 0.2), (0.45, 0.9)] {
        let (plan, requests) = (plan(theta0, alpha), 14);
        let mut tripping = 0.0;
        for course in 0u32..1 << requests {
            let mut fuse = Fuse::new(&plan, 0.1, Begun::default());
            let bad = |n: u32| (course >> n) & 1 == 1;
            if (0..requests).any(|n| request(&mut fuse, bad(n))) {
                let of = |n| if bad(n) { theta0 } else { 1.0 - theta0 };
                tripping += (0..requests).map(of).product::<f64>();
            }
        }
        assert!(tripping > 0.0 && tripping <= alpha, "theta0 {theta0}, alpha {alpha}: {tripping}");
    }
}

/// Seed of the lives below.
const SEED: u64 = 20_261_121;
/// So many lives of so many requests each.
const LIVES: u32 = 200;
const REQUESTS: u64 = 50_000;
/// For each life; far from the usual, or no life would ever trip.
const ALPHA: f64 = 0.2;

/// How many lives of a canary at its very limit trip the fuse, with thousands of restarts each. Half of the requests end
/// late, out of order with the others. `tamper` sees the fuse after every request.
fn lives_tripped(tamper: impl Fn(&mut Fuse)) -> u32 {
    let (mut seed, plan) = (SEED, plan(SLO, ALPHA));
    let mut live = |_: &u32| {
        let mut fuse = Fuse::new(&plan, 0.1, Begun::default());
        let mut open = std::collections::VecDeque::new();
        (0..REQUESTS).any(|n| {
            if n % 10_000 == 9_999 {
                fuse.rearm(&plan, 0.1);
            }
            let known = open.front().map_or(begun(&fuse), |(_, ordinal, _): &(u64, u64, bool)| *ordinal);
            let ordinal = fuse.start(FuseTest::Failed, known);
            let is_bad = uniform(&mut seed) < SLO;
            let late = if uniform(&mut seed) < 0.5 { 50 } else { 0 };
            if is_bad && late == 0 {
                fuse.event(FuseTest::Failed, ordinal);
            } else {
                open.push_back((n + late, ordinal, is_bad));
            }
            while let Some((_, ordinal, is_bad)) = open.front().copied().filter(|(due, ..)| *due <= n) {
                open.pop_front();
                if is_bad {
                    fuse.event(FuseTest::Failed, ordinal);
                }
            }
            tamper(&mut fuse);
            fuse.tripped().is_some()
        })
    };
    (0..LIVES).filter(|life| live(life)).count() as u32
}

#[test]
fn a_canary_at_its_limit_trips_it_less_often_than_alpha_however_outcomes_come() {
    let tripped = lives_tripped(|_| {});
    assert!(f64::from(tripped) <= f64::from(LIVES) * ALPHA, "seed {SEED}: {tripped} of {LIVES}");
    assert!(tripped > 0, "a bound that is never approached would hide a broken test");
}

#[test]
fn restarts_that_are_not_paid_for_break_the_bound() {
    let unpaid = |fuse: &mut Fuse| {
        for test in fuse.tests.iter_mut().flatten().filter(|test| test.run > 0) {
            test.run = 0;
            test.trips_within.clear();
        }
    };
    let tripped = lives_tripped(unpaid);
    assert!(f64::from(tripped) > f64::from(LIVES) * ALPHA, "seed {SEED}: {tripped} of {LIVES}");
}

#[test]
fn trials_left_out_break_the_bound() {
    // As if every second good request were no trial.
    let shortened = |fuse: &mut Fuse| {
        let begun = begun(fuse);
        for test in fuse.tests.iter_mut().flatten() {
            test.voids = begun.saturating_sub(test.first) / 2;
        }
    };
    let tripped = lives_tripped(shortened);
    assert!(f64::from(tripped) > f64::from(LIVES) * ALPHA, "seed {SEED}: {tripped} of {LIVES}");
}

#[test]
fn hangs_do_not_hide_each_other() {
    // 1000 requests start before the first is known to hang; every second one does.
    let mut fuse = Fuse::new(&plan(0.05, 0.01 / 16.0), 0.1, Begun::default());
    (0..200).for_each(|_| assert!(!request(&mut fuse, false)));
    let first = begun(&fuse);
    (0..1000).for_each(|_| assert!(fuse.start(FuseTest::Failed, first) >= first));
    let hanging = (first..).step_by(2);
    let known = hanging.take(500).take_while(|ordinal| fuse.event(FuseTest::Failed, *ordinal).is_none()).count();
    assert!(known < 12, "{known} hangs were not enough");
}

#[test]
fn what_started_before_a_run_belongs_to_none() {
    let plan = plan(SLO, 0.01);
    let mut fuse = Fuse::new(&plan, 0.1, Begun::default());
    let old: Vec<u64> = (0..100).map(|_| fuse.start(FuseTest::Failed, 0)).collect();
    fuse.rearm(&plan, 0.1);
    assert!(old.iter().all(|ordinal| fuse.event(FuseTest::Failed, *ordinal).is_none()));
    let new = Fuse::new(&plan, 0.1, fuse.begun());
    assert_eq!((begun(&new), new.tripped()), (100, None));
}

#[test]
fn voids_are_no_trials() {
    // Nine of ten requests are void: the tenth always fails, which is all there is to see.
    let mut fuse = Fuse::new(&plan(SLO, 0.01), 0.1, Begun::default());
    for n in 1..=100 {
        let ordinal = fuse.start(FuseTest::Failed, begun(&fuse));
        if n % 10 != 0 {
            fuse.void(FuseTest::Failed, ordinal);
        } else if fuse.event(FuseTest::Failed, ordinal).is_some() {
            assert_eq!(fuse.tripped(), Some(FuseTrip { test: FuseTest::Failed, events: 2, trials: 2 }));
            return;
        }
    }
    panic!("never tripped");
}

#[test]
fn clusters_divide_what_is_counted() {
    let clustered = FusePlan { max_cluster: 3, ..plan(SLO, 0.01 / 16.0) };
    assert_eq!(failures_after(&clustered, 0), 3 * failures_after(&plan(SLO, 0.01 / 16.0), 0) - 2);
}

#[test]
fn two_tests_share_alpha() {
    let both = FusePlan { slow: Some(Ppb::nearest(0.05)), ..plan(SLO, 0.01) };
    let [Some(mut failed), Some(_)] = Running::of(&both, 0.1, Begun::default(), [0; 2]) else { panic!() };
    let [Some(mut alone), None] = Running::of(&plan(SLO, 0.005), 0.1, Begun::default(), [0; 2]) else { panic!() };
    assert!((1..20).all(|k| failed.trips_within(k) == alone.trips_within(k)));
}

#[test]
fn probabilities_keep_their_range() {
    assert_eq!(
        (Ppb::nearest(0.0).ppb(), Ppb::nearest(1.0).ppb(), Ppb::nearest(0.01).ppb()),
        (1, 999_999_999, 10_000_000)
    );
    assert_eq!(Ppb::nearest(f64::NAN).ppb(), 1);
    assert_eq!((Ppb::new(0), Ppb::new(1_000_000_000)), (Err(PpbError(0)), Err(PpbError(1_000_000_000))));
}
