//! Merging is a commutative monoid, and a full tally loses nothing.

use proptest::prelude::*;

use super::*;

fn stratum(canary: u16, epoch: u64, version: Version) -> Stratum<CanaryIndex> {
    Stratum {
        canary: CanaryIndex(canary),
        epoch: Epoch(epoch),
        version,
        placement: Placement::Drawn,
        slot: Slot(epoch as u32 % 7),
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Void),
        prop::sample::select(FailureClass::ALL.to_vec()).prop_map(Outcome::Failure),
    ]
}

fn counts() -> impl Strategy<Value = Counts> {
    prop::collection::vec((outcome(), 0u64..20_000_000), 0..20).prop_map(|ends| {
        let mut counts = Counts::begun(ends.len() as u64 + 1);
        for (outcome, latency_us) in ends {
            counts.end(outcome);
            counts.end_timed(TimedEnd::Took(Micros(latency_us)), latency_us > 500_000);
        }
        counts
    })
}

proptest! {
    #[test]
    fn merge_is_a_commutative_monoid(a in counts(), b in counts(), c in counts()) {
        let sum = |parts: [&Counts; 3]| parts.into_iter().fold(Counts::default(), |mut sum, part| { sum.merge(part); sum });
        prop_assert_eq!(sum([&a, &b, &c]), sum([&c, &a, &b]));
        let mut bc = b.clone();
        bc.merge(&c);
        let mut left = a.clone();
        left.merge(&bc);
        prop_assert_eq!(left, sum([&a, &b, &c]));
        prop_assert_eq!(sum([&a, &Counts::default(), &Counts::default()]), a);
    }

    #[test]
    fn a_full_tally_loses_nothing(events in prop::collection::vec((0u16..4, 1u64..60, any::<bool>(), outcome()), 0..300)) {
        let mut tally = Tally::new(8);
        for (canary, epoch, is_canary, outcome) in &events {
            let at = stratum(*canary, *epoch, if *is_canary { Version::Canary } else { Version::Primary });
            tally.start(at);
            tally.start_timed(at);
            tally.end(at, *outcome, false);
            tally.end_timed(at, TimedEnd::Took(Micros(10)), false);
            // Four canaries with two versions each are eight strata that nothing merges.
            prop_assert!(tally.len() <= 8 + 1, "{} strata", tally.len());
        }
        let mut all = Counts::default();
        while !tally.is_empty() {
            let part = tally.take(3);
            prop_assert!(part.len() <= 3);
            part.iter().for_each(|(_, counts)| all.merge(counts));
        }
        prop_assert_eq!(all.started, events.len() as u64);
        prop_assert_eq!(all.judged() + all.void, events.len() as u64);
        prop_assert_eq!(all.latency.count(), events.len() as u64);
        prop_assert_eq!((all.timed.begun, all.timed.pending()), (events.len() as u64, 0));
    }
}
#[test]
fn a_busy_stratum_cannot_keep_the_others_waiting() {
    let mut tally = Tally::new(8);
    let busy = stratum(0, 1, Version::Primary);
    let quiet = stratum(1, 1, Version::Primary);
    tally.start(quiet);
    let mut taken = Vec::new();
    for _ in 0..2 {
        tally.start(busy);
        taken.extend(tally.take(1).into_iter().map(|(stratum, _)| stratum));
    }
    assert_eq!(taken, [busy, quiet]);
}
