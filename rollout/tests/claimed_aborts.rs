//! A proxy that nobody knows claims that the release was aborted: nothing reaches the canary until a person decides.

#![cfg(test)]

mod fixture;

use fixture::primary::{DEAD, WELL, adopt, ask, fails, go_on, place, promoting, status, wait};
use fixture::scene::Scene;
use fixture::{by, hello, hook, id, percent, released, unsupported, word};
use rollout::controller::fleet::Conn;
use rollout::controller::{Event, Verb};
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::phase::{Awaiting, Hold, ReleaseId};
use rollout::release::plan::OnPrimaryFailure;
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::routing::table::{Epoch, WeightPpm};

fn claim(scene: &mut Scene) {
    let held = Epoch(scene.canary().epoch.0 | 1).next_abort();
    scene.happen(Event::Connected(Conn(9), hello(9, vec![(id("web"), held)])));
}

#[test]
fn what_nobody_accepted_is_not_accepted_by_a_claim() {
    let mut scene = Scene::new(|spec| spec.unsupported.push(unsupported()));
    claim(&mut scene);
    assert_eq!(scene.canary().phase.name(), "Paused");
    let refused = ask(&mut scene, by(|actor, reason| Verb::Skip { actor, reason })).unwrap_err();
    assert!(refused.contains("--accept-unsupported"), "{refused}");
    ask(&mut scene, by(|actor, reason| Verb::Resume { actor, reason })).unwrap();
    wait(&mut scene, 60);
    let phase = &scene.canary().phase;
    assert_eq!((phase.name(), phase.steps(), phase.hold()), ("Progressing", 0, Some(&Hold::Unsupported)));
    let Verb::Release { revision, reason, .. } = released("v2") else { unreachable!() };
    ask(&mut scene, Verb::Release { revision, actor: word("ana"), reason, accept_unsupported: true }).unwrap();
    assert_eq!(scene.canary().phase.steps(), 1);
}

/// Without canary traffic nothing speaks against what a hook says, and a failing primary is no reason to end the claim.
#[test]
fn a_promotion_that_was_claimed_to_be_aborted_waits_for_a_person() {
    let mut scene = promoting(|spec| {
        spec.promotion = hook();
        spec.course.on_primary_failure = OnPrimaryFailure::Shift;
    });
    go_on(&mut scene, [WELL, WELL], 40);
    let call =
        CallId { release: ReleaseId(1), round: scene.canary().phase.run().unwrap().round, callee: Callee::Promotion };
    claim(&mut scene);
    adopt(&mut scene);
    scene.happen(Event::Reply { canary: id("web"), call, reply: Reply::Hook(Ok(())) });
    wait(&mut scene, 60);
    assert_eq!(place(&scene), ("Promoting", 0.0));
    assert_eq!(scene.canary().phase.awaiting(), Some(&Awaiting::Confirmation { after: None }));
    (0..20).for_each(|_| scene.serve_unsplit(DEAD));
    assert!(fails(&scene));
    assert_eq!(place(&scene), ("Promoting", 0.0));
}

/// What rules match, and copies, go to the canary whatever its share is.
#[test]
fn a_claim_stops_what_rules_and_copies_place_until_a_person_decides() {
    let header = MatchRule { headers: vec![("x-beta".into(), StringMatch::Exact("1".into()))], ..MatchRule::default() };
    let set = || by(|actor, reason| Verb::SetWeight { weight: WeightPpm::ZERO, actor, reason });
    let resume = || by(|actor, reason| Verb::Resume { actor, reason });
    let skip = || by(|actor, reason| Verb::Skip { actor, reason });
    for (rules, mirror) in [(vec![header], None), (vec![], Some(percent(50)))] {
        for decision in [set(), resume(), skip()] {
            let mut scene = Scene::new(|spec| {
                spec.rules = rules.clone();
                spec.course.mirror = mirror;
            });
            assert!(scene.canary().is_splitting());
            claim(&mut scene);
            assert!(!scene.canary().is_splitting() && scene.canary().is_routing());
            wait(&mut scene, 60);
            assert!(!scene.canary().is_splitting());
            ask(&mut scene, decision).unwrap();
            assert!(scene.canary().is_splitting());
        }
    }
}

#[test]
fn who_is_to_let_it_go_on_is_told_to_give_it_traffic_first() {
    let mut scene = Scene::new(|_| ());
    claim(&mut scene);
    let first = "`serin set-weight prod/web --weight PERCENT` gives the canary traffic again, then `serin resume prod/web` lets it \
                 go on";
    assert_eq!((place(&scene), status(&scene).needs_person.as_deref()), (("Paused", 0.0), Some(first)));
    let resume = || by(|actor, reason| Verb::Resume { actor, reason });
    ask(&mut scene, resume()).unwrap();
    assert_eq!((place(&scene), status(&scene).needs_person.as_deref()), (("Progressing", 0.0), Some(first)));
    ask(&mut scene, by(|actor, reason| Verb::SetWeight { weight: percent(10), actor, reason })).unwrap();
    assert_eq!(status(&scene).needs_person.unwrap(), "`serin resume prod/web` lets it go on");
    ask(&mut scene, resume()).unwrap();
    assert_eq!((place(&scene), status(&scene).needs_person), (("Progressing", 10.0), None));
}
