//! For each vendor: a query that is right for it, the keys that it needs, and an answer of 2.5.

use rollout::release::integrations::ProviderKind;

use super::{Asked, Reply, Scene, stackdriver};

/// A value of every secret.
pub(crate) const SECRET: &str = "s3cretvalue";

pub(crate) const ALL: [ProviderKind; 10] = [
    ProviderKind::Prometheus,
    ProviderKind::Datadog,
    ProviderKind::CloudWatch,
    ProviderKind::NewRelic,
    ProviderKind::Graphite,
    ProviderKind::InfluxDb,
    ProviderKind::Stackdriver,
    ProviderKind::Dynatrace,
    ProviderKind::Splunk,
    ProviderKind::Http,
];

/// A provider with its secret, and its query.
pub(crate) fn usual(kind: ProviderKind, address: &str) -> (Scene, &'static str) {
    let key = stackdriver::key(&format!("{}/token", address.split("/?").next().unwrap()));
    let (keys, query): (&[(&str, &str)], _) = match kind {
        ProviderKind::Prometheus => (&[("token", SECRET)], "rate(x[1m])"),
        ProviderKind::Datadog => (&[("datadog_api_key", SECRET), ("datadog_application_key", SECRET)], "avg:x{*}"),
        ProviderKind::CloudWatch => (
            &[("aws_access_key_id", SECRET), ("aws_secret_access_key", SECRET)],
            r#"[{"id": "e1", "expression": "m1"}]"#,
        ),
        ProviderKind::NewRelic => {
            (&[("newrelic_account_id", "51312"), ("newrelic_query_key", SECRET)], "SELECT count(*) FROM Transaction")
        }
        ProviderKind::Graphite => (&[("username", "admin"), ("password", SECRET)], "target=a.b.c"),
        ProviderKind::InfluxDb => (&[("token", SECRET), ("org", "team")], "from(bucket: \"b\") |> range(start: -1m)"),
        ProviderKind::Stackdriver => (&[("project", "my-project"), ("serviceAccountKey", &key)], "fetch x"),
        ProviderKind::Dynatrace => (&[("dynatrace_token", SECRET)], "builtin:service.errors.total.rate"),
        ProviderKind::Splunk => (&[("sf_token_key", SECRET)], "data('x').sum().publish()"),
        ProviderKind::Http => (&[("token", SECRET)], "/stats#/value"),
    };
    let mut scene = Scene::new(kind, address, keys);
    scene.provider.region = Some("eu-central-1".into());
    (scene, query)
}

/// What the vendor answers: 2.5.
pub(crate) fn good(kind: ProviderKind, asked: &Asked) -> Reply {
    Reply::ok(match kind {
        ProviderKind::Prometheus => r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2.5"]}}"#,
        ProviderKind::Datadog => r#"{"status":"ok","series":[{"pointlist":[[1767322980000.0,2.5]]}]}"#,
        ProviderKind::CloudWatch => {
            r#"{"MetricDataResults":[{"Id":"e1","Values":[2.5],"Timestamps":[1.76732298E9],"StatusCode":"Complete"}]}"#
        }
        ProviderKind::NewRelic => r#"{"results":[{"result":2.5}],"metadata":{}}"#,
        ProviderKind::Graphite => r#"[{"target":"a.b.c","datapoints":[[2.5,1767322980]]}]"#,
        ProviderKind::InfluxDb => "#datatype,string,long,double\r\n,result,table,_value\r\n,_result,0,2.5\r\n\r\n",
        ProviderKind::Stackdriver if asked.path == "/token" => {
            r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#
        }
        ProviderKind::Stackdriver => r#"{"timeSeriesData":[{"pointData":[{"values":[{"doubleValue":2.5}]}]}]}"#,
        ProviderKind::Dynatrace => {
            r#"{"result":[{"metricId":"x","data":[{"dimensions":[],"timestamps":[1],"values":[2.5]}]}]}"#
        }
        ProviderKind::Splunk => concat!(
            "event: data\ndata: {\"data\":[{\"tsId\":\"A\",\"value\":2.5}],\"logicalTimestampMs\":1}\n\n",
            "event: control-message\ndata: {\"event\":\"END_OF_CHANNEL\",\"timestampMs\":1}\n\n",
        ),
        ProviderKind::Http => r#"{"value": 2.5}"#,
    })
}
