//! Splunk's request, as the SignalFlow API has it over HTTP, and its events.

use rollout::release::integrations::{MetricError, ProviderKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Reply, Scene, Server, read, reason};

const START: &str = "event: control-message\ndata: {\ndata:   \"event\" : \"STREAM_START\",\ndata:   \"timestampMs\" : 1\ndata: }\n\n\
    event: control-message\ndata: {\"event\":\"JOB_START\",\"handle\":\"Eb\",\"timestampMs\":2}\n\n\
    event: metadata\nid: A\ndata: {\"properties\":{\"sf_type\":\"MetricTimeSeries\"},\"tsId\":\"A\"}\n\n\
    event: message\ndata: {\"message\":{\"messageCode\":\"JOB_RUNNING_RESOLUTION\"},\"logicalTimestampMs\":1}\n\n";
const END: &str = "event: control-message\ndata: {\"event\":\"END_OF_CHANNEL\",\"timestampMs\":3}\n\n";

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::Splunk, address, &[("sf_token_key", "sf-token")])
}

/// One event of data; over several lines, as the server writes them.
fn data(points: &str) -> String {
    format!(
        "event: data\nid: data-1\ndata: {{\ndata:   \"data\" : [ {points} ],\ndata:   \"logicalTimestampMs\" : 1\ndata: }}\n\n"
    )
}

fn point(series: &str, value: &str) -> String {
    format!(r#"{{"tsId":"{series}","value":{value}}}"#)
}

#[tokio::test]
async fn a_program_is_run_over_ten_windows_with_the_token() {
    let server = Server::start(Reply::ok(&format!("{START}{}{END}", data(&point("A", "119"))))).await;
    let program = "data('errors', filter=filter('app','web')).sum().publish()";
    assert_eq!(scene(&server.url()).ask(&format!("{program}\n")).await, Ok(119.0));
    let asked = server.asked().await;
    assert_eq!((asked.line().as_str(), asked.body.as_str()), ("POST /v2/signalflow/execute", program));
    let query = asked.query();
    let parts = ["start", "stop", "immediate"].map(|name| query[name].as_str());
    assert_eq!(parts, ["1767322445678", "1767323045678", "true"]);
    assert_eq!((asked.header("x-sf-token"), asked.header("content-type")), ("sf-token", "text/plain"));
}

#[tokio::test]
async fn a_stream_that_stays_open_ends_with_its_last_event() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let events = format!("{START}{}{END}", data(&point("A", "7")));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(format!("{head}{events}").as_bytes()).await.unwrap();
        stream
    });
    assert_eq!(scene(&address).ask("x").await, Ok(7.0));
    drop(server.await.unwrap());
}

#[tokio::test]
async fn the_last_value_of_the_one_series_counts() {
    for (events, value) in [
        (data(&point("A", "1.5")) + &data(&point("A", "2.5")), Ok(2.5)),
        (data(&point("A", "1.5")) + &data(&point("A", "null")), Ok(1.5)),
        (data(&format!("{},{}", point("A", "1"), point("B", "null"))), Ok(1.0)),
        (data(&point("A", "null")), Err(MetricError::NoValue)),
        (data(""), Err(MetricError::NoValue)),
        (String::new(), Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, "x", &format!("{START}{events}{END}")).await, value, "{events}");
    }
}

#[tokio::test]
async fn several_series_failed_programs_and_refusals_are_named() {
    let two = data(&point("A", "1")) + &data(&point("B", "2"));
    for (events, part) in [
        (format!("{two}{END}"), "answered 2 series where one is needed"),
        (data(&point("A", "1")), "EOF before END_OF_CHANNEL"),
        ("event: control-message\ndata: {\"event\":\"CHANNEL_ABORT\",\"abortInfo\":{\"sf_job_abortReason\":\"quota\"}}\n\n".into(), "the program was ended: {\"sf_job_abortReason\":\"quota\"}"),
        ("event: error\ndata: {\"errors\":[{\"code\":\"ANALYTICS_PROGRAM_NAME_ERROR\"}]}\n\n".into(), "the program failed: {\"errors\":[{\"code\":\"ANALYTICS_PROGRAM_NAME_ERROR\"}]}"),
        ("event: data\ndata: {\"data\": [\n\n".into(), "its answer is not what was expected: EOF"),
    ] {
        let reason = reason(read(scene, "x", &format!("{START}{events}")).await);
        assert!(reason.starts_with("splunk: ") && reason.contains(part), "{reason}");
    }
    for (status, body, expected) in [
        (
            400,
            r#"{"code":400,"message":"Syntax error in 'x('","errorType":"ANALYTICS_PROGRAM_SYNTAX_ERROR"}"#,
            "splunk: answered 400 Syntax error in 'x('",
        ),
        (401, "", "splunk: answered 401"),
        (429, "slow down", "splunk: answered 429 slow down"),
    ] {
        let server = Server::start(Reply::status(status, body)).await;
        assert_eq!(reason(scene(&server.url()).ask("x").await), expected);
    }
}
