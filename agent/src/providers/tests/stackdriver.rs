//! Google's two requests, for a token and for a value, as its references have them, and their answers.

use std::sync::OnceLock;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use reqwest::Url;
use rollout::release::integrations::{MetricError, ProviderKind};
use rustls::SignatureScheme;
use serde_json::{Value, json};

use super::{Asked, Reply, Scene, Server, reason};

/// A service account's key. It was made for these tests and opens nothing.
pub(super) fn key(token_uri: &str) -> String {
    let private_key = include_str!("data/rsa.pem");
    json!({
        "type": "service_account", "project_id": "my-project", "private_key_id": "k1", "private_key": private_key,
        "client_email": "canary@my-project.iam.gserviceaccount.com", "token_uri": token_uri,
    })
    .to_string()
}

fn scene(address: &str) -> Scene {
    let keys = [("project", "my-project"), ("serviceAccountKey", &key(&format!("{address}/token")))];
    Scene::new(ProviderKind::Stackdriver, address, &keys)
}

/// Grants a token, and answers this to a request that shows it.
fn google(body: &str) -> impl Fn(&Asked) -> Reply + Clone + Send + Sync + 'static {
    let body = body.to_owned();
    move |asked| match asked.path.as_str() {
        "/v3/projects/my-project/timeSeries:query" if asked.header("authorization") == "Bearer ya29.t0ken" => {
            Reply::ok(&body)
        }
        path if path.ends_with("/token") => {
            Reply::ok(r#"{"access_token":"ya29.t0ken","expires_in":3599,"token_type":"Bearer"}"#)
        }
        path => Reply::status(404, path),
    }
}

async fn read(body: &str) -> Result<f64, MetricError> {
    let server = Server::answering(google(body)).await;
    scene(&server.url()).ask("fetch x").await
}

