//! The primary that breaks while a release is on: seen in every phase with traffic, held against nobody else, and no user is
//! sent there but by a person.

#![cfg(test)]

mod fixture;

use fixture::scene::Scene;
use fixture::{hook, id, on_certificate, percent, released, word};
use rollout::base::time::{Micros, Millis};
use rollout::controller::{Command, Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::GuardAction;
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::integrations::{Alert, HookKind, Receiver, ReceiverKind, Severity};
use rollout::release::phase::{Actor, Note, ReleaseId};
use rollout::release::plan::{Advance, Deadlines, OnPrimaryFailure, Promotion, Spec, Strategy};
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::view::{explanation, status};

const FAST: Micros = Micros(9_000);
const SLOW: Micros = Micros(900_000);

/// What both versions do for a while: requests, failed ones, time of the others.
type Side = (u64, u64, Micros);

const WELL: Side = (30, 0, FAST);
const DEAD: Side = (30, 30, FAST);
/// A third fails: any status that a guard takes as failed, gRPC's too, is one number here.
const ILL: Side = (30, 10, FAST);
const TIRED: Side = (30, 0, SLOW);

fn scene(change: impl FnOnce(&mut Spec)) -> Scene {
    Scene::new(|spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.strategy = Strategy::Steps(vec![percent(50)]);
        // Some tests serve one side alone.
        spec.guards.sample_ratio = None;
        change(spec);
    })
}

fn by(verb: impl FnOnce(Actor, String) -> Verb) -> Verb {
    verb(word("ana"), "so".into())
}

fn ask(scene: &mut Scene, verb: Verb) -> Result<(), String> {
    scene.number += 1;
    scene.happen(Event::Requested(id("web"), verb)).reply.unwrap().map(drop).map_err(|refused| refused.to_string())
}

fn go_on(scene: &mut Scene, sides: [Side; 2], reports: usize) {
    (0..reports).for_each(|_| {
        scene.send(sides);
        adopt(scene);
    });
}

fn adopt(scene: &mut Scene) {
    let epoch = scene.canary().epoch;
    scene.happen(Event::Adopted(rollout::controller::fleet::Conn(1), id("web"), epoch));
}

/// So many seconds later: the clock alone.
fn wait(scene: &mut Scene, seconds: u64) {
    for _ in 0..seconds {
        scene.number += 10;
        scene.happen(Event::Timer);
    }
}

fn fails(scene: &Scene) -> bool {
    scene.canary().evidence.primary_fails().is_some()
}

fn notes(scene: &Scene) -> impl Iterator<Item = &Note> {
    scene.canary().history.iter().map(|event| &event.note)
}

fn share(scene: &Scene) -> f64 {
    scene.canary().weight().percent()
}

fn place(scene: &Scene) -> (&'static str, f64) {
    (scene.canary().phase.name(), share(scene))
}

fn status(scene: &Scene) -> status::CanaryStatus {
    status::canary(&scene.controller, scene.canary(), Millis(1_000 + scene.number * 100))
}

