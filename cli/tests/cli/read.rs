//! `get`, `describe` and `proxies`: what is shown, to people and to programs.

use rollout::release::phase::Note;
use rollout::view::status::{CanaryStatus, WorkerCanary};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::fake::{Fake, Frame, Script, event};
use crate::fixture;
use crate::run::{DEADLINE, ran, run, serin};

fn two() -> Script {
    let canaries = vec![fixture::canary("prod", "web", "Progressing"), fixture::canary("shop", "api", "Paused")];
    Script { canaries, ..Script::default() }
}

/// Text with all that a terminal should not get from another program.
const HOSTILE: &str = "a\u{1b}]0;owned\u{7}b\u{9b}2Jc\rd\ne\u{202e}f";

fn is_hostile(c: char) -> bool {
    c != '\n' && (c.is_control() || c == '\u{202e}')
}

#[tokio::test]
async fn get_shows_one_line_for_each_canary_and_each_refused_manifest() {
    let fake = Fake::start(Script { problems: vec!["c/bad.yaml:3:1: spec: is missing".into()], ..two() }).await;
    let ran = run(&fake.url, &["get"]).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(lines[0].starts_with("NAMESPACE   NAME   PHASE"), "{}", ran.out);
    assert!(lines[1].starts_with("prod        web    Progressing"), "{}", ran.out);
    assert!(lines[2].starts_with("shop        api    Paused"), "{}", ran.out);
    assert_eq!(lines[3..], ["! refused: c/bad.yaml:3:1: spec: is missing"]);
    let ran = run(&fake.url, &["get", "-n", "shop", "-o", "name"]).await;
    assert_eq!(ran.out, "shop/api\n");
    let ran = run(&fake.url, &["get", "web", "-A", "-o", "name"]).await;
    assert_eq!(ran.out, "prod/web\n");
}

