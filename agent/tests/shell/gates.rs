//! Gates over the API: closed by default, opened for one revision or for a time, kept through `kill -9`; and the gate URLs
//! of Flagger's load tester.

use reqwest::Method;
use serde_json::{Value, json};

use crate::openapi::fits;
use crate::support::agent::{Api, TestAgent, WEB, WEB_PATH, directory, refused, send};
use crate::support::child::ChildAgent;
use crate::support::until;

const TOKEN: &str = "fedcba9876543210fedcba9876543210";
const START: &str = "{ name: start, type: confirm-rollout, gate: true }";
const OWNER: &str = "{ name: owner, type: confirm-promotion, gate: true }";
const UNDO: &str = "{ name: undo, type: rollback, gate: true }";

fn gated(gates: &[&str]) -> String {
    format!("{WEB}    webhooks: [{}]\n", gates.join(", "))
}

async fn start(gates: &[&str]) -> TestAgent {
    TestAgent::start_with(|options, _| {
        std::fs::write(options.canaries.join("web.yaml"), gated(gates)).unwrap();
    })
    .await
}

async fn listed(api: &Api) -> Vec<Value> {
    let (status, list) = api.get(&format!("{WEB_PATH}/gates")).await;
    assert_eq!(status, 200, "{list}");
    fits("GateList", &list);
    list["items"].as_array().unwrap().clone()
}

async fn ask(api: &Api, gate: &str, verb: &str, body: Value) -> Value {
    fits("GateRequest", &body);
    let (status, done) = api.post(&format!("{WEB_PATH}/gates/{gate}/{verb}"), &body).await;
    assert_eq!(status, 200, "{gate} {verb}: {done}");
    fits("Done", &done);
    done
}

async fn release(api: &Api, revision: &str) -> Value {
    let body = json!({ "revision": revision, "actor": "ann" });
    let (status, done) = api.post(&format!("{WEB_PATH}/releases"), &body).await;
    assert_eq!(status, 200, "{done}");
    done["phase"].clone()
}

#[tokio::test]
async fn a_gate_is_closed_until_it_is_opened_and_open_for_one_revision_only() {
    let agent = start(&[START]).await;
    let api = agent.api();
    let closed = json!({
        "gate": "start", "kind": "confirm-rollout", "open": false,
        "revision": null, "actor": null, "reason": null, "openedAtMs": null, "expiresAtMs": null,
    });
    assert_eq!(listed(&api).await, std::slice::from_ref(&closed));
    assert_eq!(release(&api, "v2").await, "Waiting");
    assert_eq!(api.web().await["weightPercent"], 0.0);
    // The answer to the person who opens it already shows what follows.
    let done = ask(&api, "start", "open", json!({ "actor": "bob", "reason": "CHG-7" })).await;
    assert_eq!(done, json!({ "release": 1, "phase": "Progressing", "stored": true }));
    assert_eq!(api.web().await["weightPercent"], 10.0);
    let [open] = listed(&api).await.try_into().unwrap();
    assert_eq!(
        (&open["open"], &open["revision"], &open["actor"], &open["reason"]),
        (&json!(true), &json!("v2"), &json!("bob"), &json!("CHG-7"))
    );
    assert_eq!(release(&api, "v3").await, "Waiting");
    assert_eq!(listed(&api).await, [closed]);
    // In advance for another revision, which then passes; the one that waits does not.
    ask(&api, "start", "open", json!({ "actor": "bob", "revision": "v4" })).await;
    assert_eq!(api.web().await["phase"], "Waiting");
    assert_eq!(release(&api, "v4").await, "Progressing");
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    fits("EventList", &events);
    let history = events.to_string();
    for said in ["gate start opened for v2 by bob: CHG-7", "gate start is closed", r#"{"waiting":"#] {
        assert!(history.contains(said), "{said:?} is not in {history}");
    }
}

