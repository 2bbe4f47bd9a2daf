//! `serin init` as its users meet it: what it writes is accepted by the program's own door, what is there stays, and the
//! script says what it lacks. That it all runs is for the end-to-end tests.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::run::{Ran, ran, serin};

const FILES: [&str; 3] = ["envoy.yaml", "canaries/shop.yaml", "start.sh"];

/// `serin init shop` in a folder, with the two upstreams and further options.
async fn init(at: &Path, more: &[&str]) -> Ran {
    let typed = ["init", "shop", "--primary", "10.0.0.5:8080", "--canary", "10.0.0.6:8080"];
    let mut command = serin(&[&typed, more].concat());
    command.current_dir(at);
    ran(command).await
}

#[tokio::test]
async fn what_init_writes_is_valid_without_a_warning() {
    let at = TempDir::new().unwrap();
    let done = init(at.path(), &["--host", "shop.example.com", "--module", "/no/serin.wasm"]).await;
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    for file in FILES {
        assert!(done.out.contains(&format!("wrote shop/{file}\n")), "{}", done.out);
    }
    assert!(done.out.contains("\n  ./shop/start.sh ") && done.out.contains("\n  serin release shop "), "{}", done.out);
    assert!(done.err.contains("/no/serin.wasm is not there yet"), "{}", done.err);
    let folder = at.path().join("shop/canaries");
    let valid = ran(serin(&["validate", folder.to_str().unwrap()])).await;
    assert!(valid.code == 0 && valid.out.contains("Canary default/shop: accepted"), "{}{}", valid.out, valid.err);
    assert!(valid.out.ends_with("1 accepted, 0 accepted with warnings, 0 refused, 0 skipped\n"), "{}", valid.out);
}

#[tokio::test]
async fn what_is_there_stays_until_it_is_forced() {
    let at = TempDir::new().unwrap();
    let folder = at.path().join("edge");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("start.sh"), "mine").unwrap();
    let refused = init(at.path(), &["--dir", "edge"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{}", refused.err);
    assert!(refused.err.contains("\n  edge/start.sh\n") && !refused.err.contains("envoy.yaml"), "{}", refused.err);
    assert_eq!(fs::read_to_string(folder.join("start.sh")).unwrap(), "mine");
    assert_eq!(folder.read_dir().unwrap().count(), 1);

    let forced = init(at.path(), &["--dir", "edge", "--force", "-o", "json"]).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
    let written: serde_json::Value = serde_json::from_str(&forced.out).unwrap();
    let files = FILES.map(|file| format!("edge/{file}"));
    assert_eq!((&written["files"], &written["canary"]), (&serde_json::json!(files), &"default/shop".into()));
    assert!(files.iter().all(|file| fs::read_to_string(at.path().join(file)).unwrap().contains("shop")));
}

#[tokio::test]
async fn what_is_typed_wrong_names_option_value_and_rule_and_writes_nothing() {
    let at = TempDir::new().unwrap();
    for (more, parts) in [
        (["--listen", "localhost:80"], ["--listen", "localhost:80", "must be IP:PORT"]),
        (["--host", "shop.example.com:80"], ["--host", "shop.example.com:80", "without scheme and port"]),
        (["--http", "127.0.0.1:7070"], ["--http", "127.0.0.1:7070", "one place"]),
        (["--listen", "10.0.0.5:8080"], ["--primary", "10.0.0.5:8080", "one place"]),
    ] {
        let refused = init(at.path(), &more).await;
        assert_eq!((refused.code, refused.out.as_str()), (64, ""), "{}", refused.err);
        assert!(parts.iter().all(|part| refused.err.contains(part)), "{}", refused.err);
    }
    assert_eq!(at.path().read_dir().unwrap().count(), 0);
}

/// Runs the script of the folder with another Envoy.
async fn start(folder: &Path, envoy: &str, program: &str) -> Ran {
    let mut command = Command::new(folder.join("start.sh"));
    command.env("ENVOY", envoy).env("SERIN", program).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ran(command).await
}

#[tokio::test]
async fn the_script_says_everything_that_is_missing() {
    let at = TempDir::new().unwrap();
    let module = at.path().join("a b/serin.wasm");
    assert_eq!(init(at.path(), &["--module", module.to_str().unwrap()]).await.code, 0);
    let folder = at.path().join("shop");
    let lacking = start(&folder, "/no/envoy", "/no/serin").await;
    assert_eq!((lacking.code, lacking.out.as_str()), (1, ""), "{}", lacking.err);
    for part in ["/no/envoy is missing", "/no/serin is missing", &format!("{} is missing", module.display())] {
        assert!(lacking.err.contains(part), "{part} in {}", lacking.err);
    }
    assert!(!folder.join("state").exists());
}

/// Where nothing else is named or found, the program that wrote the script is used.
#[tokio::test]
async fn the_script_tells_why_the_agent_does_not_start() {
    let at = TempDir::new().unwrap();
    let module = at.path().join("serin.wasm");
    fs::write(&module, "").unwrap();
    let taken = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [grpc, http] = taken.each_ref().map(|it| it.local_addr().unwrap().to_string());
    let done = init(at.path(), &["--module", module.to_str().unwrap(), "--grpc", &grpc, "--http", &http]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let folder = at.path().join("shop");
    let failed = start(&folder, "/bin/true", "").await;
    let starting = format!("start.sh: starting: the agent on http://{http}, then Envoy on ");
    assert!(failed.code == 1 && failed.out.starts_with(&starting), "{}{}", failed.out, failed.err);
    assert!(failed.err.contains("the agent does not run; agent.log ends:"), "{}", failed.err);
    assert!(failed.err.contains("Address already in use"), "{}", failed.err);

    fs::write(folder.join("canaries/shop.yaml"), "kind: Canary\napiVersion: serin.dev/v1alpha1\n").unwrap();
    let refused = start(&folder, "/bin/true", env!("CARGO_BIN_EXE_serin")).await;
    assert!(refused.code == 1 && refused.err.contains("canaries/shop.yaml:1:"), "{}", refused.err);
}
