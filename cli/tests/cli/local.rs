//! What needs no agent, and the agent itself.

use std::fs;
use std::process::Stdio;

use rollout::worker::messages::PROTOCOL;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::run::{DEADLINE, ran, run, serin};

pub(crate) const GOOD: &str = "\
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

pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
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
async fn one_canary_in_two_files_is_refused_in_a_directory() {
    let folder = directory(&[("a.yaml", GOOD), ("b.yaml", GOOD)]);
    let path = folder.path().to_str().unwrap();
    let refused = ran(serin(&["validate", path])).await;
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(refused.out.contains("neither is used until one is removed"), "{}", refused.out);
    let files = ["a.yaml", "b.yaml"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let apart = ran(serin(&["validate", &files[0], &files[1]])).await;
    assert_eq!(apart.code, 0, "files that are named may be for different agents: {}{}", apart.out, apart.err);
}

#[tokio::test]
async fn what_holds_nothing_of_ours_fails() {
    const ARGO: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a}\nspec: {}\n";
    let folder = directory(&[("argo.yaml", ARGO), ("broken.yaml", "{\"a\": [1,2"), ("empty.yaml", "")]);
    for (name, said) in [("argo", "an Argo Rollout"), ("broken", "none of our kinds"), ("empty", "the file is empty")] {
        let path = folder.path().join(format!("{name}.yaml"));
        let path = path.to_str().unwrap();
        let validated = ran(serin(&["validate", path])).await;
        assert_eq!(validated.code, 1, "{}{}", validated.out, validated.err);
        assert!(validated.out.contains(said), "{said} in {}", validated.out);
        assert!(validated.err.contains("no Canary, MetricTemplate or AlertProvider was found"), "{}", validated.err);
        let converted = ran(serin(&["convert", path])).await;
        assert_eq!((converted.code, converted.out.as_str()), (1, ""), "{}", converted.err);
        assert!(converted.err.contains("nothing to convert") && converted.err.contains(said), "{}", converted.err);
    }
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    assert_eq!(ran(serin(&["validate", folder.path().to_str().unwrap()])).await.code, 0, "beside one of ours");
}

/// As of `envoy-config`, whose manifests are one folder down.
#[tokio::test]
async fn validate_names_the_option_that_finds_more() {
    let folder = directory(&[("notes.txt", "no manifest")]);
    let path = folder.path().to_str().unwrap();
    let nothing = ran(serin(&["validate", path])).await;
    assert!(nothing.code == 1 && !nothing.err.contains("-r"), "nothing deeper either: {}", nothing.err);
    fs::write(folder.path().join("empty.yaml"), "").unwrap();
    let empty = ran(serin(&["validate", path])).await;
    assert!(empty.code == 1 && !empty.err.contains("-r"), "its own files are not deeper: {}", empty.err);
    let deep = folder.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("web.yml"), GOOD).unwrap();
    let deeper = ran(serin(&["validate", path])).await;
    assert!(deeper.code == 1 && deeper.err.contains(&format!("`serin validate -r {path}`")), "{}", deeper.err);
    let empty = directory(&[]);
    let both = ran(serin(&["validate", empty.path().to_str().unwrap(), path])).await;
    assert!(both.err.contains(&format!("`serin validate -r {path}`")), "{}", both.err);
    assert_eq!(ran(serin(&["validate", "-r", path])).await.code, 0);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy-config");
    assert!(ran(serin(&["validate", shipped])).await.err.contains("-r"));
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

