//! Dynatrace's request, as the metrics API v2 has it, and its answers.

use rollout::release::integrations::{MetricError, ProviderKind};

use super::{Reply, Scene, Server, read, reason};

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::Dynatrace, address, &[("dynatrace_token", "dt0c01.secret")])
}

fn series(values: &[&str]) -> String {
    let series =
        values.iter().map(|values| format!(r#"{{"dimensions":[],"timestamps":[1767323045678],"values":[{values}]}}"#));
    let series = series.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"totalCount":1,"nextPageKey":null,"resolution":"Inf","result":[{{"metricId":"x","data":[{series}]}}]}}"#
    )
}

#[tokio::test]
async fn it_is_asked_for_one_value_of_ten_windows_with_the_token() {
    let server = Server::start(Reply::ok(&series(&["3.5"]))).await;
    let address = format!("{}/e/abc12345", server.url());
    let selector = "builtin:service.errors.total.rate:filter(eq(\"dt.entity.service\",SERVICE-1)):avg";
    assert_eq!(scene(&address).ask(selector).await, Ok(3.5));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /e/abc12345/api/v2/metrics/query");
    let query = asked.query();
    assert_eq!((query["metricSelector"].as_str(), query["resolution"].as_str()), (selector, "Inf"));
    assert_eq!((query["from"].as_str(), query["to"].as_str()), ("1767322445678", "1767323045678"));
    assert_eq!(asked.header("authorization"), "Api-Token dt0c01.secret");
}

#[tokio::test]
async fn one_series_has_one_value_or_none() {
    for (values, value) in [
        (vec!["0"], Ok(0.0)),
        (vec!["null"], Err(MetricError::NoValue)),
        (vec![""], Err(MetricError::NoValue)),
        (vec![], Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, "x", &series(&values)).await, value, "{values:?}");
    }
    assert_eq!(read(scene, "x", r#"{"result":[]}"#).await, Err(MetricError::NoValue));
}

#[tokio::test]
async fn several_series_several_values_and_errors_are_named() {
    assert!(reason(read(scene, "x", &series(&["1", "2"])).await).contains("answered 2 series where one is needed"));
    assert!(reason(read(scene, "x", &series(&["1,2,3"])).await).contains("answered 3 values where one was asked for"));
    for (status, body, expected) in [
        (
            401,
            r#"{"error":{"code":401,"message":"Missing authorization: dt0c01.secret"}}"#,
            "dynatrace: answered 401 Missing authorization: …",
        ),
        (429, r#"{"error":{"code":429,"message":"Too many requests"}}"#, "dynatrace: answered 429 Too many requests"),
        (500, "oops", "dynatrace: answered 500 oops"),
    ] {
        let server = Server::start(Reply::status(status, body)).await;
        assert_eq!(reason(scene(&server.url()).ask("x").await), expected);
    }
}
