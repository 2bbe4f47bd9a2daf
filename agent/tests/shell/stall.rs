//! An agent whose disk refuses: it aborts, says that it cannot store, raises no weight, and catches up when the disk is back.

use std::time::Duration;

use rollout::routing::table::Version;
use rollout::worker::messages::{ToAgent, ToWorker};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::openapi::fits;
use crate::support::agent::{WEB, WEB_PATH, directory};
use crate::support::child::ChildAgent;
use crate::support::until;
use crate::support::worker::{Worker, report};

#[tokio::test]
async fn an_agent_without_its_disk_only_reduces_and_catches_up() {
    let dir = directory();
    // Long enough that what was seen before the disk went counts for more than one check.
    let manifest = WEB.replace("interval: 1s,", "interval: 60s,");
    std::fs::write(dir.path().join("canaries/web.yaml"), manifest).unwrap();
    let mut child = ChildAgent::start(dir.path());
    let api = child.api();
    let mut worker = Worker::welcomed(child.grpc(), 1).await;
    let known = worker.entry().await.epoch;
    api.ask("releases").await;
    let split = worker.entry_above(known).await;
    worker.beats().await;
    child.take_disk();
    // Nobody has noticed yet: this is what is to be written first.
    let (status, answer) = api.post(&format!("{WEB_PATH}/pause"), &json!({ "actor": "ann" })).await;
    let error = answer["error"].as_str().unwrap();
    assert!(status == 503 && error.contains("cannot pause: the journal cannot be written"), "{error}");
    assert!(error.contains("it is not carried out"), "{error}");
    worker.send(&ToAgent::Report(report(1, Version::Canary, split.epoch, 50))).await;
    until("the agent to notice", async || match api.get("/readyz").await {
        (503, answer) => Ok(answer),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(api.metric("serin_journal_writable").await, Some(0.0));
    let (status, answer) = api.post(&format!("{WEB_PATH}/promote"), &json!({ "actor": "ann" })).await;
    let error = answer["error"].as_str().unwrap();
    assert!(status == 503 && error.contains("journal cannot be written") && error.contains("only abort"), "{error}");
    assert_eq!(worker.next().await, ToWorker::Received(1), "it is counted, and not stored");
    // A check has passed now; neither a greater weight nor word that the report is stored may leave.
    api.until_web("the next step to be decided", |canary| canary["step"] != 1 || canary["phase"] != "Progressing")
        .await;
    let early = timeout(Duration::from_millis(300), worker.next()).await;
    assert!(early.is_err(), "{early:?} left before it was stored");
    let (status, done) = api.post(&format!("{WEB_PATH}/abort"), &json!({ "actor": "ann" })).await;
    fits("Done", &done);
    assert_eq!((status, &done["phase"], &done["stored"]), (200, &json!("Failed"), &json!(false)));
    assert!(done["warning"].as_str().unwrap().contains("journal cannot be written"), "{done}");
    let next = worker.next().await;
    let ToWorker::Entry(entry) = next else { panic!("{next:?} instead of the abort's entry") };
    assert_eq!(entry.routing.unwrap().split, None);
    worker.beats().await;
    child.give_disk_back();
    assert_eq!(worker.ack().await, 1);
    until("the agent to recover", async || match api.get("/readyz").await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    child.kill9();
    let child = ChildAgent::start(dir.path());
    let canary = child.api().web().await;
    assert_eq!((&canary["phase"], &canary["totals"][1]["started"]), (&json!("Failed"), &json!(50)));
    let (_, events) = child.api().get(&format!("{WEB_PATH}/events")).await;
    let is_pause = |event: &Value| event["detail"].get("paused").is_some();
    assert!(!events["items"].as_array().unwrap().iter().any(is_pause), "the pause was carried out later: {events}");
}
