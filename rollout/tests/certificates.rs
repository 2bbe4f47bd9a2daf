//! A release that advances on certificate, in the agent's engine: left when proven, held when not, and never early.

#![cfg(test)]

mod fixture;

use fixture::scene::Scene;
use fixture::{id, on_certificate, word};
use rollout::base::time::Micros;
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::{GuardAction, GuardName};
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::phase::{Cause, Hold, Note, Phase, Proof};

const FAST: Micros = Micros(9_000);

fn scene() -> Scene {
    Scene::new(|spec| on_certificate(spec, Otherwise::Hold, Otherwise::Hold))
}

/// Reports of 100 ms until a step is left; so many came.
fn until_left(scene: &mut Scene, served: [u64; 2], most: u32) -> Option<u32> {
    let step =
        |scene: &Scene| scene.canary().phase.run().map(|_| (scene.canary().phase.name(), scene.canary().phase.steps()));
    let before = step(scene);
    (1..=most).find(|_| {
        scene.serve(served, 0, FAST);
        step(scene) != before
    })
}

#[test]
fn a_step_is_left_when_it_is_proven_and_has_lasted_its_least_time() {
    let mut scene = scene();
    let reports = until_left(&mut scene, [90, 10], 1_000).unwrap();
    assert_eq!(reports, 100, "proven after 38 reports of 10 requests, but 10 s is the least");
    let stepped = scene.canary().history.iter().rev().find_map(|event| match &event.note {
        Note::Stepped { proof: Some(Proof::Certificate(verdict)), .. } => Some(verdict.clone()),
        _ => None,
    });
    assert!(stepped.unwrap().is_certified());
}

#[test]
fn with_little_traffic_it_takes_as_many_requests_as_the_table_says_afresh_on_each_step() {
    let mut scene = Scene::new(|spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        // The share stays at 10 % here whatever the weight.
        spec.guards.sample_ratio = None;
    });
    for _ in 0..3 {
        let reports = until_left(&mut scene, [9, 1], 2_000).unwrap();
        assert_eq!(reports, 372, "the evidence is this step's own");
    }
    assert_eq!(scene.canary().phase.name(), "Promoting", "three steps and nobody asked a check");
}

#[test]
fn a_restart_forgets_no_proof() {
    let mut scene = scene();
    (0..300).for_each(|_| drop(scene.serve([9, 1], 0, FAST)));
    let text = serde_json::to_string(&scene.controller).unwrap();
    scene.controller = serde_json::from_str(&text).unwrap();
    assert_eq!(until_left(&mut scene, [9, 1], 2_000), Some(72));
}

/// One request in 50 fails: above the limit of 1 %, but far from the evidence that the guard needs here.
#[test]
fn what_is_not_proven_is_held_paused_or_failed_as_the_plan_says() {
    for (otherwise, phase) in
        [(Otherwise::Hold, "Progressing"), (Otherwise::Pause, "Paused"), (Otherwise::Fail, "Failed")]
    {
        let mut scene = Scene::new(|spec| {
            on_certificate(spec, otherwise, Otherwise::Hold);
            spec.guards.guards.retain(|guard| guard.rule.name() == GuardName::Slo);
            spec.guards.alpha = 1e-300;
        });
        for report in 0..6_100u64 {
            scene.serve([90, 10], u64::from(report % 5 == 0), FAST);
        }
        let canary = scene.canary();
        assert_eq!(canary.phase.name(), phase);
        match &canary.phase {
            Phase::Failed(_, cause) => assert!(matches!(cause, Cause::Undecided { .. }), "{cause:?}"),
            running => assert_eq!(running.hold(), Some(&Hold::Undecided)),
        }
    }
}

#[test]
fn no_traffic_is_no_proof_and_has_a_deadline_of_its_own() {
    for (otherwise, phase) in
        [(Otherwise::Hold, "Progressing"), (Otherwise::Pause, "Paused"), (Otherwise::Fail, "Failed")]
    {
        let mut scene = Scene::new(|spec| on_certificate(spec, Otherwise::Hold, otherwise));
        let mut looks = 0;
        while scene.canary().phase.name() == "Progressing" && looks < 5 {
            // The engine's own timer: no report comes, for there is nothing to report.
            let due = scene.controller.deadline().unwrap();
            scene.number = due.0.saturating_sub(1_000) / 100;
            scene.happen(Event::Timer);
            looks += 1;
        }
        assert_eq!(scene.canary().phase.name(), phase);
        if otherwise == Otherwise::Hold {
            assert_eq!(scene.canary().phase.hold(), Some(&Hold::NoTraffic));
        }
    }
}

#[test]
fn a_bad_canary_is_cut_long_before_it_is_proven_and_a_paused_one_stays_though_proven() {
    let mut scene = scene();
    (0..20).for_each(|_| drop(scene.report(3)));
    assert!(matches!(scene.canary().phase, Phase::Failed(_, Cause::Guards(_))));

    let mut scene = self::scene();
    scene.happen(Event::Requested(id("web"), Verb::Pause { actor: word("ana"), reason: "lunch".into() }));
    assert_eq!(until_left(&mut scene, [90, 10], 300), None);
    scene.happen(Event::Requested(id("web"), Verb::Resume { actor: word("ana"), reason: String::new() }));
    assert_eq!(until_left(&mut scene, [90, 10], 300), Some(100), "the least time counts from there");
}

#[test]
fn a_wrong_share_pauses_the_release_and_says_that_the_evidence_is_suspect() {
    let mut scene = scene();
    (0..200).for_each(|_| drop(scene.serve([75, 25], 0, FAST)));
    let tripped = scene.canary().history.iter().find_map(|event| match &event.note {
        Note::Tripped(verdict) => verdict.tripped,
        _ => None,
    });
    assert_eq!(tripped, Some((GuardAction::Pause, GuardName::SampleRatio)), "10 % was meant, 25 % came");
    assert_eq!(scene.canary().phase.name(), "Paused");
}

/// The primary answers in 300 ms, of which nobody complains; the canary takes 400.
#[test]
fn a_canary_slower_than_the_primary_trips_its_guard_although_it_is_within_the_limit() {
    let slower = |margin: f64| {
        let mut scene = Scene::new(|spec| {
            let all = GuardSettings {
                latency_margin: margin,
                ..GuardSettings::all(Some(GuardAction::Abort), GuardAction::Pause)
            };
            spec.guards = guards_of(&spec.checks, false, &all);
        });
        for _ in 0..400 {
            scene.serve_each([(90, Micros(300_000)), (10, Micros(400_000))]);
        }
        scene.canary().verdict.clone().unwrap().tripped
    };
    assert_eq!(slower(1.1), Some((GuardAction::Pause, GuardName::LatencyRegression)));
    assert_eq!(slower(1.5), None);
}
