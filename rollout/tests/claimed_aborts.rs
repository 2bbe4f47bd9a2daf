//! A proxy that nobody knows claims that the release was aborted: nothing reaches the canary until a person decides.

#![cfg(test)]

mod fixture;

use fixture::primary::{ask, by, wait};
use fixture::scene::Scene;
use fixture::{hello, id, released, unsupported, word};
use rollout::controller::fleet::Conn;
use rollout::controller::{Event, Verb};
use rollout::release::phase::Hold;
use rollout::routing::table::Epoch;

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
