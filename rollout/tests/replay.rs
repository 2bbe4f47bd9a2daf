//! Records hold all that a replay needs, and a replay says what happened and what would have under other settings.

#![cfg(test)]

mod fixture;

use proptest::prelude::*;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Certificate;
use rollout::judgement::guards::{GuardAction, GuardName, GuardRule};
use rollout::record::replay::{Replay, ReplayError};
use rollout::record::{FORMAT, KIND, Opening, ReleaseOutcome as End};
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::phase::{Cause, Note, Phase, ReleaseId};
use rollout::release::plan::{Advance, Plan, Spec};
use rollout::routing::table::Epoch;

use fixture::recorded::{Scene, replay};
use fixture::{cases, hello, id, in_lane, plan, word};

const NAMES: [&str; 2] = ["web", "cart"];

fn guarded(name: &str, action: Option<GuardAction>) -> Plan {
    plan(name, |spec| {
        spec.guards = guards_of(&spec.checks, false, &GuardSettings::all(action, GuardAction::Abort));
        // The share stays what it is here, whatever the weight.
        spec.guards.sample_ratio = None;
    })
}

fn with_slo(name: &str, limit: f64) -> Plan {
    let mut plan = Spec::from(guarded(name, Some(GuardAction::Abort)));
    plan.guards.guards.retain(|guard| matches!(guard.rule, GuardRule::Slo { .. }));
    plan.guards.guards[0].rule = GuardRule::Slo { limit, unless_primary_also: false };
    Plan::new(plan).unwrap()
}

/// A release that goes bad after two seconds of health.
fn goes_bad(plan: Plan) -> Scene {
    let mut scene = Scene::new([plan]);
    scene.release("web", "v2");
    (0..20).for_each(|_| scene.report(&[("web", 0)]));
    while scene.controller.canary(&id("web")).unwrap().phase.run().is_some() && scene.number < 60 {
        scene.report(&[("web", 2)]);
    }
    scene
}

#[test]
fn the_same_settings_abort_at_the_same_report_by_the_same_guard() {
    let scene = goes_bad(guarded("web", Some(GuardAction::Abort)));
    let replayed = scene.replay("web", 1, Some(guarded("web", Some(GuardAction::Abort))));
    let abort = replayed.recorded.abort.clone().expect("it was aborted");
    assert_eq!((abort.guard, abort.since_ms), (Some(GuardName::Regression), scene.number * 100));
    assert_eq!((abort.canary_requests, replayed.canary_requests), (scene.number * 10, scene.number * 10));
    assert_eq!(replayed.until_ms, abort.since_ms);
    assert!(replayed.aborted_by_guards && replayed.ended_otherwise.is_none());
    assert_eq!(replayed.ended.as_ref().unwrap().outcome, End::Aborted);
    assert!(replayed.ended.unwrap().message.contains("guard regression"));
    assert_eq!(replayed.other, Some(replayed.recorded));
}

#[test]
fn stricter_settings_trip_earlier_laxer_ones_later_or_never_and_guards_off_never() {
    let scene = goes_bad(with_slo("web", 0.05));
    let abort = |plan| scene.replay("web", 1, Some(plan)).other.unwrap().abort.map(|abort| abort.since_ms);
    let recorded = scene.replay("web", 1, None).recorded.abort.unwrap().since_ms;
    assert_eq!(abort(with_slo("web", 0.05)), Some(recorded));
    assert!(abort(with_slo("web", 0.01)) < Some(recorded) && abort(with_slo("web", 0.01)).is_some());
    assert_eq!(abort(with_slo("web", 0.2)), None);
    assert_eq!(abort(guarded("web", None)), None);
    let softer = scene.replay("web", 1, Some(guarded("web", Some(GuardAction::Notify)))).other.unwrap();
    let tripped: Vec<_> = softer.trips.iter().map(|trip| (trip.guard, trip.action)).collect();
    let told = |guard| (guard, GuardAction::Notify);
    assert_eq!((softer.abort, tripped), (None, vec![told(GuardName::Regression), told(GuardName::Slo)]));
    let progress = |limit| scene.replay("web", 1, Some(with_slo("web", limit))).other.unwrap().guards[0].percent();
    assert!(progress(0.05) >= 100.0 && (1.0..100.0).contains(&progress(0.06)), "{}", progress(0.06));
}

