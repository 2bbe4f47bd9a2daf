//! The guards in the agent's engine, and their bound on false aborts when they look after every report.

#![cfg(test)]

mod fixture;

use fixture::draws::Draws;
use fixture::scene::Scene;
use fixture::{id, word};
use rollout::controller::{Command, Event, Verb};
use rollout::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
use rollout::judgement::sample_ratio::Ratio;
use rollout::judgement::sequential::{Observed, ObservedSlot, SlotKey};
use rollout::release::phase::{Cause, Note, Phase};
use rollout::routing::table::Epoch;
use rollout::statistics::boundary::Allocation;
use rollout::worker::tally::{PerVersion, Slot};

#[test]
fn a_bad_canary_is_cut_by_the_report_that_proves_it_and_the_cut_waits_for_no_disk() {
    let mut scene = Scene::guarded(GuardAction::Abort);
    scene.report(0);
    let aborted = (1..20).find_map(|reports| {
        let output = scene.report(3);
        matches!(scene.canary().phase, Phase::Failed(_, Cause::Guards(_))).then_some((reports, output))
    });
    let (reports, output) = aborted.expect("three failures in ten are too many");
    assert!(reports <= 3, "it took {reports} reports");
    assert!(output.urgent.iter().any(|command| matches!(command, Command::Push(_))), "the entry leaves at once");
}

#[test]
fn a_healthy_canary_goes_on_for_ever() {
    let mut scene = Scene::guarded(GuardAction::Abort);
    for report in 0..3_000 {
        scene.report(u64::from(report % 50 == 0));
        assert!(matches!(scene.canary().phase, Phase::Progressing(_)), "report {report}: {:?}", scene.canary().phase);
    }
}

#[test]
fn a_guard_that_only_pauses_or_notifies_does_so_once() {
    for (action, phase) in [(GuardAction::Pause, "Paused"), (GuardAction::Notify, "Progressing")] {
        let mut scene = Scene::guarded(action);
        (0..30).for_each(|_| {
            scene.report(4);
        });
        assert_eq!(scene.canary().phase.name(), phase);
        let trips = scene.canary().history.iter().filter(|event| matches!(event.note, Note::Tripped(_)));
        assert_eq!(trips.count(), 1);
        if action == GuardAction::Pause {
            scene.happen(Event::Requested(id("web"), Verb::Resume { actor: word("ana"), reason: String::new() }));
            scene.report(4);
            assert_eq!(scene.canary().phase.name(), "Progressing", "a person has decided");
        }
    }
}

#[test]
fn a_restart_forgets_no_evidence() {
    let mut scene = Scene::guarded(GuardAction::Abort);
    (0..40).for_each(|n| {
        scene.report(u64::from(n % 10 == 9));
    });
    let text = serde_json::to_string(&scene.controller).unwrap();
    let mut again = Scene { controller: serde_json::from_str(&text).unwrap(), number: scene.number };
    assert_eq!(scene.controller, again.controller);
    scene.report(2);
    again.report(2);
    assert_eq!(scene.canary().verdict, again.canary().verdict);
}

/// Share of runs of 600 slots in which a guard trips, looked at after each; `rates` gives canary's and primary's failure
/// rates in a slot, `late` how many slots later the primary's failures are known.
fn false_aborts(rule: GuardRule, runs: u64, late: u32, rates: impl Fn(u32) -> (f64, f64)) -> f64 {
    let guards = Guards {
        guards: vec![Guard { rule, action: GuardAction::Abort }],
        alpha: 0.01,
        max_cluster: 1,
        sample_ratio: None,
    };
    let (mut tripped, mut draws) = (0, Draws(20_261_121));
    for _ in 0..runs {
        let mut tests = guards.begin();
        let mut slots: Vec<(u64, u64)> = Vec::new();
        for now in 0..600u32 {
            let (canary_rate, primary_rate) = rates(now);
            slots.push((draws.failures(10, canary_rate), draws.failures(90, primary_rate)));
            tests.open(key(now), false);
            for slot in [Some(now), now.checked_sub(late)].into_iter().flatten() {
                let (canary_failed, primary_failed) = slots[slot as usize];
                let known = slot + late <= now;
                let side = |started, failed, pending| Observed {
                    started,
                    failed,
                    pending,
                    unknown: pending,
                    timed: started,
                    timed_pending: pending,
                    timed_unknown: pending,
                    slow: failed,
                    ..Observed::NOTHING
                };
                let primary = if known { side(90, primary_failed, 0) } else { side(90, 0, primary_failed) };
                let canary = side(10, canary_failed, 0);
                tests.observe(key(slot), ObservedSlot { canary, primary, split: TENTH, ..ObservedSlot::NOTHING }, true);
            }
            if guards.look(&tests, &PerVersion::default(), &Ratio::default()).tripped.is_some() {
                tripped += 1;
                break;
            }
        }
    }
    tripped as f64 / runs as f64
}

const TENTH: Option<Allocation> = Some(Allocation { weight: 0.1, is_drawn: false });

const fn key(slot: u32) -> SlotKey {
    SlotKey { epoch: Epoch(1), slot: Slot(slot) }
}

/// 3 of 300 runs are expected at most; 12 would be a one in ten thousand event.
const RUNS: u64 = 300;
const TOLERATED: f64 = 12.0 / 300.0;

#[test]
fn false_aborts_stay_below_alpha_at_the_boundary_under_peeking() {
    let slo = GuardRule::Slo { limit: 0.01, unless_primary_also: false };
    let share = false_aborts(slo, RUNS, 0, |_| (0.01, 0.01));
    assert!(share <= TOLERATED, "{share}");
}

#[test]
fn shared_incidents_and_drift_abort_no_canary_that_is_as_good_as_the_primary() {
    let regression = GuardRule::Regression { margin: 1.0, floor_rate: 0.000_001 };
    let incident = |slot: u32| if slot % 300 < 60 { 0.2 } else { 0.002 + f64::from(slot) * 1e-5 };
    let share = false_aborts(regression, RUNS, 0, |slot| (incident(slot), incident(slot)));
    assert!(share <= TOLERATED, "{share}");
}

#[test]
fn a_canary_that_fails_fast_while_the_primary_times_out_is_not_aborted() {
    let regression = GuardRule::Regression { margin: 1.0, floor_rate: 0.000_001 };
    let incident = |slot: u32| if slot % 200 < 60 { 0.1 } else { 0.001 };
    let share = false_aborts(regression, RUNS, 20, |slot| (incident(slot), incident(slot)));
    assert!(share <= TOLERATED, "{share}");
}

#[test]
fn the_same_simulation_finds_what_is_really_worse() {
    // The test of the tests above: a simulation in which nothing ever trips would pass them too.
    let regression = GuardRule::Regression { margin: 1.0, floor_rate: 0.000_001 };
    assert!(false_aborts(regression, 40, 20, |_| (0.05, 0.01)) > 0.9);
    let slo = GuardRule::Slo { limit: 0.01, unless_primary_also: false };
    assert!(false_aborts(slo, 40, 0, |_| (0.03, 0.03)) > 0.9);
}
