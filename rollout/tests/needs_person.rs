//! What a canary's status says of people: whether one must act before it goes on, and how; and its line meanwhile.

#![cfg(test)]

mod fixture;

use fixture::scene::Scene;
use fixture::{call, gate, id, on_certificate, percent, released, unsupported, upstream, word};
use rollout::base::names::ReleaseId;
use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::integrations::{Hook, HookCall, HookKind, HookTarget};
use rollout::release::plan::{Spec, Stop, Strategy};
use rollout::view::status::{self, CanaryStatus};

const FAST: Micros = Micros(9_000);

fn status(scene: &Scene) -> CanaryStatus {
    status::canary(&scene.controller, scene.canary(), Millis(1_000 + scene.number * 100))
}

fn needs(scene: &Scene) -> Option<String> {
    status(scene).needs_person
}

fn ask(scene: &mut Scene, verb: Verb) -> Option<bool> {
    scene.happen(Event::Requested(id("web"), verb)).reply.map(|reply| reply.is_ok())
}

fn by() -> (rollout::release::phase::Actor, String) {
    (word("ana"), String::new())
}

fn scene(change: impl FnOnce(&mut Spec)) -> Scene {
    Scene::new(|spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        change(spec);
    })
}

#[test]
fn a_closed_gate_needs_a_person_and_a_hook_that_refuses_does_not() {
    let waits = scene(|spec| spec.outside.hooks.push(gate("owner", HookKind::ConfirmRollout)));
    assert_eq!(status(&waits).phase, "Waiting");
    assert_eq!(needs(&waits).unwrap(), "`serin gate open prod/web owner` approves");

    let mut refused = scene(|spec| spec.outside.hooks.push(call("board", HookKind::ConfirmRollout)));
    assert_eq!(needs(&refused), None, "it has not answered yet");
    let call = CallId { release: ReleaseId(1), round: 1, callee: Callee::Hook(0) };
    let reply = Reply::Hook(Err("not yet".into()));
    refused.happen(Event::Reply { canary: id("web"), call, reply });
    assert!(status(&refused).message.contains("not yet"), "{}", status(&refused).message);
    assert_eq!(needs(&refused), None, "it may agree yet");
}

/// They are opened and closed by name as well, so people must see them.
#[test]
fn gates_that_are_known_by_a_url_are_listed_with_it_and_without_its_secrets() {
    let at = |name: &str, kind, url: &str| {
        let hook = call(name, kind);
        let HookTarget::Call(call) = hook.target else { panic!("{name} calls nobody") };
        Hook { target: HookTarget::Call(HookCall { url: url.into(), ..call }), ..hook }
    };
    let mut scene = scene(|spec| {
        spec.outside.hooks = vec![
            at("go", HookKind::ConfirmRollout, "http://bot:s3cret@serin:7071/gate/check?key=s3cret"),
            at("yes", HookKind::ConfirmRollout, "http://serin:7071/gate/approve"),
            gate("owner", HookKind::ConfirmPromotion),
            at("back", HookKind::Rollback, "https://serin.ops/rollback/check/"),
        ];
    });
    let listed = |scene: &Scene| {
        let gates = status::stored_gates(scene.canary(), Millis(1_000 + scene.number * 100));
        gates.into_iter().map(|gate| format!("{} {} {:?}", gate.gate, gate.open, gate.url)).collect::<Vec<_>>()
    };
    let all = |is_open: bool| {
        [
            format!("go {is_open} Some(\"http://serin:7071/gate/check\")"),
            "owner false None".into(),
            "back false Some(\"https://serin.ops/rollback/check\")".into(),
        ]
    };
    assert_eq!(listed(&scene), all(false));
    let (actor, reason) = by();
    let open = Verb::OpenGate { gate: "go".into(), revision: None, expires_after: None, actor, reason };
    assert_eq!(ask(&mut scene, open), Some(true));
    assert_eq!(listed(&scene), all(true));
}

