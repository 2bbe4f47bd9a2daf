//! Promotion hooks: a yes promotes, everything else waits for a person and says why.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{Api, TestAgent, WEB_PATH};
use crate::support::hook::{HookServer, Reply, manifest};

const PATIENT: Duration = Duration::from_secs(60);

async fn promoting(manifest: String) -> TestAgent {
    let agent = TestAgent::start_with(|options, _| {
        std::fs::write(options.canaries.join("web.yaml"), manifest).unwrap();
    })
    .await;
    agent.api().ask("releases").await;
    agent.api().ask("promote").await;
    agent
}

/// Waits until the hook has failed; the canary then says why.
async fn failed(api: &Api) -> String {
    let waits = |canary: &Value| canary["message"].as_str().unwrap().contains("since the promotion hook failed");
    let canary = api.until_web("the hook to fail", waits).await;
    assert_eq!((&canary["phase"], &canary["weightPercent"]), (&json!("Promoting"), &json!(10.0)));
    canary["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_yes_promotes() {
    let server = HookServer::start(Reply::Status(204, String::new())).await;
    let agent = promoting(server.manifest(PATIENT)).await;
    let asked = server.call().await;
    assert_eq!(
        (&asked["name"], &asked["namespace"], &asked["phase"]),
        (&json!("web"), &json!("prod"), &json!("Promoting"))
    );
    assert_eq!(asked["metadata"], json!({ "revision": "v2", "release": "1" }));
    let canary = agent.api().until_web("the promotion", |canary| canary["phase"] == "Succeeded").await;
    assert_eq!(canary["promotedRevision"], "v2");
    assert!(!server.has_more().await);
}

#[tokio::test]
async fn a_no_waits_for_a_person_and_repeats_what_was_said() {
    let server = HookServer::start(Reply::Status(500, "quota\n\u{1b}[31mexceeded".into())).await;
    let agent = promoting(server.manifest(PATIENT)).await;
    let message = failed(&agent.api()).await;
    assert!(message.contains("deploy answered 500 quota[31mexceeded"), "{message:?}");
    agent.api().ask("confirm").await;
    assert_eq!(agent.api().web().await["phase"], "Succeeded");
}

#[tokio::test]
async fn a_long_answer_is_truncated() {
    let server = HookServer::start(Reply::Status(503, "é".repeat(100_000))).await;
    let agent = promoting(server.manifest(PATIENT)).await;
    let message = failed(&agent.api()).await;
    assert!(message.contains("deploy answered 503 éé") && message.len() < 800, "{} bytes", message.len());
}

#[tokio::test]
async fn no_answer_in_time_is_a_no_that_keeps_the_urls_secret() {
    let server = HookServer::start(Reply::Hold).await;
    let agent = promoting(server.manifest(Duration::from_millis(200))).await;
    let message = failed(&agent.api()).await;
    assert!(message.contains("deploy: ") && message.contains("timed out"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
}

#[tokio::test]
async fn nobody_there_is_a_no() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = promoting(manifest(&format!("http://{gone}/"), PATIENT)).await;
    let message = failed(&agent.api()).await;
    assert!(message.to_lowercase().contains("connection refused"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_a_no_and_is_not_followed() {
    let elsewhere = HookServer::start(Reply::Status(200, String::new())).await;
    let url = elsewhere.manifest(PATIENT);
    let target = url.split('"').nth(1).unwrap().to_owned();
    let server = HookServer::start(Reply::Redirect(target)).await;
    let agent = promoting(server.manifest(PATIENT)).await;
    let message = failed(&agent.api()).await;
    assert!(message.contains("deploy answered 302"), "{message}");
    assert!(!elsewhere.has_more().await);
}

#[tokio::test]
async fn an_unanswered_hook_is_called_again_by_the_next_life() {
    let server = HookServer::start(Reply::Hold).await;
    let mut agent = promoting(server.manifest(PATIENT)).await;
    let first = server.call().await;
    agent.stop().await;
    server.reply(Reply::Hold);
    agent.start_again().await;
    assert_eq!(server.call().await, first);
    server.reply(Reply::Status(200, String::new()));
    agent.api().until_web("the promotion", |canary| canary["phase"] == "Succeeded").await;
}

#[tokio::test]
async fn who_confirms_by_hand_ends_the_hooks_repetitions() {
    let server = HookServer::start(Reply::Hold).await;
    let agent = promoting(server.manifest(PATIENT)).await;
    server.call().await;
    agent.api().ask("confirm").await;
    server.given_up(1).await;
}

#[tokio::test]
async fn an_abort_ends_the_call_and_the_next_release_is_none_of_its_business() {
    let server = HookServer::start(Reply::Hold).await;
    let agent = promoting(server.manifest(PATIENT)).await;
    let api = agent.api();
    server.call().await;
    api.ask("abort").await;
    server.given_up(1).await;
    let (_, before) = api.get(&format!("{WEB_PATH}/events")).await;
    api.ask("releases").await;
    api.ask("promote").await;
    server.call().await;
    server.reply(Reply::Status(200, String::new()));
    let canary = api.until_web("the second promotion", |canary| canary["phase"] == "Succeeded").await;
    assert_eq!(canary["release"], 2);
    let (_, after) = api.get(&format!("{WEB_PATH}/events")).await;
    let of_first = |events: &Value| -> Vec<Value> {
        events["items"].as_array().unwrap().iter().filter(|event| event["release"] == 1).cloned().collect()
    };
    assert_eq!(of_first(&after), of_first(&before));
}
