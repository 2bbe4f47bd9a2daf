//! Nobody is called any more for what is over: whoever is asked and not waited for any longer is left alone, at once.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::{Command, Controller, Event, Output, Verb};
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::integrations::HookKind;
use rollout::release::plan::Plan;

use fixture::walk::release;
use fixture::{call, hook, id, plan, word};

/// A controller whose release is being promoted, by a hook that has not answered; and that call.
fn promoting() -> (Controller, CallId) {
    let (mut controller, _) = begun(plan("web", |spec| spec.promotion = hook()));
    let promote = Verb::Promote { actor: word("ana"), reason: String::new() };
    let calls = called(&controller.handle(Event::Requested(id("web"), promote), Millis(2_000)));
    assert_eq!(calls.iter().map(|call| call.callee).collect::<Vec<_>>(), [Callee::Promotion]);
    (controller, calls[0])
}

fn begun(plan: Plan) -> (Controller, Vec<CallId>) {
    let mut controller = Controller::default();
    controller.handle(Event::Declared(Box::new(plan)), Millis(0));
    let output = controller.handle(Event::Requested(id("web"), release("v2", false)), Millis(1_000));
    (controller, called(&output))
}

fn called(output: &Output) -> Vec<CallId> {
    let call = |command: &Command| match command {
        Command::CallHook { call, .. } | Command::Query { call, .. } => Some(*call),
        _ => None,
    };
    output.stored.iter().filter_map(call).collect()
}

/// The calls that an output ends; they never wait for a disk.
fn ended(output: &Output) -> Vec<CallId> {
    assert!(!output.stored.iter().any(|command| matches!(command, Command::EndCalls { .. })));
    let calls = |command: &Command| match command {
        Command::EndCalls { canary, calls } if *canary == id("web") => calls.clone(),
        _ => Vec::new(),
    };
    output.urgent.iter().flat_map(calls).collect()
}

#[test]
fn an_abort_a_confirmation_and_a_withdrawn_manifest_end_the_promotion_hook() {
    let (actor, reason) = (word("ana"), String::new());
    let events = [
        Event::Requested(id("web"), Verb::Abort { actor: actor.clone(), reason: reason.clone() }),
        Event::Requested(id("web"), Verb::Confirm { actor, reason }),
        Event::Withdrawn(id("web")),
    ];
    for event in events {
        let (mut controller, call) = promoting();
        let output = controller.handle(event.clone(), Millis(3_000));
        assert_eq!(ended(&output), [call], "{event:?}");
    }
}

#[test]
fn the_table_leaves_before_a_call_is_ended() {
    let (mut controller, _) = promoting();
    let abort = Verb::Abort { actor: word("ana"), reason: String::new() };
    let output = controller.handle(Event::Requested(id("web"), abort), Millis(3_000));
    assert!(matches!(output.urgent[..], [Command::Push(_), Command::EndCalls { .. }]), "{:?}", output.urgent);
}

#[test]
fn an_answer_ends_nobodys_call_but_a_silence_does() {
    let hooks = ["a", "b"].map(|name| call(name, HookKind::ConfirmRollout)).to_vec();
    let (mut controller, calls) = begun(plan("web", |spec| spec.outside.hooks = hooks));
    assert_eq!(calls.len(), 2);
    let answer = Event::Reply { canary: id("web"), call: calls[0], reply: Reply::Hook(Ok(())) };
    assert_eq!(ended(&controller.handle(answer, Millis(2_000))), []);
    let due = controller.deadline().unwrap();
    assert_eq!(ended(&controller.handle(Event::Timer, due)), [calls[1]]);
}

#[test]
fn a_release_that_takes_anothers_place_ends_its_calls() {
    let hooks = vec![call("a", HookKind::ConfirmRollout)];
    let (mut controller, calls) = begun(plan("web", |spec| spec.outside.hooks = hooks));
    let output = controller.handle(Event::Requested(id("web"), release("v3", false)), Millis(2_000));
    assert_eq!(ended(&output), calls);
    assert_eq!(called(&output).len(), 1, "and asks for itself");
}
