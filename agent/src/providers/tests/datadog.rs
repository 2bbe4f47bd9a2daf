//! Datadog's request, as its API reference has it, and its answers.

use rollout::release::integrations::{MetricError, ProviderKind};

use super::{Reply, Scene, Server, read, reason};

const KEYS: [(&str, &str); 2] = [("datadog_api_key", "api-key"), ("datadog_application_key", "app-key")];

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::Datadog, address, &KEYS)
}

fn series(points: &[&str]) -> String {
    let series: Vec<_> = points.iter().map(|points| format!(r#"{{"metric":"x","pointlist":[{points}]}}"#)).collect();
    format!(r#"{{"status":"ok","res_type":"time_series","series":[{}]}}"#, series.join(","))
}

#[tokio::test]
async fn it_is_asked_over_ten_windows_with_both_keys() {
    let server = Server::start(Reply::ok(&series(&["[1,7]"]))).await;
    assert_eq!(scene(&server.url()).ask(" avg:trace.http{env:prod, service:web} * 100\n").await, Ok(7.0));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /api/v1/query");
    let query = asked.query();
    assert_eq!(query["query"], "avg:trace.http{env:prod, service:web} * 100");
    assert_eq!((query["from"].as_str(), query["to"].as_str()), ("1767322445", "1767323045"));
    assert_eq!((asked.header("dd-api-key"), asked.header("dd-application-key")), ("api-key", "app-key"));

    let half = Scene::new(ProviderKind::Datadog, &server.url(), &KEYS[..1]).ask("x").await;
    assert!(reason(half).starts_with("datadog: secret prod/metrics has no key"));
    let none = Scene::new(ProviderKind::Datadog, &server.url(), &[]).ask("x").await;
    assert_eq!(reason(none), "datadog: needs a secret (secretRef) with the key datadog_api_key");
}

#[tokio::test]
async fn the_newest_point_counts_that_is_not_null() {
    for (points, value) in [
        (vec!["[1767322920000.0,1.5],[1767322980000.0,2.5]"], Ok(2.5)),
        (vec!["[1767322980000.0,2.5],[1767322920000.0,1.5]"], Ok(2.5)),
        (vec!["[1767322920000.0,1.5],[1767322980000.0,null]"], Ok(1.5)),
        (vec!["[1767322980000.0,null]"], Err(MetricError::NoValue)),
        (vec![""], Err(MetricError::NoValue)),
        (vec![], Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, "x", &series(&points)).await, value, "{points:?}");
    }
}

#[tokio::test]
async fn several_series_and_errors_are_named() {
    let several = reason(read(scene, "x", &series(&["[1,2]", "[1,3]"])).await);
    assert_eq!(several, "datadog: answered 2 series where one is needed: aggregate them in the query");
    let body = r#"{"status":"error","error":"Error parsing query: unable to parse x(","series":[]}"#;
    assert_eq!(reason(read(scene, "x(", body).await), "datadog: Error parsing query: unable to parse x(");
    for (status, body, expected) in [
        (403, r#"{"errors":["Forbidden"]}"#, "datadog: answered 403 Forbidden"),
        (
            429,
            r#"{"errors":["Rate limit of 300 requests in 3600 seconds reached"]}"#,
            "datadog: answered 429 Rate limit of 300 requests in 3600 seconds reached",
        ),
        (500, "", "datadog: answered 500"),
    ] {
        let server = Server::start(Reply::status(status, body)).await;
        assert_eq!(reason(scene(&server.url()).ask("x").await), expected);
    }
}
