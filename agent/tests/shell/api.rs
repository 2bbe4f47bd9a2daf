//! Every verb of the API, and the pages that show whether the agent works.

use serde_json::{Value, json};

use crate::support::agent::{TestAgent, WEB, WEB_PATH};
use crate::support::worker::{Worker, endpoint, hello};
use rollout::base::names::Upstream;
use rollout::worker::messages::ToAgent;

fn messages(events: &Value) -> Vec<String> {
    let items = events["items"].as_array().unwrap().iter();
    items.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_verb_does_what_it_says() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let begun = api.ask("releases").await;
    let canary = api.web().await;
    assert_eq!(begun, json!({ "release": 1, "phase": "Progressing", "stored": true, "manifest": canary["manifest"] }));
    assert_eq!((&canary["weightPercent"], &canary["revision"]), (&json!(10.0), &json!("v2")));
    let pause = json!({ "actor": "bob", "reason": "lunch" });
    let (_, paused) = api.post(&format!("{WEB_PATH}/pause"), &pause).await;
    assert_eq!(paused, json!({ "release": 1, "phase": "Paused", "stored": true }));
    assert_eq!(api.ask("resume").await["phase"], "Progressing");
    let abort = json!({ "actor": "ann", "reason": "INC-42" });
    let (_, aborted) = api.post(&format!("{WEB_PATH}/abort"), &abort).await;
    assert_eq!(aborted, json!({ "release": 1, "phase": "Failed", "stored": true }));
    assert_eq!(
        api.ask("releases").await,
        json!({ "release": 2, "phase": "Progressing", "stored": true, "manifest": canary["manifest"] })
    );
    assert_eq!(api.ask("promote").await["phase"], "Promoting");
    assert_eq!(api.ask("confirm").await, json!({ "release": 2, "phase": "Finalising", "stored": true }));
    // No worker is connected that would have to adopt it, so that ends at once.
    assert_eq!(api.web().await["phase"], "Succeeded");
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    let history = messages(&events).join("\n");
    for said in
        ["started by ann", "paused by bob: lunch", "resumed by ann", "requested by ann: INC-42", "ann confirmed"]
    {
        assert!(history.contains(said), "{said:?} is not in\n{history}");
    }
}

#[tokio::test]
async fn a_list_holds_every_canary() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let (status, list) = api.get("/api/v1/canaries").await;
    assert_eq!(status, 200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["name"], "web");
    assert_eq!(list["problems"], json!([]));
    let (_, workers) = api.get("/api/v1/workers").await;
    assert_eq!(workers, json!({ "items": [] }));
}

#[tokio::test]
async fn a_release_is_explained_while_it_runs_and_after_its_end() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let explain = format!("{WEB_PATH}/explain");
    let summary = async || api.get(&explain).await.1["summary"].as_str().unwrap().to_owned();
    assert_eq!(summary().await, "web: no release yet; `serin release` begins one");
    api.ask("releases").await;
    assert!(summary().await.starts_with("web v2 at 10 %: evidence for an abort 0 %"), "{}", summary().await);
    api.ask("abort").await;
    assert_eq!(summary().await, "web v2 was aborted: requested by ann");
    assert_eq!(api.get(&explain).await.1["guards"][0]["guard"], "slo");
    assert_eq!(api.get("/api/v1/canaries/prod/nobody/explain").await.0, 404);
}

#[tokio::test]
async fn what_cannot_be_honoured_holds_until_someone_accepts_it() {
    let agent = TestAgent::start_with(|options, _| {
        let metric = "      - { name: unheard-of, thresholdRange: { max: 1 } }\n";
        std::fs::write(options.canaries.join("web.yaml"), format!("{WEB}{metric}")).unwrap();
    })
    .await;
    let api = agent.api();
    api.ask("releases").await;
    let held = api.web().await;
    assert_eq!((&held["weightPercent"], &held["phase"]), (&json!(0.0), &json!("Progressing")));
    assert!(held["unsupported"][0].as_str().unwrap().contains("metrics[1]"), "{held}");
    assert!(held["message"].as_str().unwrap().contains("--accept-unsupported"), "{held}");
    let body = json!({ "revision": "v2", "actor": "ann", "acceptUnsupported": true });
    assert_eq!(api.post(&format!("{WEB_PATH}/releases"), &body).await.0, 200);
    assert_eq!(api.web().await["weightPercent"], 10.0);
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    assert!(messages(&events).join("\n").contains("ann accepted"), "{events}");
}

#[tokio::test]
async fn a_release_onto_a_proxys_default_upstream_is_refused() {
    let agent = TestAgent::start().await;
    let mut swapped = hello(1);
    swapped.default_upstreams = vec![(crate::support::worker::web(), Upstream::parse("web-canary").unwrap())];
    let mut worker = Worker::open(&endpoint(agent.grpc()), None, &[ToAgent::Hello(swapped)]).await.unwrap();
    worker.entry().await;
    let body = json!({ "revision": "v2", "actor": "ann" });
    let (status, answer) = agent.api().post(&format!("{WEB_PATH}/releases"), &body).await;
    assert_eq!(status, 409);
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("proxy-1") && error.contains("web-canary") && error.contains("web-primary"), "{error}");
}

#[tokio::test]
async fn health_and_readiness_are_open_pages() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    assert_eq!(api.get("/healthz").await, (200, json!("ok\n")));
    assert_eq!(api.get("/readyz").await, (200, json!("ready\n")));
    let (status, document) = api.get("/api/v1/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
}