#[tokio::test]
async fn json_and_yaml_are_the_api_s_own_words() {
    let script = two();
    let canaries = script.canaries.clone();
    let fake = Fake::start(script).await;
    let ran = run(&fake.url, &["get", "prod/web", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<CanaryStatus>(&ran.out).unwrap(), canaries[0]);
    let ran = run(&fake.url, &["get", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(list["items"], serde_json::to_value(&canaries).unwrap());
    let ran = run(&fake.url, &["get", "web", "-o", "yaml"]).await;
    assert!(ran.out.starts_with("name: web\nnamespace: prod\nservice: null\nphase: Progressing\n"), "{}", ran.out);
}

#[tokio::test]
async fn nothing_at_all_is_no_error_and_says_what_to_do() {
    let fake = Fake::start(Script::default()).await;
    let ran = run(&fake.url, &["get"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("--canaries directory"), "{}", ran.err);
    let ran = run(&fake.url, &["proxies"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("gRPC address"), "{}", ran.err);
}

#[tokio::test]
async fn a_watch_prints_each_change_once() {
    let status = |step, next_check_ms| {
        let status = CanaryStatus { step, next_check_ms, ..fixture::canary("prod", "web", "Progressing") };
        Frame::Status(Box::new(status))
    };
    let first = vec![status(1, Some(900)), status(1, Some(400)), status(2, Some(100)), Frame::Close];
    let fake = Fake::start(Script { watches: [first, vec![status(2, None), status(3, None)]].into(), ..two() }).await;
    let mut command = serin(&["get", "web", "-w", "-o", "json"]);
    let mut child = command.env("SERIN_AGENT", &fake.url).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut steps = Vec::new();
    while steps.len() < 3 {
        let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("it goes on");
        steps.push(serde_json::from_str::<CanaryStatus>(&line).unwrap().step);
    }
    assert_eq!(steps, [1, 2, 3]);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_watched_list_prints_a_heading_once_and_the_rows_that_changed() {
    let fake = Fake::start(two()).await;
    let mut command = serin(&["get", "--watch"]);
    let mut child = command.env("SERIN_AGENT", &fake.url).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("it goes on");
    assert!(next().await.starts_with("NAMESPACE"));
    assert!(next().await.contains("web"));
    assert!(next().await.contains("api"));
    fake.script().canaries[1].phase = "Progressing".into();
    let line = next().await;
    assert!(line.contains("api") && line.contains("Progressing"), "{line}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn describe_tells_state_versions_and_events() {
    let actor = rollout::base::names::Revision::parse("ann").unwrap();
    let events = vec![event(1000, Note::Declared), event(2000, Note::Paused { actor, reason: "lunch".into() })];
    let fake = Fake::start(Script { events, ..two() }).await;
    let ran = run(&fake.url, &["describe", "web", "--events", "1"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for part in ["Canary:        prod/web\n", "PRIMARY (web-primary)", "success rate", "paused by ann: lunch"] {
        assert!(ran.out.contains(part), "{part:?} in\n{}", ran.out);
    }
    assert!(!ran.out.contains("manifest read"), "{}", ran.out);
}

#[tokio::test]
async fn proxies_show_each_worker() {
    let mut worker = fixture::worker("envoy-a", "a1b2c3d4e5f60718");
    let canary = "prod/web".into();
    worker.canaries = vec![WorkerCanary {
        canary,
        epoch: 17,
        in_sync: true,
        requests: 9,
        observed_percent: None,
        destinations: Vec::new(),
    }];
    let fake = Fake::start(Script { workers: vec![worker], ..two() }).await;
    let ran = run(&fake.url, &["proxies"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.lines().nth(1).unwrap().starts_with("envoy-a   a1b2c3d4"), "{}", ran.out);
}

#[tokio::test]
async fn no_text_of_the_agent_acts_on_the_terminal() {
    let hostile = || HOSTILE.to_owned();
    let mut canary = fixture::canary("prod", "web", "Progressing");
    canary.message = hostile();
    canary.revision = Some(hostile());
    canary.without_agent = format!("{HOSTILE} (the former primary)");
    canary.default_route_wrong = true;
    canary.unsupported = vec![hostile()];
    canary.versions[1].upstream = hostile();
    canary.versions[1].failed_by_class.insert(hostile(), 1);
    let mut worker = fixture::worker(HOSTILE, HOSTILE);
    worker.filter_version = hostile();
    let mut failed = event(1, Note::HookFailed { error: hostile() });
    failed.message = hostile();
    let ended = CanaryStatus { phase: "Failed".into(), ..canary.clone() };
    let frames = vec![Frame::Event(Box::new(failed.clone())), Frame::Status(Box::new(ended))];
    let script = Script {
        canaries: vec![canary],
        problems: vec![hostile()],
        events: vec![failed],
        workers: vec![worker],
        watches: [frames].into(),
        ..Script::default()
    };
    let fake = Fake::start(script).await;
    let mut commands = vec![
        vec!["get"],
        vec!["get", "-o", "wide"],
        vec!["get", "-o", "json"],
        vec!["get", "web", "-o", "json"],
        vec!["get", "web", "-o", "yaml"],
        vec!["get", "-o", "name"],
        vec!["describe", "web"],
        vec!["proxies"],
        vec!["release", "web", "--revision", "v2", "--wait"],
    ];
    for args in commands.drain(..) {
        let ran = run(&fake.url, &args).await;
        let shown = ran.out + &ran.err;
        assert!(!shown.contains(is_hostile), "{args:?}: {shown:?}");
        assert!(ran.code <= 1, "{args:?}: {shown}");
    }
    fake.script().refuse = Some((409, hostile()));
    let ran = run(&fake.url, &["promote", "web"]).await;
    assert!(ran.err.contains("owned") && !ran.err.contains(is_hostile), "{:?}", ran.err);
    // And programs lose nothing by it.
    let ran = run(&fake.url, &["get", "web", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<CanaryStatus>(&ran.out).unwrap().message, HOSTILE);
}

#[tokio::test]
async fn colour_is_for_terminals_and_those_who_ask_for_it() {
    let fake = Fake::start(two()).await;
    let ran = run(&fake.url, &["get"]).await;
    assert!(!ran.out.contains('\u{1b}'));
    let ran = run(&fake.url, &["get", "--color", "always"]).await;
    assert!(ran.out.contains("\u{1b}["), "{:?}", ran.out);
    let ran = run(&fake.url, &["describe", "web", "--color", "never"]).await;
    assert!(!ran.out.contains('\u{1b}'));
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let fake = Fake::start(two()).await;
    let mut command = serin(&["get"]);
    let mut child = command.env("SERIN_AGENT", &fake.url).spawn().unwrap();
    drop(child.stdout.take());
    let output = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_machine_without_root_certificates_and_behind_a_proxy_reaches_its_own_agent() {
    let fake = Fake::start(two()).await;
    let mut command = serin(&["get", "-o", "name"]);
    command.env("SERIN_AGENT", &fake.url).env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    command.env("HTTP_PROXY", "http://127.0.0.1:9").env("http_proxy", "http://127.0.0.1:9");
    let ran = ran(command).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "prod/web\nshop/api\n"), "{}", ran.err);
}

#[tokio::test]
async fn programs_can_read_every_command() {
    let workers = vec![fixture::worker("envoy-a", "a1b2c3d4e5f60718")];
    let fake = Fake::start(Script { workers, ..two() }).await;
    let json = async |args: &[&str]| {
        let ran = run(&fake.url, &[args, &["-o", "json"]].concat()).await;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", ran.out))
    };
    let described = json(&["describe", "web"]).await;
    assert_eq!(described["status"]["name"], "web");
    assert_eq!(described["explanation"]["canary"], "prod/web");
    assert!(described["gates"].is_array() && described["events"].is_array(), "{described}");
    assert_eq!(json(&["proxies"]).await["items"][0]["node"], "envoy-a");
    let asked = serde_json::json!({"canary": "prod/web", "release": 3, "phase": "Progressing", "stored": true});
    for verb in ["abort", "promote", "confirm", "pause", "resume", "skip", "retry"] {
        assert_eq!(json(&[verb, "web"]).await, asked, "{verb}");
    }
    assert_eq!(json(&["set-weight", "web", "--weight", "5"]).await, asked);
    assert_eq!(json(&["gate", "open", "web", "owner"]).await, asked);
    assert_eq!(json(&["version"]).await["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn an_abort_that_is_not_stored_says_so() {
    let why = "the abort is in force but not stored: no space left";
    let fake = Fake::start(Script { unstored: Some(why.into()), ..two() }).await;
    let ran = run(&fake.url, &["abort", "web"]).await;
    assert_eq!((ran.code, ran.err.contains(why)), (0, true), "{}", ran.err);
    assert!(ran.out.contains("all traffic goes to the primary"), "{}", ran.out);
    let ran = run(&fake.url, &["abort", "web", "-o", "json"]).await;
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["stored"], &said["warning"]), (&false.into(), &why.into()));
}

#[tokio::test]
async fn completion_knows_the_canaries_and_is_silent_without_an_agent() {
    let fake = Fake::start(two()).await;
    fake.script().canaries.push(fixture::canary("test", "web", "Paused"));
    let ran = run(&fake.url, &["complete-canaries"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "prod/web\napi\nshop/api\ntest/web\n", ""));
    fake.script().token = Some("s3cret".into());
    for url in [fake.url.as_str(), "http://127.0.0.1:9", "nonsense"] {
        let ran = run(url, &["complete-canaries"]).await;
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{url}");
    }
    // Accepts, and never answers.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let began = std::time::Instant::now();
    let ran = run(&format!("http://{}", hung.local_addr().unwrap()), &["complete-canaries"]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn bash_completes_a_canary_s_name() {
    let fake = Fake::start(two()).await;
    let script = run(&fake.url, &["completion", "bash"]).await.out;
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_serin")).parent().unwrap().to_owned();
    let complete = |words: &str, at: usize| {
        format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={at}; _serin_with_canaries serin \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        )
    };
    for (words, at, expected) in [
        ("serin abort ''", 2, "web prod/web api shop/api"),
        ("serin describe sh", 2, "shop/api"),
        ("serin gate open a", 3, "api"),
        ("serin gate li", 2, "list"),
        ("serin expl", 1, "explain"),
    ] {
        let mut bash = tokio::process::Command::new("bash");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let output = bash.args(["-c", &complete(words, at)]).env("PATH", path).env("SERIN_AGENT", &fake.url);
        let output = timeout(DEADLINE, output.output()).await.unwrap().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(out.trim(), expected, "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