#[tokio::test]
async fn a_closed_gate_is_closed_again() {
    let agent = start(&[START, OWNER]).await;
    let api = agent.api();
    ask(&api, "start", "open", json!({ "actor": "bob" })).await;
    ask(&api, "owner", "open", json!({ "actor": "bob" })).await;
    let done = ask(&api, "start", "close", json!({ "actor": "eve", "reason": "freeze" })).await;
    assert_eq!(done, json!({ "release": 0, "phase": "Initialized", "stored": true }));
    let open: Vec<Value> = listed(&api).await.iter().map(|gate| json!([gate["gate"], gate["open"]])).collect();
    assert_eq!(open, [json!(["start", false]), json!(["owner", true])]);
    assert_eq!(release(&api, "v2").await, "Waiting");
}

#[tokio::test]
async fn a_gate_closes_by_itself_when_its_time_is_over() {
    let agent = start(&[START]).await;
    let api = agent.api();
    ask(&api, "start", "open", json!({ "actor": "bob", "expiresSeconds": 1 })).await;
    let [open] = listed(&api).await.try_into().unwrap();
    assert_eq!(open["expiresAtMs"].as_u64().unwrap() - open["openedAtMs"].as_u64().unwrap(), 1_000, "{open}");
    until("the gate to close", async || match listed(&api).await.as_slice() {
        [gate] if gate["open"] == false => Ok(()),
        gates => Err(format!("{gates:?}")),
    })
    .await;
    assert_eq!(release(&api, "v2").await, "Waiting");
}

#[tokio::test]
async fn an_opened_gate_survives_a_kill() {
    let dir = directory();
    std::fs::write(dir.path().join("canaries/web.yaml"), gated(&[START])).unwrap();
    let mut child = ChildAgent::start(dir.path());
    let body = json!({ "actor": "bob", "reason": "CHG-7", "expiresSeconds": 3600 });
    ask(&child.api(), "start", "open", body).await;
    let before = listed(&child.api()).await;
    child.kill9();
    let mut child = ChildAgent::start(dir.path());
    assert_eq!(listed(&child.api()).await, before);
    assert_eq!(before[0]["open"], true);
    assert_eq!(release(&child.api(), "v2").await, "Progressing");
    ask(&child.api(), "start", "close", json!({ "actor": "bob" })).await;
    child.kill9();
    let child = ChildAgent::start(dir.path());
    assert_eq!(listed(&child.api()).await[0]["open"], false);
}

#[tokio::test]
async fn requests_that_break_a_rule_change_nothing() {
    let agent = start(&[START, OWNER]).await;
    let api = agent.api();
    let (open, close) = (format!("{WEB_PATH}/gates/start/open"), format!("{WEB_PATH}/gates/start/close"));
    let by = json!({ "actor": "ann" });
    refused(&api.post(&format!("{WEB_PATH}/gates/owners/open"), &by).await, 404, &["\"owners\"", "start, owner"]);
    refused(&api.post(&format!("{WEB_PATH}/gates/start/lift"), &by).await, 404, &["lift", "open, close"]);
    refused(&api.post("/api/v1/canaries/prod/nobody/gates/start/open", &by).await, 404, &["prod/nobody"]);
    refused(&api.get("/api/v1/canaries/prod/nobody/gates").await, 404, &["prod/nobody"]);
    refused(&api.get(&open).await, 405, &["method GET", "takes POST"]);
    for (path, body, status, words) in [
        (&open, json!({}), 422, &["actor"][..]),
        (&open, json!({ "actor": "a b" }), 400, &["actor"]),
        (&open, json!({ "actor": "ann", "reason": "two\nlines" }), 400, &["reason", "one line"]),
        (&open, json!({ "actor": "ann", "revision": "v 2" }), 400, &["revision", "v 2"]),
        (&open, json!({ "actor": "ann", "expiresSeconds": 0 }), 400, &["expiresSeconds", "from 1 to"]),
        (&open, json!({ "actor": "ann", "expiresSeconds": 7_776_001 }), 400, &["expiresSeconds", "7776000"]),
        (&open, json!({ "actor": "ann", "expiresSeconds": -1 }), 422, &["expiresSeconds"]),
        (&open, json!({ "actor": "ann", "for": "v2" }), 422, &["field for is unknown", "expiresSeconds"]),
        (&close, json!({ "actor": "ann", "revision": "v2" }), 400, &["close", "revision"]),
        (&close, json!({ "actor": "ann", "expiresSeconds": 5 }), 400, &["close", "expiresSeconds"]),
    ] {
        refused(&api.post(path, &body).await, status, words);
    }
    assert!(listed(&api).await.iter().all(|gate| gate["open"] == false));
    // A canary without gates has an empty list, and says so when one is asked for.
    let plain = TestAgent::start().await;
    assert_eq!(listed(&plain.api()).await, Vec::<Value>::new());
    refused(&plain.api().post(&open, &by).await, 404, &["its gates: none"]);
}

