//! Requests that break a rule: each is answered with its status and one sentence of JSON that names field, value and rule,
//! and changes nothing. No text is the web framework's.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::header::{ALLOW, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::openapi::fits;
use crate::support::DEADLINE;
use crate::support::agent::{Api, TestAgent, WEB, WEB_PATH, refused, send};

const TOKEN: &str = "fedcba9876543210fedcba9876543210";

async fn post_text(api: &Api, path: &str, content_type: &str, body: &str) -> (u16, Value) {
    let request = api.request(Method::POST, path).header("content-type", content_type);
    send(request.body(body.to_owned())).await
}

/// The answer refuses with this status and words, and its headers say JSON; what it allows instead.
async fn refused_as_json(request: RequestBuilder, status: u16, words: &[&str]) -> Option<String> {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    let allow = answer.headers().get(ALLOW).map(|allow| allow.to_str().unwrap().to_owned());
    let (code, body) = (answer.status().as_u16(), answer.json().await.unwrap());
    fits("Error", &body);
    refused(&(code, body), status, words);
    allow
}

#[tokio::test]
async fn every_refusal_is_json() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let abort = format!("{WEB_PATH}/abort");
    let post = |body: &str| {
        let request = api.request(Method::POST, &abort).header(CONTENT_TYPE, "application/json");
        request.body(body.to_owned())
    };
    let get = |path: &str| api.request(Method::GET, path);
    refused_as_json(post("{"), 400, &["not valid JSON", "line 1, column 1"]).await;
    refused_as_json(post(""), 400, &["body is empty", r#"{"actor": "ann""#]).await;
    refused_as_json(post("[]"), 422, &["the body is [] (a list)", "JSON object"]).await;
    refused_as_json(post("{}"), 422, &["field actor is missing"]).await;
    refused_as_json(post(&"x".repeat(65 << 10)), 413, &["65536 bytes", "shorten"]).await;
    let untyped = api.request(Method::POST, &abort).body("{}");
    refused_as_json(untyped, 415, &["header content-type is missing", "application/json"]).await;
    refused_as_json(api.request(Method::POST, &abort).form(&[("actor", "ann")]), 415, &["x-www-form-urlencoded"]).await;
    refused_as_json(get("/no/such/path"), 404, &["path /no/such/path does not exist"]).await;
    refused_as_json(get("/api/v1/canaries/prod/%ff"), 400, &["%ff", "part name is not UTF-8"]).await;
    refused_as_json(get("/%ff/check"), 400, &["%ff", "part kind is not UTF-8"]).await;
    refused_as_json(get("/api/v1/canaries?namespace=prod"), 400, &["namespace=prod", "takes no query"]).await;
    refused_as_json(get(&format!("{WEB_PATH}/releases/last/record")), 400, &["\"last\"", "whole number"]).await;
    assert_eq!(api.web().await["release"], 0);
}

#[tokio::test]
async fn a_method_that_a_path_has_not_is_answered_with_those_that_it_has() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let gate = format!("{WEB_PATH}/gates/start/open");
    let abort = format!("{WEB_PATH}/abort");
    for (method, path, allowed) in [
        (Method::DELETE, WEB_PATH, "GET,HEAD"),
        (Method::POST, "/api/v1/canaries", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::PUT, "/metrics", "GET,HEAD"),
        (Method::GET, &abort, "POST"),
        (Method::PATCH, &abort, "POST"),
        (Method::GET, &gate, "POST"),
        (Method::DELETE, &format!("{WEB_PATH}/releases"), "GET,HEAD,POST"),
    ] {
        let takes = format!("which takes {}", allowed.replace(',', ", "));
        let words = [&format!("method {method} is not allowed on {path}"), takes.as_str(), "openapi.json"];
        let allow = refused_as_json(api.request(method.clone(), path), 405, &words).await;
        assert_eq!(allow.as_deref(), Some(allowed), "{method} {path}");
    }
    // A path that does not exist is no 405, whatever the method.
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let request = api.request(method, &format!("{WEB_PATH}/evnts")).json(&json!({ "actor": "ann" }));
        assert_eq!(refused_as_json(request, 404, &["\"evnts\"", "did you mean events?"]).await, None);
    }
    let lift = api.request(Method::GET, &format!("{WEB_PATH}/gates/start/opne"));
    refused_as_json(lift, 404, &["did you mean open?"]).await;
}

#[tokio::test]
async fn a_name_that_is_not_known_is_answered_with_near_ones() {
    let agent = TestAgent::start_with(|options, _| {
        let checkout = WEB.replace("name: web", "name: checkout");
        std::fs::write(options.canaries.join("checkout.yaml"), checkout).unwrap();
    })
    .await;
    let api = agent.api();
    let actor = json!({ "actor": "ann" });
    for (path, near) in [
        ("prod/wbe", Some("did you mean prod/web?")),
        ("default/web", Some("did you mean prod/web?")),
        ("prod/Checkout", Some("did you mean prod/checkout?")),
        ("prod/nobody", None),
    ] {
        let path = format!("/api/v1/canaries/{path}");
        let mut answers = vec![api.post(&format!("{path}/abort"), &actor).await];
        for read in ["", "/events", "/explain", "/watch", "/gates", "/releases", "/releases/1/record"] {
            answers.push(api.get(&format!("{path}{read}")).await);
        }
        answers.push(api.post("/gate/check", &json!({ "namespace": "prod", "name": "wbe" })).await);
        for answer in &answers[..answers.len() - 1] {
            refused(answer, 404, &["is not known", near.unwrap_or("GET /api/v1/canaries"), "serin get"]);
            assert_eq!(answer.1.to_string().contains("did you mean"), near.is_some(), "{answer:?}");
        }
        refused(&answers[answers.len() - 1], 404, &["did you mean prod/web?"]);
    }
}

