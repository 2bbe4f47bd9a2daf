//! Hooks are notified of events in their order, and before a stop of all that came before it.

use std::collections::BTreeMap;

use rollout::base::names::ReleaseId;
use rollout::release::integrations::HookKind;

use super::*;
use crate::http_delivery::listener::{Listener, Reply};

fn dispatcher() -> Dispatcher {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Dispatcher::new(Secrets::default()).unwrap()
}

fn hook(url: String) -> Hook {
    let call = HookCall {
        url,
        timeout: Millis(10_000),
        retries: 1,
        insecure_skip_verify: false,
        metadata: BTreeMap::new(),
        headers: None,
        signature: None,
    };
    Hook { name: "events".into(), kind: HookKind::Event, target: HookTarget::Call(call), mute_alert: false }
}

fn said(phase: &'static str) -> Said {
    Said { phase, release: ReleaseId(1), revision: None, metadata: BTreeMap::new() }
}

#[tokio::test]
async fn a_burst_of_events_arrives_in_order_whatever_must_be_repeated() {
    let server = Listener::start([Reply::status(503), Reply::status(200)]).await;
    let (dispatcher, web) = (dispatcher(), CanaryId::new("prod", "web").unwrap());
    for phase in ["one", "two", "three"] {
        dispatcher.notify(&web, hook(server.url("/")), said(phase));
    }
    let received = server.received(4).await;
    let phases: Vec<_> = received.iter().map(|one| one.json()["phase"].clone()).collect();
    assert_eq!(phases, ["one", "one", "two", "three"]);
}

#[tokio::test]
async fn a_stop_waits_for_notices_to_hooks_but_not_forever() {
    let server = Listener::start([Reply::status(200), Reply::status(200), Reply::Stall]).await;
    let (dispatcher, web) = (dispatcher(), CanaryId::new("prod", "web").unwrap());
    dispatcher.notify(&web, hook(server.url("/")), said("one"));
    dispatcher.notify(&web, hook(server.url("/")), said("two"));
    dispatcher.drain().await;
    assert_eq!(server.count(), 2);
    dispatcher.notify(&web, hook(server.url("/")), said("three"));
    // Stalls, so it and the one behind it are dropped.
    dispatcher.notify(&web, hook(server.url("/")), said("four"));
    let patience = Duration::from_secs(20);
    let drained = tokio::time::timeout(patience, dispatcher.drain_within(Duration::from_millis(100))).await;
    assert_eq!(drained.expect("deadline: a stop"), 2);
}

#[tokio::test]
async fn hooks_of_one_name_do_not_wait_for_each_other() {
    let dead = Listener::start([Reply::Stall]).await;
    let server = Listener::start([Reply::status(200)]).await;
    let (dispatcher, web) = (dispatcher(), CanaryId::new("prod", "web").unwrap());
    // As many as one hook may have calls under way.
    for path in ["/a", "/b"] {
        let mut stalled = hook(dead.url(path));
        let HookTarget::Call(call) = &mut stalled.target else { unreachable!() };
        // Longer than the test waits: what queues behind it is not delivered.
        call.timeout = Millis(3_600_000);
        dispatcher.notify(&web, stalled, said("one"));
    }
    dead.received(2).await;
    dispatcher.notify(&web, Hook { kind: HookKind::PostRollout, ..hook(server.url("/")) }, said("two"));
    assert_eq!(server.received(1).await[0].json()["phase"], "two");
}

#[tokio::test]
async fn hooks_of_one_name_and_address_are_notified_in_order() {
    let server = Listener::start([Reply::status(503), Reply::status(200)]).await;
    let (dispatcher, web) = (dispatcher(), CanaryId::new("prod", "web").unwrap());
    dispatcher.notify(&web, hook(server.url("/")), said("one"));
    dispatcher.notify(&web, Hook { kind: HookKind::PostRollout, ..hook(server.url("/")) }, said("two"));
    let received = server.received(3).await;
    let phases: Vec<_> = received.iter().map(|one| one.json()["phase"].clone()).collect();
    assert_eq!(phases, ["one", "one", "two"]);
}
