//! The primary that breaks while a release is on: seen in every phase with traffic, and held against nobody else.

#![cfg(test)]

mod fixture;

use fixture::primary::{
    DEAD, FAST, ILL, TIRED, WELL, adopt, ask, fails, go_on, notes, place, promoting, scene, status,
};
use fixture::scene::Scene;
use fixture::{alert, by, percent};
use rollout::base::time::Millis;
use rollout::controller::{Command, Verb};
use rollout::judgement::guards::GuardAction;
use rollout::judgement::primary_watch::PrimaryVerdict;
use rollout::release::integrations::{HookKind, Severity};
use rollout::release::machine::{Context, Fact, apply};
use rollout::release::phase::{Note, Phase};
use rollout::release::plan::{Advance, OnPrimaryFailure, Promotion, Strategy};
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::view::explanation;

/// Brings a release into a phase.
type Begin = fn() -> Scene;

#[test]
fn in_each_phase_with_traffic_the_one_that_fails_is_found_and_no_other() {
    let phases: [(&str, Begin); 4] = [
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
    let refused =
        ask(&mut scene, by(|actor, reason| Verb::SetWeight { weight: percent(100), actor, reason })).unwrap_err();
    assert!(refused.contains("`serin abort` takes that back"), "{refused}");
    ask(&mut scene, by(|actor, reason| Verb::Abort { actor, reason })).unwrap();
    assert_eq!((scene.canary().phase.name(), scene.canary().swapped), ("Failed", false));
}

#[test]
fn users_move_by_themselves_only_where_the_manifest_says_so_and_the_canary_is_proven() {
    for (on_primary_failure, after) in [(OnPrimaryFailure::Hold, 50.0), (OnPrimaryFailure::Shift, 100.0)] {
        // Promoted by hand, its requests may prove it yet; too few do not.
        for (reports, after) in [(40, after), (0, 50.0)] {
            let mut promoted = promoting(|spec| spec.course.on_primary_failure = on_primary_failure);
            go_on(&mut promoted, [WELL, WELL], reports);
            go_on(&mut promoted, [DEAD, WELL], 10);
            assert_eq!((place(&promoted), fails(&promoted)), (("Promoting", after), true), "{reports}");
        }
        let mut unproven = scene(|spec| spec.course.on_primary_failure = on_primary_failure);
        adopt(&mut unproven);
        go_on(&mut unproven, [DEAD, WELL], 5);
        assert_eq!((place(&unproven), fails(&unproven)), (("Progressing", 50.0), true));
    }
    // Journalled first: the entry that gives more waits for the disk.
    let mut scene = promoting(|spec| spec.course.on_primary_failure = OnPrimaryFailure::Shift);
    go_on(&mut scene, [WELL, WELL], 40);
    let out = (0..10).map(|_| scene.send([DEAD, WELL])).find(|out| {
        out.stored.iter().any(|command| matches!(command, Command::Push(entry) if entry.routing.is_some()))
    });
    assert!(out.is_some_and(|out| !out.urgent.iter().any(|command| matches!(command, Command::Push(_)))));
}

#[test]
fn nobody_is_moved_against_a_pause_nor_to_what_proved_nothing() {
    let scene = promoting(|spec| spec.course.on_primary_failure = OnPrimaryFailure::Shift);
    let canary = scene.canary();
    for (is_misrouted, is_paused, is_proven, moves) in [
        (false, false, true, true),
        (true, false, true, false),
        (false, true, true, false),
        (false, false, false, false),
    ] {
        let Phase::Promoting(mut promoting) = canary.phase.clone() else { panic!("{:?}", canary.phase) };
        promoting.is_paused = is_paused;
        promoting.step.as_mut().unwrap().is_proven = is_proven;
        let fact = Fact::PrimaryFails(PrimaryVerdict { findings: vec![], ln_needed: 4.6, failing: None });
        let context = Context { is_misrouted, ..canary.context(None) };
        let step = apply(context, &Phase::Promoting(promoting), fact, Millis(9_000));
        let is_moved = step.notes.iter().any(|note| matches!(note, Note::Shifted { .. }));
        assert_eq!(is_moved, moves, "{is_misrouted} {is_paused} {is_proven}");
    }
}

#[test]
fn people_are_alerted_and_shown_how_it_fails() {
    let mut scene = promoting(|spec| {
        spec.outside.alerts = vec![alert("ops", Severity::Warn)];
    });
    let alerts = (0..10).flat_map(|_| scene.send([DEAD, WELL]).stored);
    let alerts: Vec<String> = alerts
        .filter_map(|command| match command {
            Command::Alert { notification, .. } => Some(notification.message),
            _ => None,
        })
        .collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(
        alerts[0].starts_with("the primary fails") && alerts[0].contains("primary 30 of 180 (16.67 %)"),
        "{alerts:?}"
    );
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
        spec.rules =
            vec![MatchRule { cookies: vec![("type".into(), StringMatch::Exact("a".into()))], ..MatchRule::default() }];
    });
    adopt(&mut by_rules);
    go_on(&mut by_rules, [DEAD, (0, 0, FAST)], 10);
    assert!(fails(&by_rules));
}
