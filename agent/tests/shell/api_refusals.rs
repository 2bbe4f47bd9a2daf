//! Requests that break a rule: each is answered with its status and one sentence of JSON, and changes nothing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::agent::{Api, TestAgent, WEB_PATH, refused, send};

const TOKEN: &str = "fedcba9876543210fedcba9876543210";

async fn post_text(api: &Api, path: &str, content_type: &str, body: &str) -> (u16, Value) {
    let request = api.request(Method::POST, path).header("content-type", content_type);
    send(request.body(body.to_owned())).await
}

#[tokio::test]
async fn bodies_that_are_not_what_the_api_takes() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let [releases, abort, weight] = ["releases", "abort", "weight"].map(|verb| format!("{WEB_PATH}/{verb}"));
    let json = "application/json";
    for (path, body, status, words) in [
        (&releases, "{", 400, &["EOF"][..]),
        (&releases, "", 400, &["EOF"]),
        (&releases, "7", 422, &["invalid type: integer"]),
        (&releases, r#"{"revision":"v2"}"#, 422, &["missing field `actor`"]),
        (&releases, r#"{"revision":"v2","actor":"ann","force":true}"#, 422, &["unknown field `force`"]),
        (&releases, r#"{"revision":2,"actor":"ann"}"#, 422, &["revision", "string"]),
        (&releases, r#"{"revision":"","actor":"ann"}"#, 400, &["revision", "empty"]),
        (&releases, r#"{"revision":"v 2","actor":"ann"}"#, 400, &["revision", "v 2"]),
        (&releases, r#"{"revision":"v2","actor":"a\nb"}"#, 400, &["actor"]),
        (&abort, r#"{"actor":"ann","reason":"two\nlines"}"#, 400, &["reason", "one line"]),
        (&abort, r#"{"actor":"ann","revision":"v2"}"#, 422, &["unknown field `revision`"]),
        (&abort, r#"{"actor":"ann","weightPercent":5}"#, 400, &["weightPercent", "abort"]),
        (&weight, r#"{"actor":"ann"}"#, 400, &["weightPercent", "0 to 100"]),
        (&weight, r#"{"actor":"ann","weightPercent":100.1}"#, 400, &["weightPercent", "0 to 100"]),
        (&weight, r#"{"actor":"ann","weightPercent":-1}"#, 400, &["weightPercent"]),
        (&weight, r#"{"actor":"ann","weightPercent":0.00001}"#, 400, &["four decimals"]),
        (&weight, r#"{"actor":"ann","weightPercent":"5"}"#, 422, &["weightPercent"]),
    ] {
        refused(&post_text(&api, path, json, body).await, status, words);
    }
    refused(&post_text(&api, &releases, "text/plain", r#"{"revision":"v2","actor":"ann"}"#).await, 415, &["json"]);
    let long = format!(r#"{{"actor":"ann","reason":"{}"}}"#, "x".repeat(1025));
    refused(&post_text(&api, &abort, json, &long).await, 400, &["reason", "1024"]);
    let huge = format!(r#"{{"actor":"ann","reason":"{}"}}"#, "x".repeat(65 << 10));
    refused(&post_text(&api, &abort, json, &huge).await, 413, &["length limit"]);
    assert_eq!(api.web().await["release"], 0);
}

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let actor = json!({ "actor": "ann" });
    refused(&api.get("/api/v1/canaries/prod/nobody").await, 404, &["prod/nobody", "serin get"]);
    refused(&api.get("/api/v1/canaries/prod/nobody/events").await, 404, &["prod/nobody"]);
    refused(&api.get("/api/v1/canaries/prod/nobody/watch").await, 404, &["prod/nobody"]);
    refused(&api.post("/api/v1/canaries/prod/nobody/abort", &actor).await, 404, &["prod/nobody"]);
    refused(&api.get("/api/v2/canaries").await, 404, &["openapi.json"]);
    refused(&api.get("/").await, 404, &["openapi.json"]);
    refused(&api.post(&format!("{WEB_PATH}/delete"), &actor).await, 404, &["delete", "abort, promote"]);
    refused(&api.post("/api/v1/canaries", &actor).await, 405, &["openapi.json"]);
    refused(&send(api.request(Method::DELETE, WEB_PATH)).await, 405, &["no such method"]);
    refused(&api.get(&format!("{WEB_PATH}/abort")).await, 405, &["no such method"]);
}

#[tokio::test]
async fn hostile_names() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let long = "n".repeat(300);
    for (namespace, name) in
        [("prod", "%00"), ("prod", "a%2Fb"), ("%E2%80%AE", "web"), ("prod", "we%0Ab"), ("prod", long.as_str())]
    {
        let path = format!("/api/v1/canaries/{namespace}/{name}");
        refused(&api.get(&path).await, 400, &["canary"]);
        refused(&api.get(&format!("{path}/watch")).await, 400, &["canary"]);
        refused(&api.post(&format!("{path}/abort"), &json!({ "actor": "ann" })).await, 400, &["canary"]);
    }
    refused(&api.get("/api/v1/canaries/prod/%ff").await, 400, &["UTF-8"]);
    refused(&api.post("/api/v1/canaries/prod/web/%ff", &json!({ "actor": "ann" })).await, 400, &["UTF-8"]);
}

#[tokio::test]
async fn verbs_in_the_wrong_phase() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let actor = json!({ "actor": "ann" });
    let post = async |verb: &str| api.post(&format!("{WEB_PATH}/{verb}"), &actor).await;
    for verb in ["abort", "promote", "confirm", "pause", "resume", "retry", "skip"] {
        refused(&post(verb).await, 409, &[&format!("cannot {verb} while Initialized")]);
    }
    api.ask("releases").await;
    refused(&post("resume").await, 409, &["cannot resume while Progressing", "paused"]);
    refused(&post("confirm").await, 409, &["cannot confirm while Progressing"]);
    api.ask("promote").await;
    let newer = json!({ "revision": "v3", "actor": "ann" });
    refused(&api.post(&format!("{WEB_PATH}/releases"), &newer).await, 409, &["cannot release while Promoting"]);
    refused(&post("pause").await, 409, &["cannot pause while Promoting"]);
    assert_eq!(api.web().await["phase"], "Promoting");
}

#[tokio::test]
async fn without_the_token_nothing_is_shown_or_done() {
    let agent = TestAgent::start_with(|options, dir| {
        let file = dir.path().join("token");
        std::fs::write(&file, TOKEN).unwrap();
        options.http_token_file = Some(file);
    })
    .await;
    let open = agent.api();
    let wrong = open.with_token("fedcba9876543210");
    for path in ["/api/v1/canaries", WEB_PATH, "/api/v1/workers", "/metrics", &format!("{WEB_PATH}/watch")] {
        refused(&open.get(path).await, 401, &["bearer token", "SERIN_TOKEN"]);
        refused(&wrong.get(path).await, 401, &["the token that was sent is not this agent's"]);
    }
    let body = json!({ "revision": "v2", "actor": "ann" });
    refused(&open.post(&format!("{WEB_PATH}/releases"), &body).await, 401, &["bearer token"]);
    let answer = open.request(Method::GET, WEB_PATH).send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    for path in ["/healthz", "/readyz", "/api/v1/openapi.json"] {
        assert_eq!(open.get(path).await.0, 200, "{path}");
    }
    let right = open.with_token(TOKEN);
    assert_eq!(right.web().await["release"], 0);
}