#[tokio::test]
async fn without_the_token_no_gate_is_shown_or_opened() {
    let agent = TestAgent::start_with(|options, dir| {
        std::fs::write(options.canaries.join("web.yaml"), gated(&[START])).unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, TOKEN).unwrap();
        options.http_token_file = Some(file);
    })
    .await;
    let api = agent.api();
    let of = json!({ "name": "web", "namespace": "prod" });
    refused(&api.get(&format!("{WEB_PATH}/gates")).await, 401, &["bearer token"]);
    let body = json!({ "actor": "ann" });
    refused(&api.post(&format!("{WEB_PATH}/gates/start/open"), &body).await, 401, &["bearer token"]);
    for path in ["/gate/approve", "/gate/halt", "/gate/check", "/gate/open", "/rollback/open"] {
        refused(&api.post(path, &of).await, 401, &["bearer token"]);
    }
    let api = api.with_token(TOKEN);
    assert_eq!(listed(&api).await[0]["open"], false);
    assert_eq!(api.post("/gate/open", &of).await.0, 202);
    assert_eq!(listed(&api).await[0]["open"], true);
}

/// As `curl -d` sends it.
async fn form(api: &Api, path: &str, body: &str) -> (u16, Value) {
    let request = api.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    send(request.body(body.to_owned())).await
}

#[tokio::test]
async fn the_load_testers_urls_act_on_the_only_gate_of_their_kind() {
    let agent = start(&[START, UNDO]).await;
    let api = agent.api();
    let web = r#"{"name": "web", "namespace": "prod"}"#;
    assert_eq!(api.get("/gate/approve").await, (200, json!("OK")));
    assert_eq!(api.get("/gate/halt").await, (403, json!("Forbidden")));
    for (path, status) in [
        ("/gate/check", 403),
        ("/gate/open", 202),
        ("/gate/check", 200),
        ("/gate/close", 202),
        ("/gate/check", 403),
        ("/rollback/check", 403),
    ] {
        assert_eq!(form(&api, path, web).await.0, status, "{path}");
    }
    release(&api, "v2").await;
    assert_eq!(api.web().await["phase"], "Waiting");
    // Flagger's own body has more fields.
    let flaggers = json!({ "name": "web", "namespace": "prod", "phase": "Waiting", "metadata": {} });
    assert_eq!(api.post("/gate/open", &flaggers).await.0, 202);
    assert_eq!(api.web().await["phase"], "Progressing");
    assert_eq!(form(&api, "/rollback/open", web).await.0, 202);
    let failed = api.web().await;
    assert_eq!(failed["phase"], "Failed");
    assert!(failed["message"].as_str().unwrap().contains("undo requested a rollback"), "{failed}");
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    fits("EventList", &events);
    assert!(events.to_string().contains("gate undo opened for v2 by gate-url"), "{events}");
}

