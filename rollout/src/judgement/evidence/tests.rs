//! Folding ignores order and repeats, and a release sees only what started under it.

use proptest::prelude::*;

use super::*;
use crate::base::names::CanaryId;
use crate::base::time::Micros;
use crate::judgement::received::Received;
use crate::routing::destination::Destination;
use crate::routing::outcome::{FailureClass, Outcome};
use crate::worker::tally::Slot;

fn counts(succeeded: u64, failed: u64) -> Counts {
    let mut counts = Counts::begun(succeeded + failed);
    (0..succeeded).for_each(|n| counts.end_both(Outcome::Success, Micros(1000 + n), false));
    (0..failed).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(50), true));
    counts
}

fn guards() -> Guards {
    Guards { guards: Vec::new(), alpha: 0.01, max_cluster: 1, sample_ratio: None }
}

const fn stratum(epoch: u64, version: Version) -> Stratum<()> {
    Stratum { canary: (), epoch: Epoch(epoch), version, placement: Placement::Drawn, slot: Slot(0) }
}

/// Folds numbered reports, as the controller does.
fn folded(order: &[usize], reports: &[(u64, bool, u64, u64)]) -> Evidence {
    let mut received = Received::default();
    let mut evidence = Evidence::default();
    received.note(1);
    for &n in order {
        let (epoch, is_canary, succeeded, failed) = reports[n];
        if received.note(n as u64 + 2) {
            let version = if is_canary { Version::Canary } else { Version::Primary };
            evidence.fold(&stratum(epoch, version), &counts(succeeded, failed), Millis(0));
        }
    }
    evidence
}

proptest! {
    #[test]
    fn fold_ignores_order_and_repeats(
        reports in prop::collection::vec((1u64..4, any::<bool>(), 0u64..5, 0u64..3), 1..30),
        shuffle in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let in_order: Vec<usize> = (0..reports.len()).collect();
        let mut disorder: Vec<usize> = shuffle.iter().map(|index| index.index(reports.len())).collect();
        disorder.extend((0..reports.len()).rev());
        prop_assert_eq!(folded(&in_order, &reports), folded(&disorder, &reports));
    }
}

#[test]
fn a_release_sees_only_what_started_under_it() {
    let mut evidence = Evidence::default();
    evidence.fold(&stratum(4, Version::Canary), &counts(3, 3), Millis(0));
    evidence.begin_release(Epoch(5), Millis(1000), &guards());
    evidence.fold(&stratum(4, Version::Canary), &counts(0, 7), Millis(10));
    evidence.fold(&stratum(5, Version::Canary), &counts(10, 0), Millis(20));
    assert_eq!(evidence.release().canary.judged(), 10);
    assert_eq!(evidence.last(Millis(1000), Millis(20)).all().canary.failed.total(), 0);
    assert_eq!(evidence.totals().canary.failed.total(), 10);
}

/// What a client chose beside a split is in no step's counts, so a worker that is gone must not take it out of them.
#[test]
fn what_is_left_out_of_a_step_was_in_its_counts() {
    let worker = Incarnation(7);
    for (is_split, left) in [(true, 0), (false, 5)] {
        let mut evidence = Evidence::default();
        evidence.begin_release(Epoch(5), Millis(1000), &guards());
        evidence.weigh(Epoch(5), if is_split { WeightPpm::new(500_000).unwrap() } else { WeightPpm::ZERO }, false);
        let matched = Stratum { placement: Placement::Matched, ..stratum(5, Version::Canary) };
        evidence.fold(&matched, &counts(3, 2), Millis(10));
        evidence.of_worker(worker, &matched, &counts(3, 2), Millis(10));
        evidence.gone_workers.left(worker, Millis(20));
        let (gone, _) = evidence.gone_workers.left_out(Epoch(5), Millis(1_000_000));
        assert_eq!((gone.started, evidence.canary_since(Epoch(5)).started), (left, left), "{is_split}");
    }
}

#[test]
fn where_another_lifes_requests_went_says_nothing() {
    for (epoch, expected) in [(5, 1), (7, 0), (9, 0), (10, 1)] {
        let mut evidence = Evidence::default();
        evidence.begin_release(Epoch(5), Millis(1000), &guards());
        evidence.exclude(Epoch(6), Epoch(9));
        let destination = Destination::parse("web-primary".into(), "10.0.0.1:80".into()).unwrap();
        let (canary, epoch, version) = (CanaryId::new("prod", "web").unwrap(), Epoch(epoch), Version::Primary);
        evidence.sampled(&Sampled { canary, epoch, version, destination, is_shared: false, requests: 3 });
        assert_eq!(evidence.destinations().clusters().count(), expected, "{epoch:?}");
    }
}
