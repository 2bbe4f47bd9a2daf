//! Graphite's request, as the render API has it, and its answers.

use rollout::release::integrations::{MetricError, ProviderKind};

use super::{Reply, Scene, Server, read, reason};

const QUERY: &str = "target=summarize(\n    sumSeries(app.{a,b}.count),\n '1min', 'avg'\n)\n&from=-5min&format=png";

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::Graphite, address, &[])
}

#[tokio::test]
async fn it_is_asked_for_json_with_the_user_of_the_secret() {
    let server = Server::start(Reply::ok(r#"[{"target":"x","datapoints":[[4,1]]}]"#)).await;
    let keys = [("username", "Aladdin"), ("password", "open sesame")];
    let address = format!("{}/graphite", server.url());
    assert_eq!(Scene::new(ProviderKind::Graphite, &address, &keys).ask(QUERY).await, Ok(4.0));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /graphite/render");
    let query = asked.query();
    assert_eq!(query["target"], "summarize( sumSeries(app.{a,b}.count), '1min', 'avg' )");
    assert_eq!((query["from"].as_str(), query["format"].as_str(), query.len()), ("-5min", "json", 3));
    assert_eq!(asked.header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");

    assert_eq!(scene(&server.url()).ask("target=x").await, Ok(4.0));
    let asked = server.asked().await;
    assert_eq!(asked.query()["from"], "1767322445", "not Graphite's default of a day");
    assert!(!asked.headers.contains_key("authorization"));
    assert!(reason(scene(&server.url()).ask("app.count").await).contains("the query has no target="));
}

#[tokio::test]
async fn the_last_point_counts_that_is_not_null() {
    for (points, value) in [
        ("[1.5,1],[2.5,2],[null,3]", Ok(2.5)),
        (r#"[1.5,1],["3",2]"#, Ok(3.0)),
        (r#"["NaN",2]"#, Err(MetricError::NoValue)),
        ("[null,1],[null,2]", Err(MetricError::NoValue)),
        ("", Err(MetricError::NoValue)),
    ] {
        let body = format!(r#"[{{"target":"x","datapoints":[{points}]}}]"#);
        assert_eq!(read(scene, QUERY, &body).await, value, "{points}");
    }
    assert_eq!(read(scene, QUERY, "[]").await, Err(MetricError::NoValue));
}

#[tokio::test]
async fn several_series_odd_points_and_errors_are_named() {
    let series = r#"{"target":"x","datapoints":[[1,1]]}"#;
    assert!(reason(read(scene, QUERY, &format!("[{series},{series}]")).await).contains("answered 2 series"));
    let odd = reason(read(scene, QUERY, r#"[{"target":"x","datapoints":[[true,1]]}]"#).await);
    assert!(odd.contains("a datapoint's value must be a number or null"), "{odd}");
    let server = Server::start(Reply::status(400, "Missing required parameter 'target'\n")).await;
    let refused = reason(scene(&server.url()).ask(QUERY).await);
    assert_eq!(refused, "graphite: answered 400 Missing required parameter 'target'");
}
