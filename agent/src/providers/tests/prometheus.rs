//! Prometheus: how it is asked, and every shape of its answers. The real server is asked in the end-to-end tests.

use rollout::release::integrations::{MetricError, ProviderKind};

use super::{Reply, Scene, Server, read, reason};

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::Prometheus, address, &[])
}

fn vector(series: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
}

fn one(value: &str) -> String {
    vector(&format!(r#"{{"metric":{{"app":"web"}},"value":[1767323045.678,"{value}"]}}"#))
}

#[tokio::test]
async fn it_is_asked_for_an_instant_with_the_credentials_of_the_secret() {
    let server = Server::start(Reply::ok(&one("0.5"))).await;
    let address = format!("{}/prom/?tenant=a1", server.url());
    let mut scene = Scene::new(ProviderKind::Prometheus, &address, &[("token", "s3cret\n")]);
    scene.provider.headers.insert("X-Scope-OrgID".into(), vec!["team-1".into()]);
    assert_eq!(scene.ask("\n sum(rate(x{a=\"b&c\"}[1m])) + 1\n").await, Ok(0.5));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /prom/api/v1/query");
    let query = asked.query();
    assert_eq!((query["tenant"].as_str(), query["query"].as_str()), ("a1", "sum(rate(x{a=\"b&c\"}[1m])) + 1"));
    assert_eq!((asked.header("authorization"), asked.header("x-scope-orgid")), ("Bearer s3cret", "team-1"));

    let keys = [("username", "Aladdin"), ("password", "open sesame")];
    assert_eq!(Scene::new(ProviderKind::Prometheus, &server.url(), &keys).ask("x").await, Ok(0.5));
    assert_eq!(server.asked().await.header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");

    let half = Scene::new(ProviderKind::Prometheus, &server.url(), &keys[..1]).ask("x").await;
    assert_eq!(reason(half), "prometheus: the secret has neither token nor username and password");
}

#[tokio::test]
async fn one_series_or_a_scalar_is_a_number_and_nothing_is_no_value() {
    for (body, value) in [
        (one("12.5"), Ok(12.5)),
        (one("1e-3"), Ok(0.001)),
        (
            r#"{"status":"success","data":{"resultType":"scalar","result":[1767323045.6,"3"]},"warnings":["w"]}"#
                .into(),
            Ok(3.0),
        ),
        (one("NaN"), Err(MetricError::NoValue)),
        (vector(""), Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, "x", &body).await, value, "{body}");
    }
}

#[tokio::test]
async fn what_is_not_one_number_is_named() {
    let series = r#"{"metric":{},"value":[1,"2"]}"#;
    for (body, part) in [
        (vector(&[series; 3].join(",")), "answered 3 series where one is needed"),
        (vector(r#"{"metric":{},"histogram":[1,{"count":"1"}]}"#), "answered a histogram"),
        (vector(series).replace("vector", "matrix"), "answered a range vector"),
        (r#"{"status":"success","data":{"resultType":"string","result":[1,"a"]}}"#.into(), "answered a string"),
        (one("much"), r#"answered "much", which is no number"#),
        (r#"{"status":"success"}"#.into(), "its answer is not what was expected"),
    ] {
        let reason = reason(read(scene, "x", &body).await);
        assert!(reason.starts_with("prometheus: ") && reason.contains(part), "{reason}");
    }
    let body = r#"{"status":"error","errorType":"bad_data","error":"1:3: parse error: unexpected end of input"}"#;
    let server = Server::start(Reply::status(400, body)).await;
    let reason = reason(scene(&server.url()).ask("x(").await);
    assert_eq!(reason, "prometheus: answered 400 1:3: parse error: unexpected end of input");
}
