//! The servers' logs: which form, and which lines a level shows.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::local::{GOOD, directory};
use crate::run::{DEADLINE, ran, run, serin};

/// What an HTTP/2 client says first: the preface and an empty SETTINGS frame.
const HTTP2_BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Starts a server with this level; returns it with the words of its first line.
async fn start(args: &[&str], level: &str) -> (Child, BufReader<ChildStdout>, Vec<String>) {
    let mut child = serin(args).env("SERIN_LOG", level).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    timeout(DEADLINE, out.read_line(&mut line)).await.expect("deadline: it serves").unwrap();
    (child, out, line.split_whitespace().map(str::to_owned).collect())
}

/// Ends it and returns what it logged.
async fn stop(child: Child) -> String {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("deadline: it ends").unwrap();
    String::from_utf8(output.stderr).unwrap()
}

/// What an agent logs while a release begins and is aborted, and an HTTP/2 client comes by.
async fn agent_log(level: &str, more: &[&str]) -> String {
    let (canaries, data) = (directory(&[("web.yaml", GOOD)]), directory(&[]));
    let paths = [canaries.path(), data.path()].map(|path| path.to_str().unwrap().to_owned());
    let always =
        ["agent", "--canaries", &paths[0], "--data", &paths[1], "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let (child, _out, words) = start(&[&always[..], more].concat(), level).await;
    let address = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)).unwrap().to_owned();
    let mut client = TcpStream::connect(address("grpc=")).await.unwrap();
    client.write_all(HTTP2_BEGIN).await.unwrap();
    // Its own SETTINGS: it has read ours, or is about to.
    client.read_exact(&mut [0; 9]).await.unwrap();
    let url = format!("http://{}", address("http="));
    let begun = run(&url, &["release", "web", "--revision", "v2", "--as", "ann", "--accept-unsupported"]).await;
    assert_eq!(begun.code, 0, "{}", begun.err);
    assert_eq!(run(&url, &["abort", "web", "--reason", "only a test", "--as", "bob"]).await.code, 0);
    stop(child).await
}

#[tokio::test]
async fn debug_shows_no_frames_of_http2_unless_they_are_named() {
    let log = agent_log("debug", &[]).await;
    for library in ["h2::", "hyper::", "hyper_util::", "tonic::", "tower::"] {
        assert!(!log.contains(library), "{library} in {log}");
    }
    let log = agent_log("", &[]).await;
    assert!(log.contains("INFO") && !log.contains("DEBUG"), "an empty SERIN_LOG is none: {log}");
    let log = agent_log("debug,h2=debug", &[]).await;
    assert!(log.contains("h2::"), "{log}");
}

#[tokio::test]
async fn json_is_one_object_a_line_and_an_abort_is_a_warning() {
    let log = agent_log("info", &["--log-format", "json"]).await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |level: &str, part: &str| {
        lines.iter().any(|line| line["level"] == level && line["message"].as_str().is_some_and(|it| it.contains(part)))
    };
    assert!(of("INFO", "started by ann"), "{log}");
    assert!(of("WARN", "only a test"), "{log}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["target"].is_string()), "{log}");
}

#[tokio::test]
async fn the_load_tester_logs_json_too_and_text_unless_asked() {
    let args = ["loadtester", "--http", "127.0.0.1:0", "--log-format"];
    let (child, _out, _) = start(&[&args[..], &["json"]].concat(), "info").await;
    let log = stop(child).await;
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "INFO", "{line}");
    }
    let (child, _out, _) = start(&args[..3], "info").await;
    assert!(stop(child).await.contains(" INFO "));
    let wrong = ran(serin(&[&args[..], &["xml"]].concat())).await;
    assert_eq!(wrong.code, 64, "{}", wrong.err);
    assert!(wrong.err.contains("text, json"), "{}", wrong.err);
}