#[test]
fn another_latency_limit_is_judged_from_the_histograms_and_says_so() {
    let mut scene = Scene::new([guarded("web", Some(GuardAction::Abort))]);
    scene.release("web", "v2");
    (0..20).for_each(|_| scene.report(&[("web", 0)]));
    // Every answer took 20 ms; the recorded limit is 500 ms.
    let other = plan("web", |spec| {
        spec.checks[1].range.max = Some(10.0);
        let all = GuardSettings::all(Some(GuardAction::Abort), GuardAction::Abort);
        spec.guards = guards_of(&spec.checks, false, &GuardSettings { latency_unless_primary_also: false, ..all });
    });
    let replayed = scene.replay("web", 1, Some(other));
    assert!(!replayed.recorded.latency_estimated && replayed.recorded.abort.is_none());
    let judged = replayed.other.unwrap();
    assert!(judged.latency_estimated);
    assert_eq!(judged.abort.unwrap().guard, Some(GuardName::Latency));
    assert_eq!(replayed.ended, None, "it still runs");
}

#[test]
fn steps_are_told_with_their_certificates() {
    let mut scene = Scene::new([guarded("web", Some(GuardAction::Abort))]);
    scene.release("web", "v2");
    for _ in 0..4 {
        (0..99).for_each(|_| scene.report(&[("web", 0)]));
        scene.wait(Millis(200));
    }
    scene.ask("web", Verb::Confirm { actor: word("ana"), reason: String::new() });
    scene.wait(Millis::from_secs(20));
    let replayed = scene.replay("web", 1, Some(with_slo("web", 0.000_001)));
    assert_eq!(replayed.ended.unwrap().outcome, End::Promoted);
    let weights: Vec<f64> = replayed.steps.iter().map(|step| step.weight_percent).collect();
    assert_eq!(weights, [10.0, 20.0, 30.0]);
    assert_eq!((replayed.steps[0].from_ms, replayed.steps[0].to_ms), (0, Some(10_000)));
    assert_eq!(replayed.steps[1].canary_requests, 990);
    let certified = replayed.recorded.certified;
    assert_eq!(certified.len(), 3);
    let first = certified[0].clone().unwrap();
    assert!((300..900).contains(&first.canary_requests) && first.since_ms == first.canary_requests * 10, "{first:?}");
    assert!(certified[1].clone().unwrap().since_ms > 10_000);
    assert_eq!(replayed.other.unwrap().certified, [None, None, None]);
}

#[test]
fn thresholds_of_other_settings_are_looked_at_on_their_own_ticks() {
    let mut scene = Scene::new([plan("web", |_| ())]);
    scene.release("web", "v2");
    for _ in 0..2 {
        (0..99).for_each(|_| scene.report(&[("web", 1)]));
        scene.wait(Millis(200));
    }
    let replayed =
        scene.replay("web", 1, Some(plan("web", |spec| (spec.interval, spec.threshold) = (Millis(3_000), 2))));
    let (recorded, other) = (replayed.recorded, replayed.other.unwrap());
    assert_eq!((recorded.checks.looks, recorded.checks.failed, recorded.abort), (2, 2, None));
    assert_eq!(recorded.checks.first_failed_ms, Some(10_000));
    assert_eq!((other.checks.looks, other.checks.failed, other.checks.first_failed_ms), (2, 2, Some(3_000)));
    let abort = other.abort.unwrap();
    assert_eq!((abort.guard, abort.since_ms), (None, 6_000));
    assert!(other.checks.first_failed.unwrap().contains("request-success-rate"));
}

#[test]
fn checks_are_replayed_on_their_steps_own_requests() {
    let mut scene = Scene::new([plan("web", |spec| {
        spec.interval = Millis(2_000);
        spec.checks.iter_mut().for_each(|check| check.window = Millis::from_secs(60));
    })]);
    scene.release("web", "v2");
    (0..10).for_each(|_| scene.report(&[("web", 0)]));
    scene.wait(Millis(2_000));
    // One of ten on this step, one of 110 with those of the step before.
    scene.report(&[("web", 1)]);
    scene.wait(Millis(2_000));
    scene.ask("web", Verb::Abort { actor: word("ana"), reason: "enough".into() });
    let checks = scene.replay("web", 1, None).recorded.checks;
    assert_eq!((checks.looks, checks.failed), (2, 1), "{checks:?}");
}

