//! What the agent makes of workers that know more than it does, are away, or have been replaced.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event, Output, Verb};
use rollout::release::plan::Plan;
use rollout::routing::table::Epoch;
use rollout::worker::messages::ToWorker;

use fixture::{hello, id, plan, released, upstream, word};

fn web() -> Plan {
    plan("web", |_| ())
}

fn declared() -> Controller {
    let mut controller = Controller::default();
    controller.handle(Event::Declared(Box::new(web())), Millis(0));
    controller
}

fn epochs(out: &Output) -> Vec<u64> {
    let commands = out.urgent.iter().chain(&out.stored);
    let entries = commands.filter_map(|command| match command {
        Command::Push(entry) | Command::Send(_, ToWorker::Entry(entry)) => Some(entry.epoch.0),
        _ => None,
    });
    entries.collect()
}

fn verb(name: &str) -> Event {
    let actor = word("ana");
    let verb = match name {
        "confirm" => Verb::Confirm { actor, reason: String::new() },
        "promote" => Verb::Promote { actor, reason: String::new() },
        revision => released(revision),
    };
    Event::Requested(id("web"), verb)
}

#[test]
fn an_agent_without_memory_continues_above_what_workers_hold() {
    for held in [40, 41] {
        for is_known in [true, false] {
            let mut controller = if is_known { declared() } else { Controller::default() };
            let said = hello(1, vec![(id("web"), Epoch(held))]);
            let mut sent = epochs(&controller.handle(Event::Connected(Conn(1), said), Millis(1)));
            sent.extend(epochs(&controller.handle(Event::Declared(Box::new(web())), Millis(2))));
            assert!(sent.last().is_some_and(|last| *last > held), "{sent:?} does not reach a worker at {held}");
        }
    }
}

#[test]
fn a_returning_canary_continues_above_what_it_was() {
    let mut controller = declared();
    let before = controller.canary(&id("web")).unwrap().epoch;
    controller.handle(Event::Withdrawn(id("web")), Millis(1));
    controller.handle(Event::Declared(Box::new(web())), Millis(2));
    assert!(controller.canary(&id("web")).unwrap().epoch > before.next());
}

#[test]
fn an_old_cut_does_not_end_a_later_release() {
    let mut controller = declared();
    let abort = Verb::Abort { actor: word("ana"), reason: String::new() };
    controller.handle(verb("v1"), Millis(1));
    controller.handle(Event::Requested(id("web"), abort), Millis(2));
    let abort = controller.canary(&id("web")).unwrap().epoch;
    assert!(abort.is_abort());
    controller.handle(verb("v2"), Millis(3));
    controller.handle(Event::Connected(Conn(1), hello(1, vec![(id("web"), abort)])), Millis(4));
    assert_eq!(controller.canary(&id("web")).unwrap().phase.name(), "Progressing");
}

#[test]
fn finalising_waits_for_workers_that_the_agents_own_restart_cut_off() {
    let mut controller = declared();
    controller.handle(Event::Connected(Conn(1), hello(1, vec![])), Millis(0));
    for (at, event) in [(1, "v2"), (2, "promote"), (3, "confirm")] {
        controller.handle(verb(event), Millis(at));
    }
    let phase = |controller: &Controller| controller.canary(&id("web")).unwrap().phase.name();
    controller.handle(Event::Restarted { away: Millis(0) }, Millis(5_000));
    assert_eq!(phase(&controller), "Finalising", "the worker still routes by the old table");
    let epoch = controller.canary(&id("web")).unwrap().epoch;
    controller.handle(Event::Connected(Conn(1), hello(1, vec![(id("web"), Epoch(0))])), Millis(5_100));
    assert_eq!(phase(&controller), "Finalising");
    controller.handle(Event::Adopted(Conn(1), id("web"), epoch), Millis(5_200));
    assert_eq!(phase(&controller), "Succeeded");
}

#[test]
fn a_default_upstream_is_remembered_until_its_proxy_says_otherwise() {
    let mut controller = declared();
    let unproven = |incarnation, node: &str| {
        let mut said = hello(incarnation, vec![]);
        said.default_upstreams.push((id("web"), upstream("web-canary")));
        said.node = node.into();
        said
    };
    let is_refused =
        |controller: &Controller, at| matches!(controller.clone().handle(verb("v2"), Millis(at)).reply, Some(Err(_)));
    controller.handle(Event::Connected(Conn(1), unproven(1, "envoy-a")), Millis(0));
    assert!(is_refused(&controller, 1), "live");
    controller.handle(Event::Restarted { away: Millis(0) }, Millis(3_600_000));
    assert!(is_refused(&controller, 3_600_001), "it was the agent that was away, so the worker is expected back");
    assert!(!is_refused(&controller, 3_600_000 + 601_000), "not without end");
    controller.handle(Event::Connected(Conn(2), hello(2, vec![])), Millis(3_600_100));
    assert!(is_refused(&controller, 3_600_200), "another proxy cannot speak for it");
    let moved = rollout::worker::messages::Hello { default_upstreams: vec![], ..unproven(3, "envoy-a") };
    controller.handle(Event::Connected(Conn(3), moved), Millis(3_600_300));
    assert!(!is_refused(&controller, 3_600_400), "its proxy was restarted with another default route");
}
