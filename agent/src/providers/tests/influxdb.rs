//! InfluxDB's request, as its API v2 has it, and its CSV.

use rollout::release::integrations::{MetricError, ProviderKind};
use serde_json::{Value, json};

use super::{Reply, Scene, Server, read, reason};

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::InfluxDb, address, &[("token", "t0ken=="), ("org", "my team")])
}

/// One table, annotated as asked for, with values at two times.
fn table(kind: &str, values: &[&str]) -> String {
    let mut text =
        format!("#datatype,string,long,dateTime:RFC3339,{kind},string\r\n,result,table,_time,_value,app\r\n");
    for (at, value) in values.iter().enumerate() {
        text.push_str(&format!(",_result,0,2026-01-02T03:0{at}:00Z,{value},\"a, \"\"b\"\"\"\r\n"));
    }
    text + "\r\n"
}

#[tokio::test]
async fn it_is_asked_in_flux_for_annotated_csv_with_token_and_organisation() {
    let server = Server::start(Reply::ok(&table("double", &["0.25"]))).await;
    let flux = "from(bucket: \"prod\")\n  |> range(start: -1m)\n  |> mean()";
    assert_eq!(scene(&server.url()).ask(flux).await, Ok(0.25));
    let asked = server.asked().await;
    assert_eq!((asked.line().as_str(), asked.query()["org"].as_str()), ("POST /api/v2/query", "my team"));
    assert_eq!(asked.header("authorization"), "Token t0ken==");
    assert_eq!((asked.header("content-type"), asked.header("accept")), ("application/json", "application/csv"));
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let dialect = json!({"header": true, "delimiter": ",", "annotations": ["datatype"]});
    assert_eq!(body, json!({"query": flux, "type": "flux", "dialect": dialect}));
}

#[tokio::test]
async fn the_last_value_of_the_one_table_counts_be_it_float_or_integer() {
    let plain = ",result,table,_value\r\n,_result,0,1.5\r\n\r\n,result,table,_value\r\n,_result,0,2.5\r\n";
    for (body, value) in [
        (table("double", &["1.5", "2.5"]), Ok(2.5)),
        (table("long", &["42"]), Ok(42.0)),
        (table("unsignedLong", &["7"]), Ok(7.0)),
        (table("double", &["1.5", ""]), Ok(1.5)),
        (plain.into(), Ok(2.5)),
        (",result,table,_value,error\r\n,_result,0,2.5,none\r\n".into(), Ok(2.5)),
        (table("double", &["NaN"]), Err(MetricError::NoValue)),
        (table("double", &[""]), Err(MetricError::NoValue)),
        (table("double", &[]), Err(MetricError::NoValue)),
        ("\r\n".into(), Err(MetricError::NoValue)),
        (String::new(), Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, "x", &body).await, value, "{body}");
    }
}

#[tokio::test]
async fn several_tables_other_types_and_errors_are_named() {
    let second = table("double", &["2"]).replace("_result,0", "_result,1");
    for (body, part) in [
        (table("double", &["1"]) + &second, "answered 2 tables where one is needed"),
        (table("string", &["much"]), "answered a _value of type string"),
        (table("double", &["much"]), r#"answered "much", which is no number"#),
        (
            "#datatype,string,string\r\n,error,reference\r\n,Failed to parse query,897\r\n".into(),
            "the query failed: Failed to parse query",
        ),
        ("<html>log in</html>".into(), "expected: columns without _value"),
        (",result,table,_value\r\n,_result,0".into(), "answered a row that is cut off"),
    ] {
        let reason = reason(read(scene, "x", &body).await);
        assert!(reason.starts_with("influxdb: ") && reason.contains(part), "{reason}");
    }
    let body = r#"{"code":"invalid","message":"compilation failed: error at @1:1-1:2: undefined identifier x"}"#;
    for (status, body, expected) in [
        (400, body, "influxdb: answered 400 compilation failed: error at @1:1-1:2: undefined identifier x"),
        (
            401,
            r#"{"code":"unauthorized","message":"unauthorized access"}"#,
            "influxdb: answered 401 unauthorized access",
        ),
        (429, "", "influxdb: answered 429"),
    ] {
        let server = Server::start(Reply::status(status, body)).await;
        assert_eq!(reason(scene(&server.url()).ask("x").await), expected);
    }
}
