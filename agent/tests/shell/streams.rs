//! The life of a stream that keeps the rules.

use std::time::{Duration, Instant};

use rollout::routing::table::{Epoch, Version, WeightPpm};
use rollout::worker::messages::{PROTOCOL, ToAgent, ToWorker};
use serde_json::json;

use crate::support::agent::{TestAgent, WEB_PATH};
use crate::support::worker::{Worker, endpoint, hello, report, web};

#[tokio::test]
async fn hello_is_answered_by_welcome_and_the_table() {
    let agent = TestAgent::start().await;
    let mut worker = Worker::open(&endpoint(agent.grpc()), None, &[ToAgent::Hello(hello(1))]).await.unwrap();
    assert_eq!(worker.next().await, ToWorker::Welcome(PROTOCOL));
    let entry = worker.entry().await;
    assert_eq!(entry.canary, web());
    let routing = entry.routing.unwrap();
    assert_eq!((routing.primary.as_str(), routing.split), ("web-primary", None));
    worker.beats().await;
    agent.api().until_metric("serin_agent_streams", 1.0).await;
}

#[tokio::test]
async fn a_report_sent_again_is_acked_again_and_counted_once() {
    let agent = TestAgent::start().await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    worker.entry().await;
    for number in [1, 1, 2, 1] {
        worker.send(&ToAgent::Report(report(number, Version::Primary, Epoch(1), 5))).await;
        assert_eq!(worker.ack().await, number);
    }
    let mut again = Worker::welcomed(agent.grpc(), 1).await;
    again.send(&ToAgent::Report(report(2, Version::Primary, Epoch(1), 5))).await;
    assert_eq!(again.ack().await, 2);
    let totals = &agent.api().web().await["totals"][0];
    assert_eq!((&totals["started"], &totals["succeeded"]), (&json!(10), &json!(10)), "{totals}");
    assert_eq!(agent.api().metric("serin_agent_missing_reports").await, Some(0.0));
}

#[tokio::test]
async fn every_stream_gets_the_table_on_release_and_on_abort() {
    let agent = TestAgent::start().await;
    let mut workers = [Worker::welcomed(agent.grpc(), 1).await, Worker::welcomed(agent.grpc(), 2).await];
    let before = workers[0].entry().await.epoch;
    agent.api().ask("releases").await;
    let mut during = before;
    for worker in &mut workers {
        let entry = worker.entry_above(before).await;
        let split = entry.routing.unwrap().split.unwrap();
        assert_eq!((split.canary.as_str(), split.weight), ("web-canary", WeightPpm::new(100_000).unwrap()));
        during = entry.epoch;
    }
    let body = json!({ "actor": "ann", "reason": "INC-42" });
    let (status, answer) = agent.api().post(&format!("{WEB_PATH}/abort"), &body).await;
    assert_eq!((status, &answer["phase"]), (200, &json!("Failed")));
    let mut after = during;
    for worker in &mut workers {
        let entry = worker.entry_above(during).await;
        assert_eq!(entry.routing.unwrap().split, None);
        after = entry.epoch;
    }
    let mut late = Worker::welcomed(agent.grpc(), 3).await;
    assert_eq!(late.entry().await.epoch, after);
}

#[tokio::test]
async fn finalising_ends_when_every_live_worker_has_adopted() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let before = worker.entry().await.epoch;
    for verb in ["releases", "promote", "confirm"] {
        api.ask(verb).await;
    }
    let split = worker.entry_above(before).await;
    let merged = worker.entry_above(split.epoch).await;
    assert_eq!(merged.routing.unwrap().split, None);
    assert_eq!(api.web().await["phase"], "Finalising");
    worker.send(&ToAgent::Adopted(web(), merged.epoch)).await;
    let canary = api.until_web("the promotion to end", |canary| canary["phase"] == "Succeeded").await;
    assert_eq!((&canary["promotedRevision"], &canary["workersInSync"]), (&json!("v2"), &json!(1)));
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    let last = events["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["detail"], json!({ "succeeded": { "unconfirmed": 0 } }));
}

#[tokio::test]
async fn of_two_streams_of_one_incarnation_the_older_is_closed() {
    let agent = TestAgent::start().await;
    let mut older = Worker::welcomed(agent.grpc(), 7).await;
    older.entry().await;
    let mut newer = Worker::welcomed(agent.grpc(), 7).await;
    newer.entry().await;
    let why = older.ended().await.unwrap();
    assert!(why.message().contains("newer stream of the same incarnation"), "{why:?}");
    newer.send(&ToAgent::Report(report(1, Version::Primary, Epoch(1), 3))).await;
    assert_eq!(newer.ack().await, 1);
    agent.api().until_metric("serin_agent_streams", 1.0).await;
    let (_, workers) = agent.api().get("/api/v1/workers").await;
    assert_eq!(workers["items"].as_array().unwrap().len(), 1);
    assert_eq!(workers["items"][0]["connected"], true);
}

#[tokio::test]
async fn a_peer_that_closes_its_connection_is_gone_at_once() {
    let agent = TestAgent::start().await;
    let worker = Worker::welcomed(agent.grpc(), 1).await;
    agent.api().until_web("the worker", |canary| canary["workersLive"] == 1).await;
    let closed = Instant::now();
    drop(worker);
    agent.api().until_web("the worker to be gone", |canary| canary["workersLive"] == 0).await;
    agent.api().until_metric("serin_agent_streams", 0.0).await;
    assert!(closed.elapsed() < Duration::from_secs(10), "noticed by its silence, not by its end");
}

#[tokio::test]
async fn streams_end_with_the_agent() {
    let mut agent = TestAgent::start().await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    worker.entry().await;
    agent.stop().await;
    let why = worker.ended().await.unwrap();
    assert!(why.message().contains("shutting down"), "{why:?}");
}