#[test]
fn what_is_no_record_is_refused_by_name() {
    let scene = goes_bad(guarded("web", Some(GuardAction::Abort)));
    let (opening, lines) = scene.record("web", 1);
    let refused = |opening| Replay::new(opening, None).unwrap_err();
    let later = refused(Opening { format: FORMAT + 1, ..opening.clone() });
    assert_eq!(later, ReplayError::Format(FORMAT + 1));
    assert!(later.to_string().contains(&format!("format is {}, this program reads format {FORMAT}", FORMAT + 1)));
    assert_eq!(
        refused(Opening { kind: "diary".into(), ..opening.clone() }).to_string(),
        format!("it says it is \"diary\", not {KIND:?}")
    );
    assert_eq!(refused(Opening { canary: id("x"), ..opening.clone() }), ReplayError::NoCanary(id("x")));
    let mut replay = Replay::new(opening.clone(), None).unwrap();
    assert_eq!(replay.take(lines[1].clone()), Err(ReplayError::NotBegun(1)));
    assert_eq!(Replay::new(opening, None).unwrap().finish(), Err(ReplayError::NotBegun(1)));
}

#[test]
fn an_end_that_this_build_does_not_come_to_is_told() {
    let scene = goes_bad(guarded("web", Some(GuardAction::Abort)));
    let (opening, mut lines) = scene.record("web", 1);
    lines.last_mut().unwrap().ended.as_mut().unwrap().outcome = End::Promoted;
    let replayed = replay(opening, lines, None);
    assert_eq!(replayed.ended_otherwise.unwrap().outcome, End::Promoted);
    assert_eq!(replayed.ended.unwrap().outcome, End::Aborted);
}

#[derive(Clone, Debug)]
enum Op {
    Report([Option<u64>; 2]),
    Again,
    Wait(u64),
    Ask(usize, u8, u8),
    Declare(usize, u8),
    Withdraw(usize),
    Reconnect(Option<usize>),
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let failed = prop_oneof![3 => Just(None), 6 => Just(Some(0u64)), 2 => (0u64..4).prop_map(Some)];
    let canary = 0..NAMES.len();
    let op = prop_oneof![
        30 => prop::array::uniform2(failed).prop_map(Op::Report),
        2 => Just(Op::Again),
        4 => (0u64..12_000).prop_map(Op::Wait),
        4 => (canary.clone(), 0u8..6, 0u8..3).prop_map(|(canary, verb, revision)| Op::Ask(canary, verb, revision)),
        1 => (canary.clone(), 0u8..12).prop_map(|(canary, variant)| Op::Declare(canary, variant)),
        1 => canary.clone().prop_map(Op::Withdraw),
        1 => prop::option::of(canary).prop_map(Op::Reconnect),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 10..150)
}

fn play(scene: &mut Scene, op: &Op) {
    match *op {
        Op::Report(failed) => {
            let about = NAMES.into_iter().zip(failed).filter_map(|(name, failed)| Some((name, failed?)));
            scene.report(&about.collect::<Vec<_>>());
        }
        Op::Again => {
            scene.number = scene.number.saturating_sub(1);
            scene.report(&[("web", 3)]);
        }
        Op::Wait(ms) => scene.wait(Millis(ms)),
        Op::Ask(canary, 0, revision) => scene.release(NAMES[canary], &format!("v{revision}")),
        Op::Ask(canary, verb, _) => {
            let (actor, reason) = (word("ana"), String::from("so"));
            let verb = match verb {
                1 => Verb::Abort { actor, reason },
                2 => Verb::Promote { actor, reason: String::new() },
                3 => Verb::Confirm { actor, reason: String::new() },
                4 => Verb::Pause { actor, reason },
                _ => Verb::Resume { actor, reason: String::new() },
            };
            scene.ask(NAMES[canary], verb);
        }
        Op::Declare(canary, variant) => {
            let action = [Some(GuardAction::Abort), Some(GuardAction::Pause), None][usize::from(variant % 3)];
            let mut spec = Spec::from(guarded(NAMES[canary], action));
            if variant % 6 >= 3 && action.is_some() {
                spec.advance = Advance::Certificate(Certificate::USUAL);
            }
            if variant >= 6 {
                in_lane(&mut spec, canary);
            }
            scene.happen(Event::Declared(Box::new(Plan::new(spec).unwrap())));
        }
        Op::Withdraw(canary) => scene.happen(Event::Withdrawn(id(NAMES[canary]))),
        Op::Reconnect(knows) => {
            let epoch =
                |name: &str| scene.controller.canary(&id(name)).map_or(Epoch(0), |canary| canary.epoch.next_abort());
            let adopted = knows.map(|canary| (id(NAMES[canary]), epoch(NAMES[canary])));
            scene.happen(Event::Disconnected(Conn(1)));
            scene.happen(Event::Connected(Conn(1), hello(7, adopted.into_iter().collect())));
        }
        Op::Restart => {
            scene.happen(Event::Restarted { away: Millis(0) });
            scene.happen(Event::Connected(Conn(1), hello(7, vec![])));
        }
    }
}

