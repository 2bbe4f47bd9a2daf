//! What hooks are sent beside the release: the manifest's own keys, what a promotion is to deploy, and what happened.

#![cfg(test)]

mod fixture;

use std::collections::BTreeMap;

use rollout::base::time::Millis;
use rollout::controller::{Command, Controller, Event, Verb};
use rollout::release::integrations::{Hook, HookKind, HookTarget};
use rollout::release::plan::Promotion;

use fixture::walk::release;
use fixture::{call, id, plan, word};

/// A hook with these keys, each with the value `mine`.
fn with_keys(name: &str, kind: HookKind, keys: &[&str]) -> Hook {
    let mut hook = call(name, kind);
    let HookTarget::Call(call) = &mut hook.target else { unreachable!() };
    call.metadata = keys.iter().map(|key| ((*key).to_owned(), "mine".to_owned())).collect();
    hook
}

#[test]
fn a_promotion_is_told_what_to_deploy_and_an_event_what_happened() {
    let mut controller = Controller::default();
    let plan = plan("web", |spec| {
        spec.promotion = Promotion::Copy { hook: Some(with_keys("deploy", HookKind::Promotion, &["cmd", "release"])) };
        spec.outside.hooks = vec![
            with_keys("events", HookKind::Event, &["cmd", "timestamp"]),
            with_keys("report", HookKind::PostRollout, &["cmd"]),
        ];
    });
    let (actor, reason) = (word("ana"), String::new());
    let events = [
        Event::Declared(Box::new(plan)),
        Event::Requested(id("web"), release("v2", false)),
        Event::Requested(id("web"), Verb::Promote { actor: actor.clone(), reason: reason.clone() }),
        Event::Requested(id("web"), Verb::Abort { actor, reason }),
    ];
    let mut said: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for (n, event) in events.into_iter().enumerate() {
        for command in controller.handle(event, Millis(1_000 * n as u64)).stored {
            if let Command::CallHook { hook, payload, .. } | Command::NotifyHook { hook, payload, .. } = command {
                said.push((hook.name, payload.metadata));
            }
        }
    }
    let of = |name: &str| -> Vec<&BTreeMap<String, String>> {
        said.iter().filter(|(hook, _)| hook == name).map(|(_, metadata)| metadata).collect()
    };
    let keys = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(of("deploy"), [&keys(&[("cmd", "mine"), ("release", "mine"), ("revision", "v2")])]);
    assert_eq!(of("report"), [&keys(&[("cmd", "mine")])]);
    let (events, kinds) = (of("events"), |kind: &str| of("events").iter().filter(|it| it["eventType"] == kind).count());
    assert_eq!(
        events[0],
        &keys(&[("cmd", "mine"), ("eventMessage", "manifest read"), ("eventType", "Normal"), ("timestamp", "0")])
    );
    assert_eq!((kinds("Normal") + kinds("Warning"), kinds("Warning")), (events.len(), 1), "the abort is a warning");
}
