//! Hooks that are told hear of events in their order, and of all that were before a stop.

use std::collections::BTreeMap;

use rollout::names::ReleaseId;
use rollout::outside::HookKind;

use super::*;
use crate::post::listener::{Listener, Reply};

fn outside() -> Outside {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Outside::new(Secrets::default()).unwrap()
}

fn hook(url: String) -> Hook {
    let call = HookCall {
        url,
        timeout: Millis(10_000),
        retries: 1,
        disable_tls: false,
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
    let (outside, web) = (outside(), CanaryId::new("prod", "web").unwrap());
    for phase in ["one", "two", "three"] {
        outside.tell(&web, hook(server.url("/")), said(phase));
    }
    let received = server.received(4).await;
    let phases: Vec<_> = received.iter().map(|one| one.json()["phase"].clone()).collect();
    assert_eq!(phases, ["one", "one", "two", "three"]);
}

#[tokio::test]
async fn a_stop_waits_for_what_hooks_are_told_but_not_for_ever() {
    let server = Listener::start([Reply::status(200), Reply::status(200), Reply::Stall]).await;
    let (outside, web) = (outside(), CanaryId::new("prod", "web").unwrap());
    outside.tell(&web, hook(server.url("/")), said("one"));
    outside.tell(&web, hook(server.url("/")), said("two"));
    outside.drain().await;
    assert_eq!(server.count(), 2);
    outside.tell(&web, hook(server.url("/")), said("three"));
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, outside.drain_within(Duration::from_millis(100))).await.expect("deadline: a stop");
}
