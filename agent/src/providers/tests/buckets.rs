//! What is no value with any vendor. The last bucket of a series still fills when a server is asked up to now: five points
//! each, of which the last would fail a check of at least 50. Infinity would pass it.

use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_millis;
use rollout::base::time::Millis;
use rollout::release::integrations::{MetricError, ProviderKind};

use super::usual::{ALL, good, usual};
use super::{NOW, Reply, Server, reason};

const VALUES: [&str; 5] = ["200", "201", "199", "200.5", "12"];
const MINUTE: u64 = 60_000;

/// The answer to a query for five buckets of a minute, of which the last begins at `last`.
fn body(kind: ProviderKind, last: Millis, form: Form) -> String {
    let points: Vec<(u64, &str)> = (0..5).map(|n| (last.0 - (4 - n as u64) * MINUTE, VALUES[n])).collect();
    let joined = |one: &dyn Fn(u64, &str) -> String| {
        points.iter().map(|(at, value)| one(*at, value)).collect::<Vec<_>>().join(",")
    };
    let descending = |one: &dyn Fn(u64, &str) -> String| {
        points.iter().rev().map(|(at, value)| one(*at, value)).collect::<Vec<_>>().join(",")
    };
    match (kind, form) {
        (ProviderKind::Datadog, Form::Named) => {
            let list = joined(&|at, value| format!("[{at}.0,{value}]"));
            format!(r#"{{"status":"ok","series":[{{"interval":60,"pointlist":[{list}]}}]}}"#)
        }
        (ProviderKind::Datadog, _) => {
            let list = joined(&|at, value| format!("[{at}.0,{value}]"));
            format!(r#"{{"status":"ok","series":[{{"pointlist":[{list},[{}.0,null]]}}]}}"#, last.0 + MINUTE)
        }
        (ProviderKind::Graphite, _) => {
            let list = joined(&|at, value| format!("[{value},{}]", at / 1000));
            format!(r#"[{{"target":"x","datapoints":[{list},[null,{}]]}}]"#, (last.0 + MINUTE) / 1000)
        }
        (ProviderKind::CloudWatch, _) => {
            let values = descending(&|_, value| value.to_owned());
            let times = descending(&|at, _| format!("{}.0", at / 1000));
            format!(
                r#"{{"MetricDataResults":[{{"Id":"e1","Values":[{values}],"Timestamps":[{times}],"StatusCode":"Complete"}}]}}"#
            )
        }
        (ProviderKind::Stackdriver, _) => {
            let time = |at: u64| format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at));
            // The last is either cut off at the end of the query's time, or ends later than now.
            let end = |at: u64| match form {
                Form::Cut => (at + MINUTE).min(NOW.0),
                Form::Named => at + MINUTE,
            };
            let list = descending(&|at, value| {
                let interval = format!(r#""startTime":"{}","endTime":"{}""#, time(at), time(end(at)));
                format!(r#"{{"values":[{{"doubleValue":{value}}}],"timeInterval":{{{interval}}}}}"#)
            });
            format!(r#"{{"timeSeriesData":[{{"pointData":[{list}]}}]}}"#)
        }
        (ProviderKind::Splunk, _) => {
            let mut text = String::new();
            if matches!(form, Form::Named) {
                text.push_str("event: message\ndata: {\"message\":{\"contents\":{\"resolutionMs\":60000}}}\n\n");
            }
            for (at, value) in &points {
                let data = format!(r#"{{"data":[{{"tsId":"A","value":{value}}}],"logicalTimestampMs":{at}}}"#);
                text.push_str(&format!("event: data\ndata: {data}\n\n"));
            }
            text + "event: control-message\ndata: {\"event\":\"END_OF_CHANNEL\"}\n\n"
        }
        (ProviderKind::InfluxDb, _) => {
            let time = |at: u64| format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at));
            let mut text = "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,double\r\n".to_owned();
            text.push_str(",result,table,_stop,_time,_value\r\n");
            for (at, value) in &points {
                // As aggregateWindow names them: by the end, which is that of the range for the last; or by the beginning.
                let at = match form {
                    Form::Cut => (at + MINUTE).min(NOW.0),
                    Form::Named => *at,
                };
                text.push_str(&format!(",_result,0,{},{},{value}\r\n", time(NOW.0), time(at)));
            }
            text
        }
        _ => unreachable!("{kind:?} answers no series"),
    }
}

/// In how many ways a vendor may say how long a bucket is.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// It names the length, or both ends.
    Named,
    /// It does not, or cuts the last bucket off.
    Cut,
}

const SERIES: [ProviderKind; 6] = [
    ProviderKind::Datadog,
    ProviderKind::CloudWatch,
    ProviderKind::Graphite,
    ProviderKind::InfluxDb,
    ProviderKind::Stackdriver,
    ProviderKind::Splunk,
];

async fn asked(kind: ProviderKind, last: Millis, form: Form) -> Result<f64, MetricError> {
    let body = body(kind, last, form);
    let server =
        Server::answering(move |asked| if asked.path == "/token" { good(kind, asked) } else { Reply::ok(&body) }).await;
    let (scene, query) = usual(kind, &server.url());
    let query = match (kind, form) {
        (ProviderKind::CloudWatch, _) => {
            r#"[{"id": "e1", "metricStat": {"stat": "Sum", "period": 60, "metric": {"namespace": "App"}}}]"#
        }
        (ProviderKind::InfluxDb, Form::Cut) => "from(bucket: \"b\") |> aggregateWindow(every: 1m, fn: sum)",
        (ProviderKind::InfluxDb, Form::Named) => {
            "from(bucket: \"b\") |> aggregateWindow(every: 1m, fn: sum, timeSrc: \"_start\")"
        }
        _ => query,
    };
    scene.ask(query).await
}

#[tokio::test]
async fn the_bucket_that_still_fills_decides_with_no_vendor() {
    // It began when the minute did, a moment ago, and nearly a minute ago.
    for ago in [5_678, 1, 59_999] {
        for (kind, form) in SERIES.into_iter().flat_map(|kind| [(kind, Form::Named), (kind, Form::Cut)]) {
            let ago = if kind == ProviderKind::CloudWatch || kind == ProviderKind::Graphite { 5_678 } else { ago };
            assert_eq!(asked(kind, Millis(NOW.0 - ago), form).await, Ok(200.5), "{kind:?} {form:?} {ago}");
        }
    }
}

#[tokio::test]
async fn one_that_is_over_decides_though_it_says_nothing_good() {
    for (kind, form) in SERIES.into_iter().flat_map(|kind| [(kind, Form::Named), (kind, Form::Cut)]) {
        let over = asked(kind, Millis(NOW.0 - 65_678), form).await;
        assert_eq!(over, Ok(12.0), "{kind:?} {form:?}");
    }
}

#[tokio::test]
async fn where_only_an_open_bucket_has_a_value_there_is_none_yet() {
    for (kind, body) in [
        (ProviderKind::Datadog, format!(r#"{{"series":[{{"interval":60,"pointlist":[[{},12]]}}]}}"#, NOW.0 - 5_000)),
        (ProviderKind::Datadog, format!(r#"{{"series":[{{"pointlist":[[{},12]]}}]}}"#, NOW.0 - 5_000)),
        (ProviderKind::Graphite, format!(r#"[{{"target":"x","datapoints":[[12,{}]]}}]"#, NOW.0 / 1000 - 5)),
        (
            ProviderKind::Graphite,
            format!(r#"[{{"target":"x","datapoints":[[null,{}],[12,{}]]}}]"#, NOW.0 / 1000 - 65, NOW.0 / 1000 - 5),
        ),
    ] {
        let server = Server::start(Reply::ok(&body)).await;
        let (scene, query) = usual(kind, &server.url());
        let reason = reason(scene.ask(query).await);
        assert!(reason.contains("the only bucket with a value still fills"), "{reason}");
    }
}

#[tokio::test]
async fn infinity_and_what_overflows_are_no_value_with_any_vendor() {
    let digits = "9".repeat(309);
    for kind in ALL {
        for value in ["1e999", "-1e999", &digits] {
            for quoted in [false, true] {
                let number = if quoted { format!("\"{value}\"") } else { value.to_owned() };
                let server = Server::answering(move |asked| {
                    let Reply { body, .. } = good(kind, asked);
                    // Prometheus and InfluxDB write numbers as text anyway.
                    let (from, to) = match kind {
                        ProviderKind::Prometheus => ("\"2.5\"", number.clone()),
                        _ => ("2.5", number.clone()),
                    };
                    Reply::ok(&if asked.path == "/token" { body } else { body.replace(from, &to) })
                })
                .await;
                let (scene, query) = usual(kind, &server.url());
                let answer = scene.ask(query).await;
                assert!(answer.is_err(), "{kind:?} {value} {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn infinity_written_as_text_is_named() {
    for (kind, text) in [
        (
            ProviderKind::Prometheus,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"+Inf"]}}"#.to_owned(),
        ),
        (
            ProviderKind::Prometheus,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"-Inf"]}}"#.to_owned(),
        ),
        (ProviderKind::InfluxDb, ",result,table,_value\r\n,_result,0,+Inf\r\n".to_owned()),
        (ProviderKind::Graphite, r#"[{"target":"x","datapoints":[["inf",1]]}]"#.to_owned()),
        (ProviderKind::Http, format!(r#"{{"value":"{}"}}"#, "9".repeat(309))),
    ] {
        let server = Server::start(Reply::ok(&text)).await;
        let (scene, query) = usual(kind, &server.url());
        let reason = reason(scene.ask(query).await);
        assert!(reason.ends_with("answered infinity, or a number too large to be one"), "{reason}");
    }
}
