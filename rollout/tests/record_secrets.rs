//! Records are handed out: no address, header or password of a plan stands in one, and a replay does without.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb};
use rollout::record::replay::Replay;
use rollout::record::{Added, Recorder, ReleaseOutcome};
use rollout::release::integrations::{Alert, HookKind, HookTarget, Receiver, ReceiverKind, Severity};
use rollout::release::plan::{Plan, Promotion};

use fixture::walk::release;
use fixture::{call, hello, id, metric, plan, word};

const SECRET: &str = "s3cret";

/// A plan in which the secret stands wherever people put one.
fn secretive(threshold: u32) -> Plan {
    let url = || format!("https://bot:{SECRET}@hooks.example/{SECRET}?key={SECRET}");
    plan("web", |spec| {
        spec.threshold = threshold;
        let mut hook = call("load", HookKind::Rollout);
        let mut deploy = call("deploy", HookKind::Promotion);
        for hook in [&mut hook, &mut deploy] {
            let HookTarget::Call(call) = &mut hook.target else { unreachable!() };
            call.url = url();
            call.metadata.insert("token".into(), SECRET.into());
        }
        let mut metric = metric("errors");
        metric.provider.address = Some(url());
        metric.provider.headers.insert("Authorization".into(), vec![SECRET.into()]);
        let receiver = Receiver {
            kind: ReceiverKind::Slack,
            address: Some(url()),
            secret: None,
            channel: "ops".into(),
            username: "serin".into(),
            proxy: Some(url()),
        };
        spec.outside.hooks.push(hook);
        spec.outside.metrics.push(metric);
        spec.outside.alerts.push(Alert { name: "ops".into(), severity: Severity::Info, receiver });
        spec.promotion = Promotion::Copy { hook: Some(deploy) };
    })
}

#[test]
fn no_record_holds_a_secret_and_its_replay_ends_as_the_release_did() {
    let (mut controller, mut recorder, mut additions) = (Controller::default(), Recorder::default(), Vec::new());
    let (actor, reason) = (word("ana"), String::new());
    let events = [
        Event::Declared(Box::new(secretive(3))),
        Event::Connected(Conn(1), hello(7, vec![])),
        // Opens a record with a plan that waits for the next release.
        Event::Requested(id("web"), release("v1", false)),
        Event::Declared(Box::new(secretive(2))),
        Event::Requested(id("web"), release("v2", false)),
        Event::Declared(Box::new(secretive(2))),
        Event::Declared(Box::new(secretive(1))),
        Event::Requested(id("web"), Verb::Promote { actor: actor.clone(), reason: reason.clone() }),
        Event::Requested(id("web"), Verb::Confirm { actor, reason }),
        Event::Timer,
    ];
    for (n, event) in events.into_iter().enumerate() {
        let at = controller.deadline().filter(|_| matches!(event, Event::Timer));
        let at = at.unwrap_or(Millis(1_000 * n as u64));
        additions.extend(recorder.handle(&mut controller, event, at).1);
    }
    let mut replay = None;
    for addition in additions.into_iter().filter(|addition| addition.release.0 == 2) {
        match addition.what {
            Added::Opening(opening) => {
                let text = serde_json::to_string(&opening).unwrap();
                assert!(!text.contains(SECRET) && text.contains("https://hooks.example"), "{text}");
                replay = Some(Replay::new(serde_json::from_str(&text).unwrap(), None).unwrap());
            }
            Added::Line(line) => {
                let text = serde_json::to_string(&line).unwrap();
                assert!(!text.contains(SECRET), "{text}");
                replay.as_mut().unwrap().take(serde_json::from_str(&text).unwrap()).unwrap();
            }
        }
    }
    let replayed = replay.unwrap().finish().unwrap();
    assert_eq!(
        (replayed.ended.map(|end| end.outcome), replayed.ended_otherwise),
        (Some(ReleaseOutcome::Promoted), None)
    );
    let kept = &controller.canary(&id("web")).unwrap().plan;
    assert_eq!((kept.threshold, kept.outside.alerts.len()), (1, 1), "the agent's own plan is whole");
}
