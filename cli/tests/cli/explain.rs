//! `explain`: the answer first for people, the API's own document for programs, and words when there is nothing to tell.

use rollout::view::explanation::Explanation;
use serde_json::Value;

use crate::fake::{Fake, Script};
use crate::fixture;
use crate::run::run;

fn script() -> Script {
    let canaries = vec![fixture::canary("prod", "web", "Progressing"), fixture::canary("shop", "api", "Paused")];
    Script { canaries, explanation: Some(document()), ..Script::default() }
}

/// With what only a newer agent would say.
fn document() -> Value {
    let mut document = serde_json::to_value(fixture::explanation("prod", "web")).unwrap();
    document["newer"] = 7.into();
    document
}

#[tokio::test]
async fn people_get_the_answer_in_the_first_line() {
    let fake = Fake::start(script()).await;
    for args in [&["explain", "web"][..], &["explain", "web", "-n", "prod"], &["explain", "prod/web", "-o", "table"]] {
        let ran = run(&fake.url, args).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.starts_with("web v2 at 12.5 %: 62 % of the way to the certificate"), "{}", ran.out);
        assert!(!ran.out.contains('\u{1b}'), "colour is for terminals");
    }
    let ran = run(&fake.url, &["explain", "web", "--color", "always"]).await;
    assert!(ran.out.starts_with("\u{1b}["), "{:?}", ran.out);
}

#[tokio::test]
async fn programs_get_the_agents_document_unchanged() {
    let fake = Fake::start(script()).await;
    let ran = run(&fake.url, &["explain", "web", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), document());
}

#[tokio::test]
async fn a_wrong_name_gets_the_right_one() {
    let fake = Fake::start(script()).await;
    let ran = run(&fake.url, &["explain", "prod/wep"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("did you mean prod/web?"), "{}", ran.err);
}

#[tokio::test]
async fn an_agent_that_talks_nonsense_is_no_crash() {
    let explanation = Some(serde_json::json!({ "summary": 3 }));
    let fake = Fake::start(Script { explanation, ..script() }).await;
    let ran = run(&fake.url, &["explain", "web"]).await;
    assert!(ran.code != 0 && ran.err.contains("error:"), "{} {}", ran.code, ran.err);
}

#[tokio::test]
async fn no_text_of_the_agent_acts_on_the_terminal() {
    let hostile = "a\u{1b}]0;owned\u{7}b\u{9b}2Jc\rd\ne\u{202e}f";
    let shown = fixture::explanation("prod", "web");
    let mut shown = Explanation { summary: hostile.into(), max_cluster_because: hostile.into(), ..shown };
    shown.guards[0].rule = hostile.into();
    shown.versions[0].upstream = hostile.into();
    let explanation = Some(serde_json::to_value(&shown).unwrap());
    let fake = Fake::start(Script { explanation, ..script() }).await;
    for args in [&["explain", "web"][..], &["explain", "web", "-o", "json"]] {
        let ran = run(&fake.url, args).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(!ran.out.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{:?}", ran.out);
    }
}