const TEMPLATE: &str = "\
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: errors, namespace: prod}
spec: {provider: {type: prometheus, address: \"http://p:9090\"}, query: up}
";

/// GOOD with a metric that names the template.
fn asking() -> String {
    format!("{GOOD}      - {{name: errors, templateRef: {{name: errors}}, thresholdRange: {{max: 1}}, interval: 1m}}\n")
}

#[tokio::test]
async fn documents_of_a_directory_can_name_each_other() {
    let folder = directory(&[("canary.yaml", &asking()), ("template.yaml", TEMPLATE)]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (all, canary, template) = (path(""), path("canary.yaml"), path("template.yaml"));
    for (args, code, part) in [
        (vec!["validate", &all], 0, "canary.yaml:1: Canary prod/web: accepted with"),
        (vec!["validate", &template, &canary], 0, "canary.yaml:1: Canary prod/web: accepted with"),
        (vec!["validate", &canary], 0, "needs the MetricTemplate prod/errors, which is not in this file"),
    ] {
        let ran = ran(serin(&args)).await;
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    fs::remove_file(&template).unwrap();
    let alone = ran(serin(&["validate", &all])).await;
    assert_eq!(alone.code, 1, "{}{}", alone.out, alone.err);
    assert!(alone.out.contains("names the MetricTemplate prod/errors, which does not exist"), "{}", alone.out);
}

#[tokio::test]
async fn folders_are_read_when_asked_for() {
    let folder = directory(&[("chart.yaml", "{{ if .Values.on }}\na: b\n{{ end }}\n")]);
    fs::create_dir(folder.path().join("web")).unwrap();
    fs::write(folder.path().join("web/canary.yaml"), GOOD).unwrap();
    let path = folder.path().to_str().unwrap();
    let flat = ran(serin(&["validate", path])).await;
    assert!(flat.code == 1 && flat.out.ends_with(" 0 refused, 1 skipped\n"), "{}{}", flat.out, flat.err);
    assert!(flat.out.contains("chart.yaml:1: document: skipped, a Helm template"), "{}", flat.out);
    let deep = ran(serin(&["validate", "--recursive", path])).await;
    assert!(deep.code == 0 && deep.out.contains("web/canary.yaml:1: Canary prod/web: accepted"), "{}", deep.out);
}

#[tokio::test]
async fn convert_writes_what_validate_accepts_and_overwrites_nothing() {
    let folder = directory(&[
        ("canary.yaml", &asking()),
        ("template.yaml", TEMPLATE),
        ("other.yaml", "# kept\nkind:  X\napiVersion: v1\n"),
    ]);
    let (path, out) = (folder.path().to_str().unwrap(), TempDir::new().unwrap());
    let into = out.path().join("new");
    let into = into.to_str().unwrap();
    let done = ran(serin(&["convert", path, "-o", into])).await;
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert!(done.err.contains("new/canary.yaml"), "{}", done.err);
    let valid = ran(serin(&["validate", into])).await;
    assert!(valid.code == 0 && valid.out.contains(" 0 refused, 1 skipped\n"), "{}{}", valid.out, valid.err);
    assert_eq!(fs::read_to_string(format!("{into}/other.yaml")).unwrap(), "# kept\nkind:  X\napiVersion: v1\n");
    assert!(fs::read_to_string(format!("{into}/canary.yaml")).unwrap().contains("metricsBlindLimit: 4"));
    let again = ran(serin(&["convert", path, "-o", into])).await;
    assert!(again.code == 1 && again.err.contains("File exists"), "{}{}", again.out, again.err);
    let printed = ran(serin(&["convert", path])).await;
    assert!(printed.code == 0 && printed.out.matches("apiVersion: serin.dev/v1alpha1").count() == 2, "{}", printed.out);
    fs::write(folder.path().join("bad.yaml"), GOOD.replace("stepWeight: 10", "stepWeight: ten")).unwrap();
    let refused = ran(serin(&["convert", path])).await;
    assert!(refused.code == 1 && refused.out.is_empty(), "{}{}", refused.out, refused.err);
    assert!(
        refused.err.contains("nothing was converted") && refused.err.contains("spec.analysis.stepWeight"),
        "{}",
        refused.err
    );
}

#[tokio::test]
async fn schema_prints_what_is_published() {
    for (args, title) in
        [(&["schema"][..], "Serin's kinds"), (&["schema", "flagger"], "Flagger's kinds as Serin reads them")]
    {
        let ran = ran(serin(args)).await;
        let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((ran.code, schema["title"].as_str()), (0, Some(title)));
    }
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
    let protocol = format!("(protocol {PROTOCOL})");
    for (args, part) in [
        (&["--help"][..], "held until a person acts"),
        (&["-h"], "Exit codes:"),
        (&["release", "--help"], "serin release web --revision v2"),
        (&["agent", "--help"], "listening grpc=IP:PORT http=IP:PORT"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["version"], &protocol),
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
    assert!(page.out.contains("release of v2 started by ann"), "{}", page.out);
    assert!(page.out.contains("requested by bob: only a test"), "{}", page.out);

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
    assert_eq!(refused.code, 64, "{}", refused.err);
    assert!(refused.err.contains("--grpc 0.0.0.0:0 is outside loopback"), "{}", refused.err);
    let missing = ran(serin(&["agent", "--canaries", "/nowhere", "--data", path, "--grpc", "127.0.0.1:0"])).await;
    assert_eq!(missing.code, 64, "{}", missing.err);
    for part in ["--canaries /nowhere: No such file", "create the directory, or name the one"] {
        assert!(missing.err.contains(part), "{}", missing.err);
    }
}

#[tokio::test]
async fn a_load_tester_that_cannot_start_says_why() {
    let open = ran(serin(&["loadtester", "--http", "0.0.0.0:0"])).await;
    assert_eq!(open.code, 64, "{}", open.err);
    assert!(open.err.contains("--http 0.0.0.0:0 is outside loopback"), "{}", open.err);
    let path = ran(serin(&["loadtester", "--http", "127.0.0.1:0", "--allow", "hey,/bin/sh"])).await;
    assert_eq!(path.code, 64, "{}", path.err);
    assert!(path.err.contains("--allow \"/bin/sh\" is not a program's name"), "{}", path.err);
}
