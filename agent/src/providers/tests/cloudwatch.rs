//! CloudWatch's request, as its JSON protocol has it, and its answers. The signature is tried beside the code, keys
//! that are not in a secret in `aws`.

use rollout::release::integrations::{MetricError, ProviderKind};
use serde_json::{Value, json};

use super::{Reply, Scene, Server, read, reason};

pub(super) const QUERY: &str = r#"[
    {"id": "e1", "expression": "m1 / m2", "label": "rate"},
    {"id": "m1", "returnData": false, "metricStat": {"stat": "Sum", "period": 60, "metric":
        {"namespace": "App", "metricName": "errors", "dimensions": [{"name": "app", "value": "web.prod"}]}}}
]"#;

fn scene(address: &str) -> Scene {
    let keys = [
        ("aws_access_key_id", "AKIDEXAMPLE"),
        ("aws_secret_access_key", "wJalrXUtnFEMI"),
        ("aws_session_token", "session"),
    ];
    in_region(Scene::new(ProviderKind::CloudWatch, address, &keys))
}

pub(super) fn in_region(mut scene: Scene) -> Scene {
    scene.provider.region = Some("eu-central-1".into());
    scene
}

pub(super) fn results(values: &[&str]) -> String {
    let result = |values| {
        format!(
            r#"{{"Id":"e1","Label":"rate","Timestamps":[1.767322980E9],"Values":[{values}],"StatusCode":"Complete"}}"#
        )
    };
    format!(r#"{{"Messages":[],"MetricDataResults":[{}]}}"#, values.iter().map(result).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn it_is_asked_as_awss_json_protocol_has_it() {
    let server = Server::start(Reply::ok(&results(&["0.75, 9"]))).await;
    assert_eq!(scene(&server.url()).ask(QUERY).await, Ok(0.75));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "POST /");
    assert_eq!(asked.header("content-type"), "application/x-amz-json-1.0");
    assert_eq!(asked.header("x-amz-target"), "GraniteServiceVersion20100801.GetMetricData");
    assert_eq!((asked.header("x-amz-date"), asked.header("x-amz-security-token")), ("20260102T030405Z", "session"));
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-central-1/monitoring/aws4_request, ";
    assert!(asked.header("authorization").starts_with(scope), "{asked:?}");
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(
        body,
        json!({
            "StartTime": 1_767_322_445, "EndTime": 1_767_323_045, "ScanBy": "TimestampDescending", "MaxDatapoints": 20,
            "MetricDataQueries": [
                {"Id": "e1", "Expression": "m1 / m2", "Label": "rate"},
                {"Id": "m1", "ReturnData": false, "MetricStat": {"Stat": "Sum", "Period": 60, "Metric":
                    {"Namespace": "App", "MetricName": "errors", "Dimensions": [{"Name": "app", "Value": "web.prod"}]}}},
            ],
        })
    );
}

#[tokio::test]
async fn the_newest_value_counts() {
    for (values, value) in [
        (vec!["2, 3"], Ok(2.0)),
        (vec![r#""NaN""#], Err(MetricError::NoValue)),
        (vec![""], Err(MetricError::NoValue)),
        (vec![], Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, QUERY, &results(&values)).await, value, "{values:?}");
    }
}

#[tokio::test]
async fn wrong_queries_regions_and_answers_are_named() {
    let several = reason(read(scene, QUERY, &results(&["1", "2"])).await);
    assert_eq!(several, "cloudwatch: answered 2 series where one is needed: give all others returnData: false");
    let failed = reason(read(scene, QUERY, &results(&["1"]).replace("Complete", "InternalError")).await);
    assert_eq!(failed, "cloudwatch: answered InternalError");
    for (query, part) in
        [("x", "cloudwatch: the query: expected value"), ("{}", "must be a JSON list of MetricDataQuery")]
    {
        let reason = reason(read(scene, query, "{}").await);
        assert!(reason.contains(part), "{reason}");
    }
    for region in [None, Some(""), Some("evil.example/")] {
        let mut scene = scene("http://127.0.0.1:1");
        scene.provider.region = region.map(str::to_owned);
        assert!(reason(scene.ask(QUERY).await).contains("needs spec.provider.region"));
    }
    for (status, body, expected) in [
        (
            403,
            r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token included in the request is invalid."}"#,
            "cloudwatch: answered 403 The security token included in the request is invalid.",
        ),
        (
            400,
            r#"{"__type":"com.amazonaws.cloudwatch.v2010_08_01#ThrottlingException","Message":"Rate exceeded"}"#,
            "cloudwatch: answered 400 Rate exceeded",
        ),
    ] {
        let server = Server::start(Reply::status(status, body)).await;
        assert_eq!(reason(scene(&server.url()).ask(QUERY).await), expected);
    }
}
