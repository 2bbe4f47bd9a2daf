//! A release that ends in the moment in which it begins is one all the same: it has a number, a record, and its approvals
//! let no other through.

#![cfg(test)]

mod fixture;

use rollout::base::names::ReleaseId;
use rollout::base::time::Millis;
use rollout::controller::{Controller, Event, Verb};
use rollout::record::replay::Replay;
use rollout::record::{Added, Recorder, ReleaseOutcome};
use rollout::release::integrations::HookKind;
use rollout::release::phase::Phase;
use rollout::view::status;

use fixture::{gate, id, plan, released, word};

fn open(gate: &str) -> Event {
    let (gate, actor, reason) = (gate.into(), word("ana"), String::new());
    Event::Requested(id("web"), Verb::OpenGate { gate, revision: None, expires_after: None, actor, reason })
}

fn release(revision: &str) -> Event {
    Event::Requested(id("web"), released(revision))
}

/// Whoever aborts waits for no disk, and is told whether any proxy knows of it.
#[test]
fn an_abort_is_answered_at_once_before_the_first_traffic_too() {
    for hooks in [vec![], vec![gate("owner", HookKind::ConfirmRollout)]] {
        let is_begun = hooks.is_empty();
        let mut controller = Controller::default();
        controller.handle(Event::Declared(Box::new(plan("web", |spec| spec.outside.hooks = hooks))), Millis(0));
        controller.handle(release("v2"), Millis(1));
        let abort = Verb::Abort { actor: word("ana"), reason: String::new() };
        let out = controller.handle(Event::Requested(id("web"), abort), Millis(2));
        assert!(out.reply_at_once);
        assert_eq!(out.reply.unwrap().unwrap().has_left, is_begun);
    }
}

#[test]
fn a_release_that_a_red_button_keeps_from_beginning_counts_as_one() {
    let (mut controller, mut recorder) = (Controller::default(), Recorder::default());
    let hooks = vec![gate("red-button", HookKind::Rollback), gate("owner", HookKind::ConfirmRollout)];
    let mut happens = |event, at| recorder.handle(&mut controller, event, Millis(at)).1;
    happens(Event::Declared(Box::new(plan("web", |spec| spec.outside.hooks = hooks))), 0);
    happens(open("owner"), 1);
    happens(open("red-button"), 2);
    let added = happens(release("v2"), 3);
    let after = happens(release("v3"), 4);
    let web = controller.canary(&id("web")).unwrap();
    assert!(matches!(web.phase, Phase::Waiting(_)), "the owner approved v2 alone: {:?}", web.phase);
    assert_eq!(status::canary(&controller, web, Millis(5)).release, 2);
    let numbers: Vec<u64> = web.history.iter().map(|event| event.release.0).collect();
    assert_eq!(numbers, [0, 0, 0, 1, 1, 2, 2], "{:?}", web.history);

    assert!(added.iter().all(|addition| addition.release == ReleaseId(1)), "a record of its own");
    assert!(after.iter().all(|addition| addition.release == ReleaseId(2)), "which has an end");
    let mut replay = None;
    for addition in added {
        match addition.what {
            Added::Opening(opening) => replay = Some(Replay::new(*opening, None).unwrap()),
            Added::Line(line) => replay.as_mut().unwrap().take(*line).unwrap(),
        }
    }
    let replayed = replay.unwrap().finish().unwrap();
    assert_eq!(replayed.ended.unwrap().outcome, ReleaseOutcome::Aborted);
    assert_eq!((replayed.ended_otherwise, replayed.aborted_by_guards), (None, false));
}