#[tokio::test]
async fn the_load_testers_urls_refuse_what_is_not_clear() {
    let agent = start(&[START, OWNER]).await;
    let api = agent.api();
    let web = r#"{"name": "web", "namespace": "prod"}"#;
    refused(&form(&api, "/gate/open", web).await, 409, &["start, owner", "serin gate"]);
    refused(&form(&api, "/gate/check", web).await, 409, &["several stored gates"]);
    refused(&form(&api, "/rollback/open", web).await, 404, &["no stored rollback gate"]);
    refused(&form(&api, "/side/open", web).await, 404, &["/side/", "does not exist"]);
    refused(&form(&api, "/gate/open", r#"{"name": "other", "namespace": "prod"}"#).await, 404, &["prod/other"]);
    refused(&form(&api, "/gate/open", r#"{"name": "web"}"#).await, 400, &["namespace"]);
    refused(&form(&api, "/gate/open", "").await, 400, &["body is empty", "namespace"]);
    let huge = format!(r#"{{"name": "web", "namespace": "prod", "x": "{}"}}"#, "x".repeat(65 << 10));
    refused(&form(&api, "/gate/open", &huge).await, 413, &["65536 bytes"]);
    // A page of any site can send a form to an agent on loopback, but the browser names its origin.
    for (name, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        let request = api.request(Method::POST, "/gate/open").header("content-type", "text/plain").header(name, value);
        refused(&send(request.body(web)).await, 415, &["application/json"]);
    }
    assert!(listed(&api).await.iter().all(|gate| gate["open"] == false));
}

/// A canary of Flagger's kind has no `gate: true`; its hooks ask at gate URLs, which the agent serves itself.
#[tokio::test]
async fn hooks_of_flaggers_kind_that_ask_at_the_agents_gate_urls_are_gates() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = TestAgent::start_with(|options, _| {
        options.http = free;
        let flaggers = format!(
            "apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {{ name: gateurl, namespace: test }}
spec:
  targetRef: {{ apiVersion: apps/v1, kind: Deployment, name: gateurl }}
  service: {{ port: 80 }}
  analysis:
    interval: 1s
    threshold: 3
    stepWeights: [10, 20, 30]
    webhooks:
      - {{ name: go, type: confirm-rollout, url: \"http://{free}/gate/check\" }}
      - {{ name: more, type: confirm-promotion, url: \"http://{free}/gate/check\" }}
      - {{ name: yes, type: confirm-rollout, url: \"http://{free}/gate/approve\" }}
      - {{ name: back, type: rollback, url: \"http://{free}/rollback/check\" }}
"
        );
        std::fs::write(options.canaries.join("gateurl.yaml"), flaggers).unwrap();
    })
    .await;
    let api = agent.api();
    const PATH: &str = "/api/v1/canaries/test/gateurl";
    let of = r#"{"name": "gateurl", "namespace": "test"}"#;
    let phase = async |wanted: &str| {
        until(wanted, async || match api.get(PATH).await.1 {
            canary if canary["phase"] == wanted => Ok(canary),
            canary => Err(canary.to_string()),
        })
        .await
    };
    assert_eq!(form(&api, "/gate/check", of).await, (403, json!("Forbidden")));
    let begun = api.post(&format!("{PATH}/releases"), &json!({ "actor": "ann", "revision": "v2" })).await;
    assert_eq!(begun.0, 200, "{begun:?}");
    phase("Waiting").await;
    let listed = async || {
        let (status, list) = api.get(&format!("{PATH}/gates")).await;
        assert_eq!(status, 200, "{list}");
        fits("GateList", &list);
        let items = list["items"].as_array().unwrap();
        items.iter().map(|gate| json!([gate["gate"], gate["open"], gate["url"]])).collect::<Vec<Value>>()
    };
    let [check, back] = ["gate", "rollback"].map(|kind| format!("http://{free}/{kind}/check"));
    let all = |open: bool| [json!(["go", open, check]), json!(["more", open, check]), json!(["back", false, back])];
    assert_eq!(listed().await, all(false), "what always says yes is no gate");
    assert_eq!(form(&api, "/gate/open", of).await.0, 202);
    assert_eq!(listed().await, all(true));
    assert_eq!(form(&api, "/gate/check", of).await, (200, json!("Approved")));
    phase("Progressing").await;
    assert_eq!(form(&api, "/gate/close", of).await.0, 202);
    assert_eq!(form(&api, "/gate/check", of).await.0, 403);
    assert_eq!(form(&api, "/rollback/check", of).await.0, 403);
    assert_eq!(form(&api, "/rollback/open", of).await.0, 202);
    let failed = phase("Failed").await;
    assert!(failed["message"].as_str().unwrap().contains("back requested a rollback"), "{failed}");
    assert_eq!(form(&api, "/rollback/check", of).await.0, 403, "it has had its effect");
    let (_, events) = api.get(&format!("{PATH}/events")).await;
    assert!(events.to_string().contains("gate go opened for v2 by gate-url"), "{events}");
}