/// Each release with how it went: phase and guards' last words after each of its events.
type Seen = Vec<(CanaryId, ReleaseId, Option<Phase>)>;

proptest! {
    #![proptest_config(cases(96))]
    #[test]
    fn a_record_folds_to_what_the_whole_journal_folds_to(ops in ops(), variant in prop::sample::select(vec![0u8, 6])) {
        let mut scene = Scene::new([]);
        [0, 1].into_iter().for_each(|canary| play(&mut scene, &Op::Declare(canary, variant)));
        let mut seen: Seen = vec![];
        scene.release("web", "v1");
        scene.release("cart", "v1");
        for op in &ops {
            play(&mut scene, op);
            let running: Vec<(CanaryId, ReleaseId)> = scene.recorder.running().clone().into_iter().collect();
            for (canary, release) in running {
                seen.retain(|(other, number, _)| (other, number) != (&canary, &release));
                let phase = scene.controller.canary(&canary).map(|canary| canary.phase.clone());
                seen.push((canary, release, phase));
            }
        }
        for (canary, release, _) in seen {
            let (opening, lines) = scene.record(canary.name(), release.0);
            let has_ended = lines.last().is_some_and(|line| line.ended.is_some());
            let mut replay = Replay::new(opening, None).unwrap();
            lines.into_iter().for_each(|line| replay.take(line).unwrap());
            if !has_ended {
                let whole = scene.controller.canary(&canary).unwrap();
                let part = replay.canary().unwrap();
                prop_assert_eq!((&part.phase, &part.evidence, &part.verdict), (&whole.phase, &whole.evidence, &whole.verdict));
            }
            let phase = replay.canary().map(|canary| canary.phase.clone());
            // After the manifest is removed, nobody is left to ask.
            let noted: Option<Vec<(GuardAction, GuardName)>> = replay.canary().map(|canary| {
                let tripped = canary.history.iter().filter_map(|event| match &event.note {
                    Note::Tripped(verdict) | Note::Aborted(Cause::Guards(verdict)) => verdict.tripped,
                    _ => None,
                });
                tripped.collect()
            });
            let replayed = replay.finish().unwrap();
            prop_assert_eq!(replayed.ended.is_some(), has_ended);
            prop_assert_eq!(&replayed.ended_otherwise, &None);
            if let Some(noted) = noted {
                let trips: Vec<(GuardAction, GuardName)> =
                    replayed.recorded.trips.iter().map(|trip| (trip.action, trip.guard)).collect();
                prop_assert_eq!(trips, noted);
            }
            // The guards beside the fold say what the fold says: the same guard at the same event, or none.
            let trip = replayed.recorded.trips.iter().find(|trip| trip.action == GuardAction::Abort);
            prop_assert_eq!(trip.is_some(), replayed.aborted_by_guards);
            if let (Some(trip), Some(Phase::Failed(_, Cause::Guards(verdict)))) = (trip, phase) {
                prop_assert_eq!(Some((trip.action, trip.guard)), verdict.tripped);
                prop_assert_eq!(trip.since_ms, replayed.until_ms);
            }
        }
    }
}