/// A release that waits for `serin confirm` at half of the traffic.
fn promoting(change: impl FnOnce(&mut Spec)) -> Scene {
    let mut scene = scene(change);
    adopt(&mut scene);
    go_on(&mut scene, [WELL, WELL], 5);
    ask(&mut scene, by(|actor, reason| Verb::Promote { actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Promoting", 50.0));
    adopt(&mut scene);
    scene
}

#[test]
fn in_each_phase_with_traffic_the_one_that_fails_is_found_and_no_other() {
    let phases: [(&str, fn() -> Scene); 4] = [
        ("Progressing", || scene(|_| ())),
        ("Paused", || {
            let mut scene = scene(|_| ());
            ask(&mut scene, by(|actor, reason| Verb::Pause { actor, reason })).unwrap();
            scene
        }),
        ("WaitingPromotion", || {
            let mut scene = scene(|spec| {
                spec.outside.hooks.push(fixture::gate("owner", HookKind::ConfirmPromotion));
            });
            adopt(&mut scene);
            go_on(&mut scene, [WELL, WELL], 120);
            scene
        }),
        ("Promoting", || promoting(|_| ())),
    ];
    // Primary and canary, then whether the primary is found failing, and whether the canary is left alone.
    let cases = [
        ([WELL, WELL], false, true),
        ([DEAD, WELL], true, true),
        ([ILL, WELL], true, true),
        ([TIRED, WELL], true, true),
        ([WELL, DEAD], false, false),
        ([WELL, TIRED], false, false),
    ];
    for (name, begin) in phases {
        for (sides, is_primary, is_left_alone) in cases {
            let mut scene = begin();
            adopt(&mut scene);
            assert_eq!(scene.canary().phase.name(), name);
            go_on(&mut scene, sides, 20);
            assert_eq!(fails(&scene), is_primary, "{name}: {sides:?}");
            assert_eq!(scene.canary().phase.name() != "Failed", is_left_alone, "{name}: {sides:?}");
            let found = notes(&scene).filter(|note| matches!(note, Note::PrimaryFails(_))).count();
            assert_eq!(found, usize::from(is_primary), "{name}: {sides:?}: said once");
        }
    }
}

#[test]
fn what_fails_on_both_is_not_the_primarys_fault() {
    for both in [DEAD, ILL, TIRED] {
        // Whether a shared outage aborts is the canary's guards' to say.
        let mut scene = promoting(|spec| {
            spec.advance = Advance::Interval;
            spec.guards.guards.iter_mut().for_each(|guard| guard.action = GuardAction::Notify);
        });
        go_on(&mut scene, [both, both], 50);
        assert!(!fails(&scene), "{both:?}");
        ask(&mut scene, by(|actor, reason| Verb::Confirm { actor, reason })).unwrap();
    }
}

#[test]
fn a_primary_within_its_limits_is_never_found_failing() {
    let mut scene = promoting(|_| ());
    // 0.9 % of its requests fail, none of the canary's: worse, but allowed.
    for _ in 0..200 {
        go_on(&mut scene, [(110, 1, FAST), (110, 0, FAST)], 1);
        assert!(!fails(&scene));
    }
}

#[test]
fn confirming_onto_a_failing_primary_takes_force_and_a_reason() {
    for ill in [DEAD, ILL, TIRED] {
        let mut scene = promoting(|_| ());
        go_on(&mut scene, [ill, WELL], 10);
        let refused = ask(&mut scene, by(|actor, reason| Verb::Confirm { actor, reason })).unwrap_err();
        assert!(refused.contains("the primary fails") && refused.contains("--force --reason"), "{refused}");
        let (actor, reason) = (word("ana"), String::new());
        let refused = ask(&mut scene, Verb::ForceConfirm { actor, reason }).unwrap_err();
        assert!(refused.contains("says why"), "{refused}");
        assert_eq!(place(&scene), ("Promoting", 50.0));
        ask(&mut scene, by(|actor, reason| Verb::ForceConfirm { actor, reason })).unwrap();
        assert_eq!(place(&scene), ("Finalising", 0.0));
        let accepted = |note: &Note| matches!(note, Note::PrimaryAccepted { actor, reason } if *actor == word("ana") && reason == "so");
        assert!(notes(&scene).any(accepted));
        adopt(&mut scene);
        assert_eq!(scene.canary().phase.name(), "Succeeded");
    }
}

#[test]
fn force_is_no_more_than_confirm_where_nothing_fails() {
    let mut scene = promoting(|_| ());
    go_on(&mut scene, [WELL, WELL], 10);
    ask(&mut scene, Verb::ForceConfirm { actor: word("ana"), reason: String::new() }).unwrap();
    assert!(!notes(&scene).any(|note| matches!(note, Note::PrimaryAccepted { .. })));
    assert_eq!(scene.canary().phase.name(), "Finalising");
}

#[test]
fn traffic_does_not_walk_back_onto_a_failing_primary_and_goes_on_when_it_is_well() {
    let mut scene = promoting(|spec| spec.course.promotion_step = Some(percent(20)));
    ask(&mut scene, by(|actor, reason| Verb::Confirm { actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Promoting", 30.0));
    adopt(&mut scene);
    go_on(&mut scene, [DEAD, WELL], 20);
    wait(&mut scene, 600);
    assert_eq!(place(&scene), ("Promoting", 30.0), "it walked on");
    let refused = ask(&mut scene, by(|actor, reason| Verb::Skip { actor, reason })).unwrap_err();
    assert!(refused.contains("the primary fails"), "{refused}");
    go_on(&mut scene, [WELL, WELL], 10);
    assert!(fails(&scene), "a few good answers prove nothing");
    go_on(&mut scene, [WELL, WELL], 30);
    assert!(!fails(&scene));
    assert!(notes(&scene).any(|note| matches!(note, Note::PrimaryRecovered(_))));
    wait(&mut scene, 10);
    assert_eq!(place(&scene), ("Promoting", 10.0));
    // It may fail again, and is found again.
    adopt(&mut scene);
    go_on(&mut scene, [DEAD, WELL], 20);
    wait(&mut scene, 60);
    assert_eq!((place(&scene), fails(&scene)), (("Promoting", 10.0), true));
    assert_eq!(notes(&scene).filter(|note| matches!(note, Note::PrimaryFails(_))).count(), 2);
}

#[test]
fn the_hooks_word_sends_nobody_to_a_failing_primary() {
    for step in [None, Some(percent(20))] {
        let mut scene = promoting(|spec| {
            spec.promotion = hook();
            spec.course.promotion_step = step;
        });
        go_on(&mut scene, [DEAD, WELL], 10);
        let round = scene.canary().phase.run().unwrap().round;
        let call = CallId { release: ReleaseId(1), round, callee: Callee::Promotion };
        scene.happen(Event::Reply { canary: id("web"), call, reply: Reply::Hook(Ok(())) });
        wait(&mut scene, 60);
        assert_eq!(place(&scene), ("Promoting", 50.0), "{step:?}");
        go_on(&mut scene, [WELL, WELL], 60);
        wait(&mut scene, 20);
        assert_ne!(place(&scene), ("Promoting", 50.0), "the hook has said so: it goes on by itself");
    }
}

#[test]
fn no_deadline_aborts_onto_a_failing_primary() {
    let second = |seconds| Some(Millis::from_secs(seconds));
    let deadlines = Deadlines {
        waiting: None,
        progressing: second(30),
        waiting_promotion: second(30),
        promoting: second(30),
    };
    let mut held = promoting(|spec| spec.course.deadlines = deadlines);
    go_on(&mut held, [DEAD, WELL], 10);
    wait(&mut held, 600);
    assert_eq!(place(&held), ("Promoting", 50.0));
    let needs = status(&held).needs_person.unwrap();
    assert!(needs.contains("serin set-weight prod/web --weight 100") && needs.contains("--force"), "{needs}");
    go_on(&mut held, [WELL, WELL], 60);
    assert_eq!(held.canary().phase.name(), "Promoting", "counted from its recovery");
    wait(&mut held, 40);
    assert_eq!(held.canary().phase.name(), "Failed", "as the manifest says: {:?}", notes(&held).collect::<Vec<_>>());
    let mut progressing = scene(|spec| spec.course.deadlines = deadlines);
    adopt(&mut progressing);
    go_on(&mut progressing, [DEAD, (1, 0, FAST)], 20);
    wait(&mut progressing, 600);
    assert_eq!(progressing.canary().phase.name(), "Progressing");
}

#[test]
fn what_proves_nothing_in_time_does_not_fail_onto_a_failing_primary() {
    let begin = || {
        let mut scene = scene(|spec| {
            on_certificate(spec, Otherwise::Fail, Otherwise::Hold);
            spec.guards.sample_ratio = None;
        });
        adopt(&mut scene);
        scene
    };
    let mut held = begin();
    go_on(&mut held, [DEAD, (1, 0, FAST)], 20);
    wait(&mut held, 700);
    assert_eq!(held.canary().phase.name(), "Progressing", "{:?}", notes(&held).collect::<Vec<_>>());
    let mut failed = begin();
    go_on(&mut failed, [WELL, (1, 0, FAST)], 20);
    wait(&mut failed, 700);
    assert_eq!(failed.canary().phase.name(), "Failed");
}

#[test]
fn people_move_users_to_the_canary_while_it_is_promoted_and_back() {
    let mut scene = promoting(|spec| spec.course.promotion_step = Some(percent(20)));
    go_on(&mut scene, [DEAD, WELL], 10);
    ask(&mut scene, by(|actor, reason| Verb::SetWeight { weight: percent(100), actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Promoting", 100.0));
    adopt(&mut scene);
    go_on(&mut scene, [(0, 0, FAST), WELL], 10);
    wait(&mut scene, 600);
    assert_eq!(place(&scene), ("Promoting", 100.0));
    // Nobody can be seen to be well without a request.
    ask(&mut scene, by(|actor, reason| Verb::SetWeight { weight: percent(50), actor, reason })).unwrap();
    adopt(&mut scene);
    go_on(&mut scene, [WELL, WELL], 60);
    assert!(!fails(&scene));
    assert_eq!(status(&scene).needs_person.unwrap(), "bring the primary to v2, then `serin confirm prod/web`");
    ask(&mut scene, by(|actor, reason| Verb::Confirm { actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Promoting", 30.0));
    adopt(&mut scene);
    ask(&mut scene, by(|actor, reason| Verb::Pause { actor, reason })).unwrap();
    wait(&mut scene, 60);
    assert_eq!(place(&scene), ("Promoting", 30.0));
    assert_eq!(status(&scene).needs_person.unwrap(), "`serin resume prod/web` lets it go on");
    ask(&mut scene, by(|actor, reason| Verb::Resume { actor, reason })).unwrap();
    ask(&mut scene, by(|actor, reason| Verb::Skip { actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Promoting", 10.0));
    wait(&mut scene, 15);
    adopt(&mut scene);
    assert_eq!(scene.canary().phase.name(), "Succeeded");
}

#[test]
fn a_promotion_that_finalises_is_watched_and_can_be_taken_back() {
    let mut scene = promoting(|_| ());
    ask(&mut scene, by(|actor, reason| Verb::Confirm { actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Finalising", 0.0));
    // The worker has it, and reports before it says so: nobody but the primary serves.
    scene.serve_unsplit((30, 30, FAST));
    assert!(fails(&scene));
    adopt(&mut scene);
    wait(&mut scene, 60);
    assert_eq!(scene.canary().phase.name(), "Finalising", "not over while users can be moved back");
    assert!(status(&scene).needs_person.unwrap().contains("set-weight prod/web --weight 100"));
    ask(&mut scene, by(|actor, reason| Verb::SetWeight { weight: percent(100), actor, reason })).unwrap();
    assert_eq!(place(&scene), ("Promoting", 100.0));
    adopt(&mut scene);
    go_on(&mut scene, [(0, 0, FAST), WELL], 5);
    let before = scene.canary().evidence.release().canary.started;
    go_on(&mut scene, [(0, 0, FAST), WELL], 5);
    assert_eq!(scene.canary().evidence.release().canary.started, before + 5 * 30, "its requests are evidence again");
    // Its primary has the new version: only a newer one, or the one before, can take its place.
    ask(&mut scene, released("v3")).unwrap();
    assert_eq!(scene.canary().promoted, Some(word("v2")));
}

#[test]
fn a_failing_primary_in_finalising_is_certified_again_or_accepted() {
    for is_forced in [false, true] {
        let mut scene = promoting(|_| ());
        ask(&mut scene, by(|actor, reason| Verb::Confirm { actor, reason })).unwrap();
        scene.serve_unsplit((30, 30, FAST));
        adopt(&mut scene);
        wait(&mut scene, 60);
        assert_eq!(scene.canary().phase.name(), "Finalising");
        if is_forced {
            ask(&mut scene, by(|actor, reason| Verb::ForceConfirm { actor, reason })).unwrap();
        } else {
            (0..20).for_each(|_| scene.serve_unsplit((30, 0, FAST)));
        }
        assert_eq!(scene.canary().phase.name(), "Succeeded", "{is_forced}");
    }
}

#[test]
fn after_a_swap_the_new_primary_is_watched_and_the_former_ones_failures_are_its_own() {
    let mut scene = scene(|spec| spec.promotion = Promotion::Swap);
    adopt(&mut scene);
    go_on(&mut scene, [DEAD, WELL], 10);
    assert!(fails(&scene));
    ask(&mut scene, by(|actor, reason| Verb::Promote { actor, reason })).unwrap();
    assert!(!fails(&scene), "users have left it");
    assert_eq!(scene.canary().phase.name(), "Finalising");
    scene.serve_unsplit((30, 30, FAST));
    adopt(&mut scene);
    assert_eq!((scene.canary().phase.name(), fails(&scene)), ("Finalising", true));
    let refused = ask(&mut scene, by(|actor, reason| Verb::SetWeight { weight: percent(100), actor, reason })).unwrap_err();
    assert!(refused.contains("`serin abort` takes that back"), "{refused}");
    ask(&mut scene, by(|actor, reason| Verb::Abort { actor, reason })).unwrap();
    assert_eq!((scene.canary().phase.name(), scene.canary().swapped), ("Failed", false));
}

#[test]
fn users_move_by_themselves_only_where_the_manifest_says_so_and_the_canary_is_proven() {
    for (on_primary_failure, after) in [(OnPrimaryFailure::Hold, 50.0), (OnPrimaryFailure::Shift, 100.0)] {
        let mut proven = promoting(|spec| spec.course.on_primary_failure = on_primary_failure);
        go_on(&mut proven, [DEAD, WELL], 10);
        assert_eq!(place(&proven), ("Promoting", after));
        let mut unproven = scene(|spec| spec.course.on_primary_failure = on_primary_failure);
        adopt(&mut unproven);
        go_on(&mut unproven, [DEAD, WELL], 5);
        assert_eq!((place(&unproven), fails(&unproven)), (("Progressing", 50.0), true));
    }
    // Journalled first: the entry that gives more waits for the disk.
    let mut scene = promoting(|spec| spec.course.on_primary_failure = OnPrimaryFailure::Shift);
    let out = (0..10).map(|_| scene.send([DEAD, WELL])).find(|out| {
        out.stored.iter().any(|command| matches!(command, Command::Push(entry) if entry.routing.is_some()))
    });
    assert!(out.is_some_and(|out| !out.urgent.iter().any(|command| matches!(command, Command::Push(_)))));
}

#[test]
fn people_are_alerted_and_shown_how_it_fails() {
    let mut scene = promoting(|spec| {
        let receiver = Receiver {
            kind: ReceiverKind::Slack,
            address: Some("http://127.0.0.1:1".into()),
            secret: None,
            channel: "ops".into(),
            username: "serin".into(),
            proxy: None,
        };
        spec.outside.alerts = vec![Alert { name: "ops".into(), severity: Severity::Warn, receiver }];
    });
    let alerts = (0..10).flat_map(|_| scene.send([DEAD, WELL]).stored);
    let alerts: Vec<String> = alerts
        .filter_map(|command| match command {
            Command::Alert { notification, .. } => Some(notification.message),
            _ => None,
        })
        .collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(alerts[0].starts_with("the primary fails") && alerts[0].contains("primary 30 of 180 (16.67 %)"), "{alerts:?}");
    let status = status(&scene);
    assert!(status.primary_fails.is_some() && status.message.contains("the primary fails"), "{}", status.message);
    let explained = explanation::explain(scene.canary(), Millis(9_000));
    assert!(explained.summary.contains("THE PRIMARY FAILS: "), "{}", explained.summary);
    let primary = explained.primary.unwrap();
    assert!(primary.fails && primary.limits.len() == 2, "{primary:?}");
    assert_eq!(primary.limits[0].primary.percent.map(|percent| percent > 50.0), Some(true), "{primary:?}");
}

#[test]
fn a_release_without_limits_watches_nothing_and_one_without_a_split_by_its_limits_alone() {
    let mut unlimited = promoting(|spec| {
        spec.advance = Advance::Interval;
        spec.guards.guards.clear();
    });
    go_on(&mut unlimited, [DEAD, WELL], 20);
    assert!(!fails(&unlimited));
    assert_eq!(explanation::explain(unlimited.canary(), Millis(9_000)).primary, None);
    let mut by_rules = scene(|spec| {
        spec.advance = Advance::Interval;
        spec.strategy = Strategy::Iterations(3);
        spec.rules = vec![MatchRule { cookies: vec![("type".into(), StringMatch::Exact("a".into()))], ..MatchRule::default() }];
    });
    adopt(&mut by_rules);
    go_on(&mut by_rules, [DEAD, (0, 0, FAST)], 10);
    assert!(fails(&by_rules));
}
