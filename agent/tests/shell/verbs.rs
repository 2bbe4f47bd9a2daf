//! What people do by hand in the middle of a release: set a weight, skip a step, retry; each is kept with actor and reason.

use serde_json::{Value, json};

use crate::openapi::fits;
use crate::support::agent::{Api, TestAgent, WEB_PATH};

async fn ask(api: &Api, verb: &str, mut body: Value) -> Value {
    body["actor"] = "ann".into();
    fits("VerbRequest", &body);
    let (status, done) = api.post(&format!("{WEB_PATH}/{verb}"), &body).await;
    assert_eq!(status, 200, "{verb}: {done}");
    fits("Done", &done);
    done
}

/// The details of the newest events, oldest first.
async fn last_details(api: &Api, count: usize) -> Vec<Value> {
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    fits("EventList", &events);
    let items = events["items"].as_array().unwrap();
    items[items.len() - count..].iter().map(|event| event["detail"].clone()).collect()
}

#[tokio::test]
async fn a_share_set_by_hand_stays_until_resumed() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    api.ask("releases").await;
    let done = ask(&api, "set-weight", json!({ "weightPercent": 33.3, "reason": "by eye" })).await;
    assert_eq!(done, json!({ "release": 1, "phase": "Paused", "stored": true }));
    assert_eq!(api.web().await["weightPercent"], 33.3);
    let set = json!({ "weightSet": { "from": 100_000, "to": 333_000, "actor": "ann", "reason": "by eye" } });
    assert_eq!(last_details(&api, 1).await, [set]);
    assert_eq!(ask(&api, "resume", json!({ "reason": "enough" })).await["phase"], "Progressing");
    let resumed = json!({ "resumed": { "actor": "ann", "reason": "enough" } });
    assert_eq!(last_details(&api, 1).await, [resumed]);
}

#[tokio::test]
async fn a_skipped_step_is_followed_by_the_next_and_the_last_by_promotion() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    api.ask("releases").await;
    ask(&api, "skip", json!({ "reason": "hotfix" })).await;
    let [skipped, stepped] = last_details(&api, 2).await.try_into().unwrap();
    assert_eq!(skipped, json!({ "skipped": { "actor": "ann", "reason": "hotfix" } }));
    assert_eq!(stepped, json!({ "stepped": { "from": 100_000, "to": 500_000, "proof": null } }));
    assert_eq!(ask(&api, "skip", json!({})).await["phase"], "Promoting");
    let confirmed = ask(&api, "confirm", json!({ "reason": "deployed by hand" })).await;
    assert_eq!(confirmed["phase"], "Finalising");
    let [confirmed, _] = last_details(&api, 2).await.try_into().unwrap();
    assert_eq!(confirmed, json!({ "confirmed": { "actor": "ann", "reason": "deployed by hand" } }));
}

#[tokio::test]
async fn a_failed_release_is_begun_once_more() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    api.ask("releases").await;
    ask(&api, "abort", json!({ "reason": "INC-42" })).await;
    let done = ask(&api, "retry", json!({ "reason": "the database is back" })).await;
    assert_eq!((&done["release"], &done["phase"]), (&json!(2), &json!("Progressing")));
    let [started, _] = last_details(&api, 2).await.try_into().unwrap();
    assert_eq!(started, json!({ "started": { "revision": "v2", "actor": "ann", "reason": "the database is back" } }));
    let promoted = ask(&api, "promote", json!({ "reason": "tested elsewhere" })).await;
    assert_eq!(promoted["phase"], "Promoting");
    let [promoting] = last_details(&api, 1).await.try_into().unwrap();
    assert_eq!(
        (&promoting["promoting"]["actor"], &promoting["promoting"]["reason"]),
        (&json!("ann"), &json!("tested elsewhere"))
    );
}
