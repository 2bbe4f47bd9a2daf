//! What needs no agent, and the agent itself.

use std::fs;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::run::{DEADLINE, ran, run, serin};

const GOOD: &str = "\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: web
  namespace: prod
spec:
  targetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: web
  service:
    port: 80
  analysis:
    interval: 1m
    threshold: 5
    maxWeight: 50
    stepWeight: 10
    metrics:
      - name: request-success-rate
        thresholdRange:
          min: 99
        interval: 1m
";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[tokio::test]
async fn validate_exits_0_only_if_nothing_was_refused() {
    let bad = GOOD.replace("stepWeight: 10", "stepWeight: ten").replace("name: web\n  name", "name: bad\n  name");
    let folder = directory(&[("good.yaml", GOOD), ("notes.txt", "no manifest"), (".hidden.yaml", "{")]);
    let path = folder.path().to_str().unwrap();
    let good = ran(serin(&["validate", path])).await;
    assert_eq!(good.code, 0, "{}{}", good.out, good.err);
    assert!(good.out.contains("good.yaml:1: Canary prod/web: accepted"), "{}", good.out);
    assert!(good.out.ends_with(" 0 refused, 0 skipped\n"), "{}", good.out);
    fs::write(folder.path().join("worse.yml"), bad).unwrap();
    let refused = ran(serin(&["validate", path])).await;
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(
        refused.out.contains("worse.yml:17:") && refused.out.contains("spec.analysis.stepWeight"),
        "{}",
        refused.out
    );
    assert!(!refused.out.contains('\u{1b}'));
}

#[tokio::test]
async fn validate_reads_standard_input() {
    let mut child = serin(&["validate", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(GOOD.as_bytes()).await.unwrap();
    let output = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.starts_with("standard input:1: Canary prod/web: accepted"), "{out}");
}

#[tokio::test]
async fn validate_says_what_it_cannot_read() {
    let folder = directory(&[]);
    let path = folder.path().to_str().unwrap();
    let missing = format!("{path}/missing.yaml");
    let binary = format!("{path}/binary");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    for (path, part) in [(missing.as_str(), "No such file"), (&binary, "not UTF-8"), (path, "nothing to validate")] {
        let ran = ran(serin(&["validate", path])).await;
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
}

#[tokio::test]
async fn help_version_and_completion_are_no_errors() {
    for (args, part) in [
        (&["--help"][..], "held until a person acts"),
        (&["-h"], "Exit codes:"),
        (&["release", "--help"], "serin release web --revision v2"),
        (&["agent", "--help"], "listening grpc=IP:PORT http=IP:PORT"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["version"], "protocol 1."),
        (&["completion", "bash"], "complete -F _serin"),
    ] {
        let ran = ran(serin(args)).await;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        assert!(ran.out.contains(part), "{args:?}: {}", ran.out);
    }
}

#[tokio::test]
async fn an_agent_starts_answers_the_other_commands_and_stops_when_told() {
    let (canaries, data) = (directory(&[("web.yaml", GOOD)]), directory(&[]));
    let paths = [canaries.path(), data.path()].map(|path| path.to_str().unwrap().to_owned());
    let args =
        ["agent", "--canaries", &paths[0], "--data", &paths[1], "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let mut child = serin(&args).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("it says where it listens");
    let (_, http) = line.split_once(" http=").unwrap();
    let url = format!("http://{http}");

    assert_eq!(run(&url, &["get", "-o", "name"]).await.out, "prod/web\n");
    let early = run(&url, &["confirm", "web"]).await;
    assert_eq!(early.code, 1, "{}", early.err);
    let begun = run(&url, &["release", "web", "--revision", "v2", "--as", "ann", "--accept-unsupported"]).await;
    assert_eq!((begun.code, begun.out.as_str()), (0, "prod/web: release 1 of v2 is Progressing\n"), "{}", begun.err);
    let aborted = run(&url, &["abort", "web", "--reason", "only a test", "--as", "bob"]).await;
    assert_eq!(aborted.code, 0, "{}", aborted.err);
    let page = run(&url, &["describe", "web"]).await;
    assert!(page.out.contains("release of v2 begun by ann"), "{}", page.out);
    assert!(page.out.contains("asked for by bob: only a test"), "{}", page.out);

    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(id).status().await.unwrap().success());
    let status = timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_agent_that_cannot_start_says_why() {
    let folder = directory(&[]);
    let path = folder.path().to_str().unwrap();
    let open = ["agent", "--canaries", path, "--data", path, "--grpc", "0.0.0.0:0"];
    let refused = ran(serin(&open)).await;
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("--grpc 0.0.0.0:0 is outside loopback"), "{}", refused.err);
}
