//! `serin gate` and `serin set-weight`: what is asked of the agent, and what is shown.

use serde_json::json;

use crate::fake::{Fake, Script};
use crate::fixture;
use crate::refuse::check;
use crate::run::run;

async fn agent() -> Fake {
    let gates = vec![
        json!({"gate": "board", "kind": "confirm-rollout", "open": true, "revision": "v7", "actor": "ann",
               "reason": "approved", "openedAtMs": 1_700_000_000_000u64, "expiresAtMs": 1_700_000_060_000u64}),
        json!({"gate": "owner", "kind": "confirm-promotion", "open": false, "revision": null, "actor": null,
               "reason": null, "openedAtMs": null, "expiresAtMs": null}),
        json!({"gate": "undo", "kind": "rollback", "open": false, "revision": "v6", "actor": "bob",
               "reason": "", "openedAtMs": 1u64, "expiresAtMs": null}),
        json!({"gate": "go", "kind": "confirm-rollout", "open": false, "revision": null, "actor": null, "reason": null,
               "openedAtMs": null, "expiresAtMs": null, "url": "http://serin:7071/gate/check"}),
    ];
    Fake::start(Script { canaries: vec![fixture::canary("prod", "web", "Waiting")], gates, ..Script::default() }).await
}

#[tokio::test]
async fn gates_are_listed_with_who_and_why() {
    let fake = agent().await;
    let ran = run(&fake.url, &["gate", "list", "web"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["GATE", "APPROVES", "STATE", "REVISION", "BY", "CLOSES", "REASON"]);
    assert_eq!(lines[1][..5], ["board", "confirm-rollout", "open", "v7", "ann"]);
    assert_eq!(lines[2], ["owner", "confirm-promotion", "closed", "-", "-", "-", "-"]);
    assert_eq!(lines[3], ["undo", "rollback", "over", "v6", "bob", "-", "-"]);
    assert_eq!(lines[4][..5], ["go", "confirm-rollout", "at", "http://serin:7071/gate/check", "closed"]);
    let json = run(&fake.url, &["gate", "list", "web", "-o", "json"]).await.out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["items"][0]["gate"], "board");
    fake.script().gates.clear();
    let none = run(&fake.url, &["gate", "list", "web"]).await;
    assert!(none.out.contains("no stored gates") && none.out.contains("--help"), "{}", none.out);
}

#[tokio::test]
async fn gates_are_opened_and_closed() {
    let fake = agent().await;
    let post = async |args: &[&str]| {
        let ran = run(&fake.url, args).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("gate owner is "), "{}", ran.out);
        fake.script().posts.pop().unwrap()
    };
    let open = ["gate", "open", "web", "owner", "--as", "ann", "--reason", "fine", "--revision", "v7", "--for", "2h"];
    let body = json!({"actor": "ann", "reason": "fine", "revision": "v7", "expiresSeconds": 7200});
    assert_eq!(post(&open).await, ("prod/web/gates/owner/open".to_owned(), body));
    let close = post(&["gate", "close", "prod/web", "owner", "--as", "ann"]).await;
    assert_eq!(close, ("prod/web/gates/owner/close".to_owned(), json!({"actor": "ann", "reason": ""})));
    fake.script().refuse = Some((404, "canary prod/web has no gate \"x\"; its gates: board".into()));
    check(&run(&fake.url, &["gate", "open", "web", "x"]).await, 1, &["its gates: board"]);
    check(&run(&fake.url, &["gate", "open", "web", "x", "--for", "soon"]).await, 64, &["--for"]);
}

#[tokio::test]
async fn a_weight_is_a_number_of_percent() {
    let fake = agent().await;
    let ran = run(&fake.url, &["set-weight", "web", "--weight", "12.5", "--as", "ann"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let body = json!({"actor": "ann", "reason": "", "weightPercent": 12.5});
    assert_eq!(fake.script().posts.pop().unwrap(), ("prod/web/set-weight".to_owned(), body));
    check(&run(&fake.url, &["set-weight", "web", "--weight", "much"]).await, 64, &["--weight"]);
}

#[tokio::test]
async fn without_a_name_the_gates_of_all_are_listed() {
    let fake = agent().await;
    fake.script().canaries.push(fixture::canary("shop", "api", "Waiting"));
    let ran = run(&fake.url, &["gate", "list"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["CANARY", "GATE", "APPROVES"]);
    assert_eq!(
        (lines[1][..2].to_vec(), lines[5][..2].to_vec()),
        (vec!["prod/web", "board"], vec!["shop/api", "board"])
    );
    let one = run(&fake.url, &["gate", "list", "-n", "shop", "-o", "json"]).await.out;
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!((one["items"].as_array().unwrap().len(), &one["items"][0]["canary"]), (4, &json!("shop/api")));
    fake.script().gates.clear();
    let none = run(&fake.url, &["gate", "list"]).await;
    assert!(none.out.contains("no canary has stored gates"), "{}", none.out);
}
