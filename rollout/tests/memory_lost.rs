//! What the agent makes of workers that know more than it does, are away, or have been replaced.

#![cfg(test)]

mod fixture;

use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event, Output, Verb};
use rollout::release::phase::Note;
use rollout::release::plan::Plan;
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::messages::{Report, ToWorker};
use rollout::worker::tally::{Counts, Slot, Stratum};

use fixture::{hello, id, percent, plan, released, upstream, word};

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
fn an_old_abort_does_not_end_a_later_release() {
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

/// An agent on a new data directory, with a release begun before any proxy is back.
fn begun() -> Controller {
    let mut controller = declared();
    controller.handle(verb("v1"), Millis(1));
    controller
}

fn said(incarnation: u64, epoch: u64) -> Event {
    Event::Connected(Conn(incarnation), hello(incarnation, vec![(id("web"), Epoch(epoch))]))
}

/// Phase and weight.
fn place(controller: &Controller) -> (&'static str, f64) {
    let canary = controller.canary(&id("web")).unwrap();
    (canary.phase.name(), canary.weight().percent())
}

fn notes(controller: &Controller, is_so: fn(&Note) -> bool) -> usize {
    controller.canary(&id("web")).unwrap().history.iter().filter(|event| is_so(&event.note)).count()
}

fn counted(incarnation: u64, number: u64, epoch: u64, failed: u64) -> Event {
    let mut counts = Counts::begun(failed);
    (0..failed).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(1_000), false));
    let stratum = Stratum {
        canary: id("web"),
        epoch: Epoch(epoch),
        version: Version::Canary,
        placement: Placement::Drawn,
        slot: Slot(0),
    };
    let report =
        Report { number, strata: vec![(stratum, counts)], watermarks: vec![], trips: vec![], destinations: vec![] };
    Event::reported(Conn(incarnation), report)
}

#[test]
fn a_lost_journal_is_no_lost_abort_and_the_release_goes_on_above_it() {
    for held in [40, 1 << 20, Epoch::bound_at(Millis(2)).0 - 2] {
        let mut controller = begun();
        let before = place(&controller);
        let sent = epochs(&controller.handle(said(1, held), Millis(2)));
        assert!(sent.iter().any(|epoch| *epoch > held && epoch % 2 == 0), "{sent:?} does not steer a worker at {held}");
        assert_eq!(place(&controller), before, "{held} is no abort's");
        assert_eq!(notes(&controller, |note| matches!(note, Note::JournalBehind { .. })), 1);
        // Its siblings hold the same, and it is said once.
        let again = controller.handle(said(2, held), Millis(3));
        assert!(epochs(&again).iter().all(|epoch| *epoch > held), "{again:?}");
        assert_eq!(notes(&controller, |note| matches!(note, Note::JournalBehind { .. })), 1);
    }
}

#[test]
fn what_started_under_another_lifes_epochs_is_no_evidence() {
    let mut controller = begun();
    let own = controller.canary(&id("web")).unwrap().epoch.0;
    controller.handle(said(1, 40), Millis(2));
    for (number, epoch) in (1..).zip([own + 1, 20, 39, 40]) {
        controller.handle(counted(1, number, epoch, 500), Millis(3));
    }
    let canary = controller.canary(&id("web")).unwrap();
    assert_eq!((canary.evidence.release().canary.started, place(&controller).0), (0, "Progressing"));
    controller.handle(counted(1, 9, own, 1), Millis(4));
    controller.handle(counted(1, 10, canary_epoch(&controller), 2), Millis(5));
    assert_eq!(
        controller.canary(&id("web")).unwrap().evidence.release().canary.started,
        3,
        "its own, before and after"
    );
}

/// Two lives number their entries alike: a worker with another one's of the same number takes ours as stale.
#[test]
fn an_equal_epoch_of_another_life_is_replaced() {
    let ended = || {
        let mut controller = begun();
        let abort = Verb::Abort { actor: word("ana"), reason: String::new() };
        controller.handle(Event::Requested(id("web"), abort), Millis(1));
        controller
    };
    for life in [begun, declared, ended] {
        let mut controller = life();
        let own = canary_epoch(&controller);
        let sent = epochs(&controller.handle(said(1, own), Millis(2)));
        assert!(sent.iter().any(|epoch| *epoch > own), "{sent:?} does not steer a worker at {own}");
        // Who is known got it from this life.
        let own = canary_epoch(&controller);
        controller.handle(Event::Disconnected(Conn(1)), Millis(3));
        controller.handle(said(1, own), Millis(4));
        assert_eq!(canary_epoch(&controller), own);
    }
}

