//! What survives: an orderly stop, and `kill -9` at any moment.

use rollout::routing::table::Version;
use rollout::worker::messages::ToAgent;
use serde_json::{Value, json};

use crate::support::agent::{Api, TestAgent, WEB_PATH, directory};
use crate::support::child::ChildAgent;
use crate::support::worker::{Worker, report};

async fn events(api: &Api) -> Value {
    api.get(&format!("{WEB_PATH}/events")).await.1
}

/// The canary without what depends on the moment.
async fn lasting(api: &Api) -> Value {
    let mut canary = api.web().await;
    for momentary in [
        "nextCheckMs",
        "ranMs",
        "onStepMs",
        "workersLive",
        "workersInSync",
        "workersLost",
        "workersTripped",
        "withoutAgent",
        "defaultRouteWrong",
        "message",
        "remarks",
    ] {
        canary[momentary] = Value::Null;
    }
    canary
}

#[tokio::test]
async fn an_orderly_stop_loses_nothing() {
    let mut agent = TestAgent::start().await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let epoch = worker.entry().await.epoch;
    for number in 1..=3 {
        worker.send(&ToAgent::Report(report(number, Version::Primary, epoch, 7))).await;
        worker.ack().await;
    }
    agent.api().ask("releases").await;
    agent.api().ask("pause").await;
    let before = (lasting(&agent.api()).await, events(&agent.api()).await);
    agent.stop().await;
    agent.start_again().await;
    assert_eq!((lasting(&agent.api()).await, events(&agent.api()).await), before);
    assert_eq!(before.0["totals"][0]["started"], 21);
    let mut again = Worker::welcomed(agent.grpc(), 1).await;
    again.send(&ToAgent::Report(report(3, Version::Primary, epoch, 7))).await;
    assert_eq!(again.ack().await, 3);
    assert_eq!(agent.api().web().await["totals"][0]["started"], 21);
}

#[tokio::test]
async fn a_second_agent_on_the_same_data_is_refused() {
    let agent = TestAgent::start().await;
    let error = agent.second().await.expect_err("the data is in use").to_string();
    assert!(error.contains("data directory") && error.contains("in use by another agent"), "{error}");
    assert!(error.contains("--data"), "{error}");
    assert_eq!(agent.api().get("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_killed_agent_resumes_at_the_same_step_with_every_acked_report() {
    let dir = directory();
    let mut child = ChildAgent::start(dir.path());
    let mut worker = Worker::welcomed(child.grpc(), 1).await;
    let epoch = worker.entry().await.epoch;
    child.api().ask("releases").await;
    child.api().ask("pause").await;
    let split = worker.entry_above(epoch).await;
    // Killed while reports come in as fast as they are acked.
    let mut acked = 0;
    for number in 1..=200 {
        worker.send(&ToAgent::Report(report(number, Version::Primary, split.epoch, 1))).await;
        acked = worker.ack().await;
    }
    (201..=400).for_each(|number| {
        worker.try_send(&ToAgent::Report(report(number, Version::Primary, split.epoch, 1)));
    });
    child.kill9();
    let child = ChildAgent::start(dir.path());
    let canary = child.api().web().await;
    assert_eq!((&canary["phase"], &canary["release"], &canary["step"]), (&json!("Paused"), &json!(1), &json!(1)));
    assert!(canary["totals"][0]["started"].as_u64().unwrap() >= acked, "{acked} were acked: {canary}");
    // What was not acked comes again, as a worker does it, and nothing counts twice.
    let mut worker = Worker::welcomed(child.grpc(), 1).await;
    assert_eq!(worker.entry().await, split);
    for number in 200..=400 {
        worker.send(&ToAgent::Report(report(number, Version::Primary, split.epoch, 1))).await;
        worker.ack().await;
    }
    assert_eq!(child.api().web().await["totals"][0]["started"], 400);
    assert_eq!(child.api().metric("serin_agent_missing_reports").await, Some(0.0));
}

#[tokio::test]
async fn an_answered_verb_survives_a_kill_and_an_ended_release_stays_ended() {
    let dir = directory();
    let mut child = ChildAgent::start(dir.path());
    for (verbs, phase) in [
        (&["releases"][..], "Progressing"),
        (&["pause"], "Paused"),
        (&["resume", "promote"], "Promoting"),
        (&["confirm"], "Succeeded"),
    ] {
        for verb in verbs {
            child.api().ask(verb).await;
        }
        child.kill9();
        child = ChildAgent::start(dir.path());
        assert_eq!(child.api().web().await["phase"], phase);
    }
    let (status, _) =
        child.api().post(&format!("{WEB_PATH}/releases"), &json!({ "revision": "v3", "actor": "ann" })).await;
    assert_eq!(status, 200);
    child.api().ask("abort").await;
    // An abort's answer does not wait for the disk; a later verb's does, and what came before it is stored with it.
    child.api().ask("retry").await;
    child.kill9();
    let child = ChildAgent::start(dir.path());
    let canary = child.api().web().await;
    assert_eq!((&canary["release"], &canary["revision"]), (&json!(3), &json!("v3")));
    assert!(events(&child.api()).await.to_string().contains("requested by ann"));
}

#[tokio::test]
async fn an_answered_abort_survives_a_kill_in_the_same_moment() {
    let dir = directory();
    // No worker is connected: only the journal can know of the abort.
    for release in 1..=5 {
        let mut child = ChildAgent::start(dir.path());
        child.api().ask("releases").await;
        child.api().ask("abort").await;
        child.kill9();
        let child = ChildAgent::start(dir.path());
        let canary = child.api().web().await;
        assert_eq!((&canary["phase"], &canary["release"]), (&json!("Failed"), &json!(release)));
    }
}
