//! While the primary fails no user is sent there but by a person, and people can move them wherever they want.

#![cfg(test)]

mod fixture;

use fixture::primary::{
    DEAD, FAST, ILL, TIRED, WELL, adopt, ask, fails, go_on, notes, place, promoting, scene, status, wait,
};
use fixture::{by, hook, id, on_certificate, percent, released, word};
use rollout::base::time::Millis;
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::phase::{Note, ReleaseId};
use rollout::release::plan::Deadlines;

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
    let deadlines =
        Deadlines { waiting: None, progressing: second(30), waiting_promotion: second(30), promoting: second(30) };
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

/// No version of several gets more than its own part.
#[test]
fn what_is_said_to_be_done_is_not_refused() {
    for (in_lane, most) in [(false, "100"), (true, "50")] {
        let mut scene = promoting(|spec| {
            if in_lane {
                fixture::in_lane(spec, 0);
            }
        });
        go_on(&mut scene, [DEAD, WELL], 20);
        let needs = status(&scene).needs_person.unwrap();
        let way = format!("`serin set-weight prod/web --weight {most}`");
        assert!(needs.contains(&way), "{needs}");
    }
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