fn canary_epoch(controller: &Controller) -> u64 {
    controller.canary(&id("web")).unwrap().epoch.0
}

#[test]
fn an_abort_that_only_a_stranger_knows_of_stops_the_traffic_and_is_no_abort() {
    for held in [5, 41, (1 << 30) + 1] {
        let mut controller = begun();
        let sent = epochs(&controller.handle(said(1, held), Millis(2)));
        assert!(sent.last().is_some_and(|epoch| *epoch > held), "{sent:?} does not steer a worker at {held}");
        assert_eq!(place(&controller), ("Paused", 0.0), "{held}");
        let is_claim: fn(&Note) -> bool = |note| matches!(note, Note::AbortClaimed { .. });
        controller.handle(said(2, held), Millis(3));
        assert_eq!(notes(&controller, is_claim), 1, "its siblings say nothing new");
        // A person who knows better goes on; the same claim changes nothing any more.
        let set = Verb::SetWeight { weight: percent(10), actor: word("ana"), reason: String::new() };
        controller.handle(Event::Requested(id("web"), set), Millis(4));
        controller.handle(said(3, held), Millis(5));
        assert_eq!((place(&controller), notes(&controller, is_claim)), (("Paused", 10.0), 1));
    }
}

#[test]
fn an_abort_that_a_known_worker_holds_was_this_releases() {
    for held in [0, 41] {
        let mut controller = begun();
        controller.handle(Event::Connected(Conn(1), hello(1, vec![])), Millis(2));
        let epoch = canary_epoch(&controller);
        controller.handle(Event::adopted(Conn(1), id("web"), Epoch(epoch)), Millis(3));
        controller.handle(Event::Restarted { away: Millis(0) }, Millis(4));
        let held = if held == 0 { epoch + 1 } else { held };
        controller.handle(said(1, held), Millis(5));
        assert_eq!(place(&controller), ("Failed", 0.0), "{held}");
    }
}

#[test]
fn no_claim_moves_a_promoted_release() {
    for verbs in [&["v2", "promote"][..], &["v2", "promote", "confirm"]] {
        let mut controller = declared();
        controller.handle(Event::Connected(Conn(9), hello(9, vec![])), Millis(0));
        for (at, name) in (1..).zip(verbs) {
            controller.handle(verb(name), Millis(at));
        }
        let phase = place(&controller).0;
        let sent = epochs(&controller.handle(said(1, 41), Millis(9)));
        assert_eq!(place(&controller).0, phase);
        assert!(sent.last().is_some_and(|epoch| *epoch > 41), "{sent:?}");
    }
}

#[test]
fn no_forged_epoch_outlasts_the_clock() {
    let mut now = Millis(1_800_000_000_000);
    let mut held = Epoch::bound_at(now).0 - 1;
    // Again and again somebody claims the most that is believed, and then the agent's data is lost.
    for life in 1..=50 {
        now = now.plus(Millis(1));
        let mut controller = Controller::default();
        controller.handle(Event::Declared(Box::new(web())), now);
        controller.handle(said(1, held), now);
        let forged = Epoch::bound_at(now).0 - 1;
        let sent = epochs(&controller.handle(said(2, forged), now));
        let last = sent.last().copied().unwrap();
        assert!(last > held && last > forged, "life {life}: {sent:?} steers no worker at {held}");
        held = last;
    }
    assert!(held < 1 << 53, "readers of JSON take it as it is");
}

#[test]
fn who_holds_what_no_agent_issued_is_turned_away() {
    for held in [Epoch::bound_at(Millis(2)).0, 1 << 60, u64::MAX] {
        let mut controller = begun();
        let before = controller.canary(&id("web")).unwrap().clone();
        let out = controller.handle(said(1, held), Millis(2));
        assert!(matches!(out.urgent[..], [Command::Close(Conn(1))]) && out.stored.is_empty(), "{out:?}");
        assert_eq!((controller.canary(&id("web")), controller.fleet().live().count()), (Some(&before), 0));
    }
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
    controller.handle(Event::adopted(Conn(1), id("web"), epoch), Millis(5_200));
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
