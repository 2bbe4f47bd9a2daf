//! What the agent makes of a fuse that has tripped: it is recorded, leads to an abort everywhere, or is armed again.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::Event;
use rollout::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
use rollout::release::phase::{Hold, Note, Phase};

use fixture::net::Net;
use fixture::{id, plan, released};

/// A release on three workers; its guard may forgive an outage of both versions.
fn begin(unless_primary_also: bool) -> Net {
    let mut net = Net::new(3);
    let rule = GuardRule::Slo { limit: 0.01, unless_primary_also };
    let guards = Guards { guards: vec![Guard { rule, action: GuardAction::Abort }], ..fixture::spec("web").guards };
    net.happen(Event::Declared(Box::new(plan("web", |spec| {
        spec.guards = guards;
        spec.threshold = 1_000;
    }))));
    net.calm(Millis(1_000));
    net.happen(Event::Requested(id("web"), released("v2")));
    net.calm(Millis(1_000));
    net
}

/// Both versions fail in one worker, which its fuse forgives; in another only the canary does. The guards see both together.
fn outage(net: &mut Net, node: usize) {
    net.route_bad(0, &id("web"), 900, |_, _| true);
    net.route_bad(node, &id("web"), 100, |to_canary, _| to_canary);
}

fn timers(net: &mut Net, span: Millis) {
    let end = net.now.plus(span);
    while net.now < end {
        net.calm(Millis(100));
        if net.controller.deadline().is_some_and(|due| due <= net.now) {
            net.happen(Event::Timer);
            net.store();
        }
    }
}

fn notes(net: &Net, is_wanted: impl Fn(&Note) -> bool) -> usize {
    net.controller.canary(&id("web")).unwrap().history.iter().filter(|event| is_wanted(&event.note)).count()
}

#[test]
fn one_workers_trip_leads_to_an_abort_everywhere_when_the_canary_is_broken() {
    let (mut net, web) = (begin(false), id("web"));
    net.route_bad(0, &web, 200, |to_canary, _| to_canary);
    net.tick(0);
    net.calm(Millis(300));
    let canary = net.controller.canary(&web).unwrap().clone();
    assert_eq!(canary.phase.name(), "Failed", "{:?}", canary.phase);
    assert_eq!(notes(&net, |note| matches!(note, Note::FuseTripped { .. })), 1);
    (0..3).for_each(|node| assert_eq!(net.route(node, &web, 500), 0));
    timers(&mut net, Millis(60_000));
    assert_eq!(net.controller.canary(&web).unwrap().epoch, canary.epoch, "what was aborted is never armed again");
    assert_eq!(net.controller.deadline(), None);
}

#[test]
fn a_trip_that_comes_after_the_cut_is_told_too() {
    let (mut net, web) = (begin(false), id("web"));
    net.route_bad(0, &web, 200, |to_canary, _| to_canary);
    net.route_bad(1, &web, 30, |to_canary, _| to_canary);
    let is_trip = |note: &Note| matches!(note, Note::FuseTripped { .. });
    net.tick(1);
    net.deliver_up(1);
    assert_eq!((net.controller.canary(&web).unwrap().phase.name(), notes(&net, is_trip)), ("Failed", 0));
    net.tick(0);
    net.calm(Millis(300));
    assert_eq!(notes(&net, is_trip), 1);
}

#[test]
fn a_trip_that_the_guards_forgive_holds_the_release_and_is_armed_again_ever_later() {
    let (mut net, web) = (begin(true), id("web"));
    let mut waits = Vec::new();
    for round in 0..8 {
        outage(&mut net, 1);
        net.calm(Millis(300));
        let canary = net.controller.canary(&web).unwrap().clone();
        let (step, epoch, tripped_at) = (canary.phase.steps(), canary.epoch, net.now);
        assert_eq!(net.route(1, &web, 300), 0, "round {round}");
        assert!(net.route_bad(0, &web, 300, |_, _| false) > 10, "the others go on");
        let status = rollout::view::status::canary(&net.controller, &canary, net.now);
        assert_eq!(status.workers_tripped, 1);
        while net.controller.canary(&web).unwrap().epoch == epoch {
            timers(&mut net, Millis(100));
            net.route_bad(0, &web, 2, |_, _| false);
        }
        waits.push(net.now.since(tripped_at).0 / 1000);
        let canary = net.controller.canary(&web).unwrap();
        let hold = canary.phase.hold();
        assert_eq!(canary.phase.steps(), step, "it did not advance");
        assert!(waits[round] < 20 || matches!(hold, Some(Hold::Fuse { .. })), "{hold:?}");
        assert!(canary.epoch > epoch && !canary.epoch.is_abort());
        net.calm(Millis(300));
        assert!(net.route_bad(1, &web, 300, |_, _| false) > 10, "armed again");
    }
    assert_eq!(notes(&net, |note| matches!(note, Note::Rearmed)), 8);
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]) && waits[0] <= 5, "{waits:?}");
    assert!((270..=300).contains(&waits[7]), "{waits:?}");
}

#[test]
fn an_agent_without_memory_learns_of_a_trip_and_a_worker_that_dies_takes_it_along() {
    let (mut net, web) = (begin(true), id("web"));
    net.snapshot();
    outage(&mut net, 2);
    net.tick(0);
    net.tick(2);
    net.crash();
    net.store();
    net.calm(Millis(8_000));
    let tripped = net.controller.fleet().tripped(&web, net.now).expect("Hello said so");
    assert_eq!(tripped.node, "envoy-3");
    net.kill(2);
    net.calm(Millis(1_000));
    assert!(net.controller.fleet().tripped(&web, net.now).is_some(), "its stream may have broken");
    net.calm(Millis(15_000));
    assert!(net.controller.fleet().tripped(&web, net.now).is_none());
    let (epoch, before) = (net.controller.canary(&web).unwrap().epoch, net.now);
    timers(&mut net, Millis(10_000));
    let canary = net.controller.canary(&web).unwrap();
    assert!(matches!(canary.phase, Phase::Progressing(_)) && net.now > before);
    assert_eq!((canary.epoch, canary.rearming.due()), (epoch, None), "there is nothing to arm");
}