fn series(points: &[&str]) -> String {
    let series =
        points.iter().map(|points| format!(r#"{{"labelValues":[],"pointData":[{points}]}}"#)).collect::<Vec<_>>();
    format!(
        r#"{{"timeSeriesDescriptor":{{"pointDescriptors":[{{"key":"value"}}]}},"timeSeriesData":[{}]}}"#,
        series.join(",")
    )
}

fn point(value: &str, end: &str) -> String {
    format!(r#"{{"values":[{value}],"timeInterval":{{"startTime":"{end}","endTime":"{end}"}}}}"#)
}

#[tokio::test]
async fn a_signed_assertion_buys_the_token_that_the_query_shows() {
    let server = Server::answering(google(&series(&[&point(r#"{"doubleValue":0.5}"#, "2026-01-02T03:04:00Z")]))).await;
    assert_eq!(scene(&server.url()).ask("fetch k8s_container | every 1m\n").await, Ok(0.5));

    let asked = server.asked().await;
    assert_eq!(
        (asked.line().as_str(), asked.header("content-type")),
        ("POST /token", "application/x-www-form-urlencoded")
    );
    let form = Url::parse(&format!("http://x/?{}", asked.body)).unwrap();
    let form: Vec<_> = form.query_pairs().collect();
    assert_eq!((form[0].0.as_ref(), form[0].1.as_ref()), ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"));
    assert_eq!(form[1].0, "assertion");
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let parts: Vec<Value> = signed.split('.').map(|part| serde_json::from_slice(&decoded(part)).unwrap()).collect();
    let scope = "https://www.googleapis.com/auth/monitoring.read";
    let issuer = "canary@my-project.iam.gserviceaccount.com";
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let audience = format!("{}/token", server.url());
    assert_eq!(
        parts[1],
        json!({"iss": issuer, "scope": scope, "aud": audience, "iat": 1_767_323_045, "exp": 1_767_326_645})
    );
    let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let (_, rs256) = known.mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256).unwrap();
    let public = include_bytes!("data/rsa.pub.der");
    rs256[0].verify_signature(public, signed.as_bytes(), &decoded(signature)).unwrap();

    let asked = server.asked().await;
    assert_eq!(asked.line(), "POST /v3/projects/my-project/timeSeries:query");
    assert_eq!(asked.header("authorization"), "Bearer ya29.t0ken");
    assert_eq!(asked.body, r#"{"query":"fetch k8s_container | every 1m"}"#);
}

#[tokio::test]
async fn that_any_certificate_of_the_provider_is_believed_does_not_hold_for_who_sells_the_token() {
    let server = Server::answering(google(&series(&[&point(r#"{"doubleValue":3}"#, "2026-01-02T03:04:00Z")]))).await;
    let believing = Server::answering(google("{}")).await;
    let mut scene = scene(&server.url());
    scene.provider.insecure_skip_verify = true;
    let through = reqwest::Proxy::http(believing.url()).unwrap();
    scene.providers.trusting = reqwest::Client::builder().proxy(through).build().unwrap();
    assert_eq!(scene.ask("fetch x").await, Err(MetricError::NoValue));
    assert_eq!(server.asked().await.line(), "POST /token");
    assert_eq!(believing.asked().await.line(), "POST /v3/projects/my-project/timeSeries:query");
    assert!(server.was_not_asked().await && believing.was_not_asked().await);
}

fn decoded(part: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
}

#[tokio::test]
async fn without_a_key_the_machines_own_account_is_asked() {
    static HOST: OnceLock<String> = OnceLock::new();
    let server = Server::answering(google(&series(&[&point(r#"{"doubleValue":3}"#, "2026-01-02T03:04:00Z")]))).await;
    HOST.set(server.url().trim_start_matches("http://").to_owned()).unwrap();
    let mut scene = Scene::new(ProviderKind::Stackdriver, &server.url(), &[("project", "my-project")]);
    scene.providers.environment = |name| (name == "GCE_METADATA_HOST").then(|| HOST.get().cloned().unwrap());
    scene.provider.headers.insert("X-Key".into(), vec!["for the provider alone".into()]);
    // Where the environment names a proxy, the vendor is asked through it, and the machine itself is not.
    let proxy = Server::answering(google(&series(&[&point(r#"{"doubleValue":3}"#, "2026-01-02T03:04:00Z")]))).await;
    let through = reqwest::Proxy::http(proxy.url()).unwrap();
    scene.providers.client = reqwest::Client::builder().proxy(through).build().unwrap();
    assert_eq!(scene.ask("fetch x").await, Ok(3.0));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!((asked.header("metadata-flavor"), asked.headers.contains_key("x-key")), ("Google", false));
    assert_eq!(proxy.asked().await.header("x-key"), "for the provider alone");
    assert!(server.was_not_asked().await && proxy.was_not_asked().await);
}

#[tokio::test]
async fn a_pod_that_is_bound_to_no_account_is_told_so() {
    static HOST: OnceLock<String> = OnceLock::new();
    let said = r#"{"error":"not found","error_description":"Service account is not bound"}"#;
    let server = Server::start(Reply::status(404, said)).await;
    HOST.set(server.url().trim_start_matches("http://").to_owned()).unwrap();
    let mut scene = Scene::new(ProviderKind::Stackdriver, &server.url(), &[("project", "my-project")]);
    scene.providers.environment = |name| (name == "GCE_METADATA_HOST").then(|| HOST.get().cloned().unwrap());
    let refused = reason(scene.ask("fetch x").await);
    assert_eq!(refused, "stackdriver: no access token: answered 404 Service account is not bound");
}

#[tokio::test]
async fn the_newest_point_counts_be_it_float_or_integer() {
    let (old, new) = ("2026-01-02T03:03:00Z", "2026-01-02T03:04:00Z");
    let [one, two] = [r#"{"doubleValue":1}"#, r#"{"int64Value":"2"}"#];
    for (points, value) in [
        (vec![[point(two, new), point(one, old)].join(",")], Ok(2.0)),
        (vec![[point(one, old), point(two, new)].join(",")], Ok(2.0)),
        (vec![[point(one, new), point(two, new)].join(",")], Ok(1.0)),
        (vec![point(r#"{"doubleValue":"NaN"}"#, new)], Err(MetricError::NoValue)),
        (vec![String::new()], Err(MetricError::NoValue)),
    ] {
        let points: Vec<&str> = points.iter().map(String::as_str).collect();
        assert_eq!(read(&series(&points)).await, value, "{points:?}");
    }
    assert_eq!(read("{}").await, Err(MetricError::NoValue));
}

#[tokio::test]
async fn several_series_other_values_and_refusals_are_named() {
    let point = point(r#"{"doubleValue":1}"#, "2026-01-02T03:04:00Z");
    for (body, part) in [
        (series(&[&point, &point]), "answered 2 series where one is needed"),
        (series(&[r#"{"values":[{"stringValue":"a"}]}"#]), "answered a point that is no number"),
        (r#"{"partialErrors":[{"code":8,"message":"too much data"}]}"#.into(), "answered only a part: too much data"),
    ] {
        let reason = reason(read(&body).await);
        assert!(reason.starts_with("stackdriver: ") && reason.contains(part), "{reason}");
    }
    let refused = |status, body: &'static str| async move {
        let server = Server::start(Reply::status(status, body)).await;
        reason(scene(&server.url()).ask("x").await)
    };
    let body = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    assert_eq!(refused(400, body).await, "stackdriver: no access token: answered 400 Invalid JWT Signature.");

    let server = Server::answering(|asked| match asked.path.as_str() {
        "/token" => Reply::ok(r#"{"access_token":"ya29.t0ken"}"#),
        _ => Reply::status(
            403,
            r#"{"error":{"code":403,"message":"ya29.t0ken: Permission monitoring.timeSeries.list denied","status":"PERMISSION_DENIED"}}"#,
        ),
    });
    let server = server.await;
    let denied = reason(scene(&server.url()).ask("x").await);
    assert_eq!(denied, "stackdriver: answered 403 …: Permission monitoring.timeSeries.list denied");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_named_without_being_told() {
    let good = key("http://127.0.0.1:1/token");
    let broken = good.replace("BEGIN PRIVATE KEY", "BEGIN SOMETHING");
    // serde_json's "\\n" is a line break; without them the key is one line, which rustls's error shows byte by byte.
    let one_line = good.replace("\\n", "");
    let byte_by_byte = b"PRIVATE".map(|byte| byte.to_string()).join(", ");
    for (project, key, part) in [
        ("my-project", one_line.as_str(), "private_key: is no PEM; its line breaks may be lost"),
        ("my-project", "{}", "serviceAccountKey is no service account's key"),
        ("my-project", broken.as_str(), "serviceAccountKey, private_key: "),
        ("../x", good.as_str(), "project must be a project's ID"),
    ] {
        let keys = [("project", project), ("serviceAccountKey", key)];
        let reason = reason(Scene::new(ProviderKind::Stackdriver, "http://127.0.0.1:1", &keys).ask("x").await);
        assert!(reason.contains(part) && !reason.contains("MII") && !reason.contains(&byte_by_byte), "{reason}");
    }
}