/// Sends bytes; whatever comes back until the server closes the connection.
fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // It may refuse, and close, before it has read all of that.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// The server answers some requests before anything of ours sees them: headers without end, what is no HTTP. Then there is no
/// body at all, so no foreign text either.
#[tokio::test]
async fn what_never_becomes_a_request_is_refused_without_words() {
    let agent = TestAgent::start().await;
    let base = agent.api().request(Method::GET, "/").build().unwrap().url().clone();
    let address = format!("{}:{}", base.host_str().unwrap(), base.port().unwrap());
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200));
    for (request, status) in [(long, "431"), (many, "431"), ("nonsense\r\n\r\n".into(), "400")] {
        let address = address.clone();
        let answer = tokio::task::spawn_blocking(move || raw(&address, &request)).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body), "", "{answer}");
    }
}

#[tokio::test]
async fn bodies_that_are_not_what_the_api_takes() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let [releases, abort, weight] = ["releases", "abort", "set-weight"].map(|verb| format!("{WEB_PATH}/{verb}"));
    let json = "application/json";
    for (path, body, status, words) in [
        (&releases, "{", 400, &["ends at line 1, column 1"][..]),
        (&releases, "", 400, &["empty", "revision"]),
        (&releases, "7", 422, &["7 (a number)", "JSON object"]),
        (&releases, r#"{"revision":"v2"}"#, 422, &["field actor is missing", "a string"]),
        (
            &releases,
            r#"{"revision":"v2","actor":"ann","force":true}"#,
            422,
            &["field force is unknown", "acceptUnsupported"],
        ),
        (&releases, r#"{"revision":2,"actor":"ann"}"#, 422, &["field revision is 2 (a number)", "a string"]),
        (&releases, r#"{"revision":"","actor":"ann"}"#, 400, &["revision", "empty"]),
        (&releases, r#"{"revision":"v 2","actor":"ann"}"#, 400, &["revision", "v 2"]),
        (&releases, r#"{"revision":"v2","actor":"a\nb"}"#, 400, &["actor"]),
        (&abort, r#"{"actor":"ann","reason":"two\nlines"}"#, 400, &["reason", "one line"]),
        (&abort, r#"{"actor":"ann","revision":"v2"}"#, 422, &["field revision is unknown", "actor, reason"]),
        (&abort, r#"{"actor":"ann","actor":"bob"}"#, 422, &["actor is sent twice"]),
        (&abort, r#"{"actor":"ann","reson":"x"}"#, 422, &["reson", "did you mean reason?"]),
        (&abort, r#"{"actor":"ann","weightPercent":5}"#, 400, &["weightPercent", "abort"]),
        (&abort, r#"{"actor":"ann","force":true}"#, 400, &["force", "abort", "confirm"]),
        (&weight, r#"{"actor":"ann"}"#, 400, &["weightPercent", "0 to 100"]),
        (&weight, r#"{"actor":"ann","weightPercent":100.1}"#, 400, &["weightPercent", "0 to 100"]),
        (&weight, r#"{"actor":"ann","weightPercent":-1}"#, 400, &["weightPercent is -1"]),
        (&weight, r#"{"actor":"ann","weightPercent":0.00001}"#, 400, &["four decimals"]),
        (&weight, r#"{"actor":"ann","weightPercent":"5"}"#, 422, &["weightPercent is \"5\" (a string)", "a number"]),
    ] {
        refused(&post_text(&api, path, json, body).await, status, words);
    }
    refused(&post_text(&api, &releases, "text/plain", r#"{"revision":"v2","actor":"ann"}"#).await, 415, &["json"]);
    let long = format!(r#"{{"actor":"ann","reason":"{}"}}"#, "x".repeat(1025));
    refused(&post_text(&api, &abort, json, &long).await, 400, &["reason", "1024"]);
    let huge = format!(r#"{{"actor":"ann","reason":"{}"}}"#, "x".repeat(65 << 10));
    refused(&post_text(&api, &abort, json, &huge).await, 413, &["65536 bytes"]);
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
    refused(&api.post(&format!("{WEB_PATH}/delete"), &actor).await, 404, &["delete", "abort, promote", "events"]);
    refused(&api.post("/api/v1/canaries", &actor).await, 405, &["takes GET", "openapi.json"]);
    refused(&api.get("/api/v1/canaries/").await, 404, &["without the final slash"]);
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
    refused(&post("promote").await, 409, &["cannot promote while Promoting"]);
    refused(&post("skip").await, 409, &["cannot skip while Promoting", "serin confirm"]);
    assert_eq!(api.web().await["phase"], "Promoting");
    // People move users, and take the next step, while it is promoted too.
    for verb in ["pause", "resume"] {
        assert_eq!(post(verb).await.0, 200, "{verb}");
    }
    let newer = json!({ "revision": "v3", "actor": "ann" });
    let (status, begun) = api.post(&format!("{WEB_PATH}/releases"), &newer).await;
    assert_eq!((status, &begun["phase"]), (200, &json!("Progressing")), "{begun}");
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
        refused(&wrong.get(path).await, 401, &["authentication failed", "--http-token-file"]);
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
