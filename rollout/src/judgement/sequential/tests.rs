//! What slots say as their outcomes trickle in, and how much is kept of them.

use proptest::prelude::*;

use super::*;

const SLO: Test = Test { signal: Signal::Failed, boundary: Boundary::Absolute(0.01) };
const REGRESSION: Test = Test { signal: Signal::Failed, boundary: Boundary::Relative(1.5) };

const fn key(number: u32) -> SlotKey {
    SlotKey { epoch: Epoch(1), slot: Slot(number) }
}

const fn observed(started: u64, failed: u64, pending: u64) -> Observed {
    Observed {
        started,
        pending,
        unknown: pending,
        failed,
        timed: started,
        timed_pending: pending,
        timed_unknown: pending,
        slow: failed,
        ..Observed::NOTHING
    }
}

const fn known(side: Observed) -> Observed {
    Observed { pending: 0, unknown: 0, timed_pending: 0, timed_unknown: 0, ..side }
}

fn after(slots: &[ObservedSlot]) -> Sequential {
    let mut tests = Sequential::new(vec![SLO, REGRESSION], 1);
    for (number, slot) in (0..).zip(slots) {
        tests.open(key(number), false);
        tests.observe(key(number), *slot, true);
    }
    tests
}

#[test]
fn two_failures_in_two_requests_are_enough_for_a_total_failure() {
    let slot = ObservedSlot { canary: observed(2, 2, 0), primary: observed(18, 0, 0), ..ObservedSlot::NOTHING };
    let [slo, _] = after(&[slot]).look()[..] else { panic!() };
    assert!(slo >= libm::log(100.0), "{slo}");
    let healthy = ObservedSlot { canary: observed(2, 0, 0), primary: observed(18, 0, 0), ..ObservedSlot::NOTHING };
    assert!(after(&[healthy; 100]).look()[0] < 0.0);
}

#[test]
fn a_fault_after_an_hour_of_health_is_found_as_quickly() {
    let healthy = ObservedSlot { canary: observed(10, 0, 0), primary: observed(90, 0, 0), ..ObservedSlot::NOTHING };
    let bad = ObservedSlot { canary: observed(10, 10, 0), primary: observed(90, 0, 0), ..ObservedSlot::NOTHING };
    let mut slots = vec![healthy; 36_000];
    slots.push(bad);
    assert!(after(&slots).look()[0] >= libm::log(100.0));
}

#[test]
fn an_open_slot_speaks_in_absolute_tests_only() {
    let mut tests = Sequential::new(vec![SLO, REGRESSION], 1);
    tests.open(key(0), false);
    let slot = ObservedSlot { canary: observed(9, 9, 0), primary: observed(90, 0, 0), ..ObservedSlot::NOTHING };
    tests.observe(key(0), slot, false);
    assert!(tests.look()[0] > 5.0 && tests.look()[1].abs() < 1e-9);
    tests.observe(key(0), slot, true);
    assert!(tests.look()[1] > 5.0);
}

#[test]
fn the_tail_is_bounded() {
    let mut tests = Sequential::new(vec![SLO], 1);
    for number in 0..1000 {
        tests.open(key(number), false);
        let slot = ObservedSlot { canary: observed(3, 0, 1), primary: observed(3, 0, 1), ..ObservedSlot::NOTHING };
        tests.observe(key(number), slot, true);
    }
    assert_eq!(tests.tail.len(), MAX_INCOMPLETE);
}

fn slot() -> impl Strategy<Value = ObservedSlot> {
    let side = (0u64..20, 0u64..4, 0u64..4)
        .prop_map(|(more, failed, pending)| observed(more + failed + pending, failed, pending));
    (side.clone(), side).prop_map(|(canary, primary)| ObservedSlot { canary, primary, ..ObservedSlot::NOTHING })
}

proptest! {
    #[test]
    fn how_outcomes_trickle_in_changes_nothing_in_the_end(slots in prop::collection::vec(slot(), 1..40)) {
        let ended = known;
        let last: Vec<ObservedSlot> =
            slots.iter().map(|s| ObservedSlot { canary: ended(s.canary), primary: ended(s.primary), ..ObservedSlot::NOTHING }).collect();
        // Slots that complete at once, and slots that complete all together at the end, with the same stakes laid.
        let mut late = Sequential::new(vec![SLO], 1);
        for (number, slot) in (0..).zip(&slots) {
            late.open(key(number), false);
            late.observe(key(number), *slot, true);
        }
        for (number, slot) in (0..).zip(&last) {
            late.observe(key(number), *slot, true);
        }
        prop_assert!(late.tail.is_empty());
        prop_assert!((late.look()[0] - after(&last).look()[0]).abs() < 1e-9);
    }

    #[test]
    fn what_is_pending_never_raises_a_comparison(slots in prop::collection::vec(slot(), 1..20)) {
        let tests = |resolve: bool| {
            let mut tests = Sequential::new(vec![REGRESSION], 1);
            for (number, slot) in (0..).zip(&slots) {
                tests.open(key(number), false);
                tests.observe(key(number), *slot, true);
            }
            if resolve {
                for (number, slot) in (0..).zip(&slots) {
                    let primary = known(slot.primary);
                    let canary = known(slot.canary);
                    tests.observe(key(number), ObservedSlot { canary, primary, ..ObservedSlot::NOTHING }, true);
                }
            }
            tests.look()[0]
        };
        prop_assert!(tests(false) <= tests(true) + 1e-9);
    }
}
