//! Recorded releases over the API: listed, read, behind the token, and still there after a stop and after `kill -9`.

use reqwest::Method;
use rollout::record::replay::{Replay, Replayed};
use rollout::record::{Line, Opening};
use rollout::routing::table::Version;
use rollout::worker::messages::ToAgent;
use serde_json::Value;

use crate::openapi::fits;
use crate::support::agent::{Api, TestAgent, WEB_PATH, directory};
use crate::support::child::ChildAgent;
use crate::support::worker::{Worker, report};

async fn releases(api: &Api) -> Vec<Value> {
    let (status, list) = api.get(&format!("{WEB_PATH}/releases")).await;
    assert_eq!(status, 200, "{list}");
    fits("ReleaseList", &list);
    list["items"].as_array().unwrap().clone()
}

/// A record's lines, and the replay of them.
async fn record(api: &Api, release: u64) -> (Vec<Line>, Replayed) {
    let request = api.request(Method::GET, &format!("{WEB_PATH}/releases/{release}/record"));
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/jsonl".parse().unwrap())
    );
    let text = answer.text().await.unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let opening: Opening = serde_json::from_str(first).unwrap();
    let lines: Vec<Line> = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut replay = Replay::new(opening, None).unwrap();
    lines.iter().for_each(|line| replay.take(line.clone()).unwrap());
    (lines, replay.finish().unwrap())
}

#[tokio::test]
async fn a_release_can_be_read_while_it_runs_and_after_it_ended() {
    let mut agent = TestAgent::start().await;
    let api = agent.api();
    assert_eq!(releases(&api).await, Vec::<Value>::new());
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let epoch = worker.entry().await.epoch;
    api.ask("releases").await;
    let epoch = worker.entry_above(epoch).await.epoch;
    worker.send(&ToAgent::Report(report(1, Version::Canary, epoch, 7))).await;
    worker.ack().await;
    let (_, replayed) = record(&api, 1).await;
    assert_eq!((replayed.ended, replayed.canary_requests), (None, 7));
    api.ask("abort").await;
    let (_, replayed) = record(&api, 1).await;
    assert_eq!(replayed.ended.unwrap().message, "requested by ann");
    let list = releases(&api).await;
    assert_eq!(
        (&list[0]["release"], &list[0]["revision"], &list[0]["outcome"]),
        (&1.into(), &"v2".into(), &"aborted".into())
    );
    assert_eq!((&list[0]["message"], &list[0]["truncated"]), (&"requested by ann".into(), &Value::Null));
    assert!(list[0]["bytes"].as_u64() > Some(100), "{list:?}");
    agent.stop().await;
    agent.start_again().await;
    assert_eq!(releases(&agent.api()).await, list);
}

#[tokio::test]
async fn a_missing_record_is_answered_with_those_that_exist() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let (status, answer) = api.get(&format!("{WEB_PATH}/releases/3/record")).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap()),
        (404, "release 3 of canary prod/web is not recorded; recorded: none")
    );
    for verb in ["releases", "abort", "releases"] {
        api.ask(verb).await;
    }
    let (status, answer) = api.get(&format!("{WEB_PATH}/releases/3/record")).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap()),
        (404, "release 3 of canary prod/web is not recorded; recorded: 1, 2")
    );
    for path in ["/api/v1/canaries/prod/nobody/releases", "/api/v1/canaries/prod/nobody/releases/1/record"] {
        let (status, answer) = api.get(path).await;
        assert!(status == 404 && answer["error"].as_str().unwrap().contains("not known"), "{answer}");
    }
    assert_eq!(api.get(&format!("{WEB_PATH}/releases/last/record")).await.0, 400);
}

#[tokio::test]
async fn records_need_the_token_as_everything_else() {
    let agent = TestAgent::start_with(|options, dir| {
        let file = dir.path().join("token");
        std::fs::write(&file, "a-token-of-some-length-1234567890").unwrap();
        options.http_token_file = Some(file);
    })
    .await;
    for path in ["releases", "releases/1/record"] {
        assert_eq!(agent.api().get(&format!("{WEB_PATH}/{path}")).await.0, 401);
    }
    let api = agent.api().with_token("a-token-of-some-length-1234567890");
    assert_eq!(api.get(&format!("{WEB_PATH}/releases")).await.0, 200);
}

#[tokio::test]
async fn with_no_room_for_records_a_release_runs_without() {
    let agent = TestAgent::start_with(|options, _| options.records_mib = 0).await;
    let api = agent.api();
    api.ask("releases").await;
    assert_eq!(releases(&api).await, Vec::<Value>::new());
    assert_eq!(api.web().await["phase"], "Progressing");
}

#[tokio::test]
async fn a_killed_agent_s_record_has_every_acked_report_once() {
    let dir = directory();
    let mut child = ChildAgent::start(dir.path());
    let mut worker = Worker::welcomed(child.grpc(), 1).await;
    let epoch = worker.entry().await.epoch;
    child.api().ask("releases").await;
    child.api().ask("pause").await;
    let epoch = worker.entry_above(epoch).await.epoch;
    for number in 1..=50 {
        worker.send(&ToAgent::Report(report(number, Version::Canary, epoch, 2))).await;
        worker.ack().await;
    }
    child.kill9();
    let child = ChildAgent::start(dir.path());
    let mut worker = Worker::welcomed(child.grpc(), 1).await;
    for number in 50..=60 {
        worker.send(&ToAgent::Report(report(number, Version::Canary, epoch, 2))).await;
        worker.ack().await;
    }
    let (lines, replayed) = record(&child.api(), 1).await;
    assert_eq!(replayed.canary_requests, 120);
    let status = child.api().web().await;
    assert_eq!((status["phase"].as_str().unwrap(), &status["versions"][1]["started"]), ("Paused", &120.into()));
    assert!(lines.iter().all(|line| line.event.is_some()));
}
