//! New Relic's request, as the Insights query API has it, and its answers.

use rollout::release::integrations::{MetricError, ProviderKind};

use super::{Reply, Scene, Server, read, reason};

fn scene(address: &str) -> Scene {
    let keys = [("newrelic_account_id", "51312"), ("newrelic_query_key", "NRIQ-key")];
    Scene::new(ProviderKind::NewRelic, address, &keys)
}

#[tokio::test]
async fn it_is_asked_since_one_window_with_the_query_key() {
    let server = Server::start(Reply::ok(r#"{"results":[{"result":1.25}]}"#)).await;
    let asked = scene(&server.url()).ask("SELECT filter(count(*), WHERE error) / count(*) FROM Transaction\n").await;
    assert_eq!(asked, Ok(1.25));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /v1/accounts/51312/query");
    let nrql = "SELECT filter(count(*), WHERE error) / count(*) FROM Transaction SINCE 60 seconds ago";
    assert_eq!(asked.query()["nrql"], nrql);
    assert_eq!((asked.header("x-query-key"), asked.header("accept")), ("NRIQ-key", "application/json"));

    let keys = [("newrelic_account_id", "1/../2"), ("newrelic_query_key", "NRIQ-key")];
    let odd = Scene::new(ProviderKind::NewRelic, &server.url(), &keys).ask("x").await;
    assert!(reason(odd).contains("newrelic_account_id must be letters and digits"));
    assert!(server.was_not_asked().await);
}

#[tokio::test]
async fn one_number_counts_whatever_its_name() {
    for (results, value) in [
        (r#"{"result":0}"#, Ok(0.0)),
        (r#"{"count":42}"#, Ok(42.0)),
        (r#"{"percentiles":{"95":0.35}}"#, Ok(0.35)),
        (r#"{"result":null}"#, Err(MetricError::NoValue)),
        (r#"{"average":null}"#, Err(MetricError::NoValue)),
        ("", Err(MetricError::NoValue)),
    ] {
        let body = format!(r#"{{"results":[{results}],"metadata":{{"contents":[]}}}}"#);
        assert_eq!(read(scene, "x", &body).await, value, "{body}");
    }
}

#[tokio::test]
async fn what_is_not_one_number_is_named() {
    for (body, part) in [
        (r#"{"results":[{"count":1},{"count":2}]}"#, "answered 2 series where one is needed"),
        (r#"{"results":[{"percentiles":{"50":1,"95":2}}]}"#, "which is not one number"),
        (r#"{"results":[{"result":"much"}]}"#, "which is not one number"),
    ] {
        let reason = reason(read(scene, "x", body).await);
        assert!(reason.starts_with("newrelic: ") && reason.contains(part), "{reason}");
    }
    for (status, body, expected) in [
        (401, "", "newrelic: answered 401"),
        (403, r#"{"error":"Forbidden: NRIQ-key"}"#, "newrelic: answered 403 Forbidden: …"),
        (429, r#"{"error":"Too many requests"}"#, "newrelic: answered 429 Too many requests"),
    ] {
        let server = Server::start(Reply::status(status, body)).await;
        assert_eq!(reason(scene(&server.url()).ask("x").await), expected);
    }
}