#[test]
fn who_has_opened_the_gate_is_not_told_to_open_it() {
    let mut scene = scene(|spec| {
        spec.outside.hooks = vec![gate("owner", HookKind::ConfirmRollout), call("board", HookKind::ConfirmRollout)];
    });
    let call = CallId { release: ReleaseId(1), round: 1, callee: Callee::Hook(1) };
    scene.happen(Event::Reply { canary: id("web"), call, reply: Reply::Hook(Err("not yet".into())) });
    assert!(status(&scene).message.contains("gate owner is closed"), "{}", status(&scene).message);
    assert_eq!(needs(&scene).unwrap(), "`serin gate open prod/web owner` approves");
    let (actor, reason) = by();
    let open = Verb::OpenGate { gate: "owner".into(), revision: None, expires_after: None, actor, reason };
    assert_eq!(ask(&mut scene, open), Some(true));
    assert!(!status(&scene).message.contains("gate owner"), "{}", status(&scene).message);
    assert_eq!(needs(&scene), None);
}

#[test]
fn a_stop_and_a_pause_need_a_person_and_say_once_how_to_go_on() {
    let stop = |spec: &mut Spec| {
        spec.strategy = Strategy::Steps([10, 20].map(percent).to_vec());
        spec.course.stops = vec![Stop { pause: true, ..Stop::default() }];
    };
    let stopped = scene(stop);
    assert_eq!(status(&stopped).message, "paused: the plan stops at this step; `serin resume` continues");
    assert_eq!(needs(&stopped).unwrap(), "`serin resume prod/web` lets it go on");

    let mut paused = scene(|_| ());
    assert_eq!(needs(&paused), None);
    let (actor, reason) = by();
    assert_eq!(ask(&mut paused, Verb::Pause { actor, reason }), Some(true));
    assert_eq!(needs(&paused).unwrap(), "`serin resume prod/web` lets it go on");
}

#[test]
fn the_wait_for_confirm_needs_a_person_and_asking_again_is_harmless_to_the_end() {
    let mut scene = scene(|_| ());
    let (actor, reason) = by();
    assert_eq!(ask(&mut scene, Verb::Promote { actor, reason }), Some(true));
    assert_eq!(needs(&scene).unwrap(), "bring the primary to v2, then `serin confirm prod/web`");
    let again = || released("v2");
    assert_eq!(ask(&mut scene, again()), Some(true));
    let (actor, reason) = by();
    assert_eq!(ask(&mut scene, Verb::Confirm { actor, reason }), Some(true));
    assert_eq!((status(&scene).phase.as_str(), needs(&scene)), ("Finalising", None));
    assert_eq!(ask(&mut scene, again()), Some(true), "a pipeline goes on waiting while it finalises");
    let other = released("v3");
    assert_eq!(ask(&mut scene, other), Some(false));
}

#[test]
fn what_must_be_accepted_or_mended_first_needs_a_person() {
    let held = scene(|spec| spec.unsupported.push(unsupported()));
    let accept = "`serin release prod/web --revision v2 --accept-unsupported` goes on without them";
    assert_eq!(needs(&held).unwrap(), accept);

    let mut astray = scene(|_| ());
    let mut said = fixture::hello(9, vec![]);
    said.default_upstreams.push((id("web"), upstream("web-canary")));
    astray.happen(Event::Connected(Conn(2), said));
    astray.serve([90, 10], 0, FAST);
    assert!(needs(&astray).unwrap().contains("defaultUpstreams"), "{:?}", status(&astray));
}

#[test]
fn a_release_that_no_request_or_proxy_reaches_says_so() {
    let mut scene = scene(|_| ());
    assert_eq!(status(&scene).message, "step 1 of 3; no canary request on this step yet");
    scene.serve([90, 0], 0, FAST);
    assert_eq!(status(&scene).message, "step 1 of 3; no canary request on this step yet");
    scene.serve([90, 10], 0, FAST);
    assert_eq!(status(&scene).message, "step 1 of 3");
    let gone = scene.happen(Event::Disconnected(Conn(1)));
    assert!(!gone.stored.iter().any(|command| matches!(command, Command::Push(_))));
    assert_eq!(status(&scene).message, "step 1 of 3; no worker is connected");
    assert_eq!(needs(&scene), None, "one may connect");
}
