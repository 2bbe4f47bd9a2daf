//! What goes wrong, and whether the message and the exit code tell which it was.

use axum::Router;
use tokio::net::TcpListener;

use crate::fake::{Fake, Script};
use crate::fixture;
use crate::run::{Ran, ran, run, serin};

async fn fake(ids: &[(&str, &str)]) -> Fake {
    let canaries = ids.iter().map(|(namespace, name)| fixture::canary(namespace, name, "Progressing")).collect();
    Fake::start(Script { canaries, ..Script::default() }).await
}

pub(crate) fn check(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    for part in parts {
        assert!(ran.err.contains(part), "{part:?} in {:?}", ran.err);
    }
    assert_eq!(ran.out, "");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named_with_how_to_start_one() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let parts = [url.as_str(), "refused", "serin agent --canaries DIR --data DIR", "SERIN_AGENT"];
    for args in [vec!["get"], vec!["get", "-w"], vec!["proxies"], vec!["abort", "web"], vec!["describe", "prod/web"]] {
        check(&run(&url, &args).await, 69, &parts);
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_from_all_else_and_the_right_one_works() {
    let fake = fake(&[("prod", "web")]).await;
    fake.script().token = Some("s3cret".into());
    check(&run(&fake.url, &["get"]).await, 77, &["bearer token", "SERIN_TOKEN"]);
    let refused = run(&fake.url, &["get", "--token", "wrong"]).await;
    check(&refused, 77, &["bearer token"]);
    assert!(!refused.err.contains("wrong"), "{}", refused.err);
    let mut command = serin(&["get", "-o", "name"]);
    command.env("SERIN_AGENT", &fake.url).env("SERIN_TOKEN", "s3cret");
    assert_eq!(ran(command).await.out, "prod/web\n");
    let mut help = serin(&["get", "--help"]);
    help.env("SERIN_TOKEN", "s3cret");
    assert!(!ran(help).await.out.contains("s3cret"));
}

#[tokio::test]
async fn an_unknown_canary_gets_a_suggestion() {
    let fake = fake(&[("prod", "checkout"), ("prod", "web")]).await;
    let parts = ["canary prod/chekout is not known", "did you mean prod/checkout?"];
    for verb in [&["get"][..], &["describe"], &["abort", "--reason=x"], &["get", "-w"], &["release", "--revision=v"]] {
        let args: Vec<&str> = verb.iter().copied().chain(["prod/chekout"]).collect();
        check(&run(&fake.url, &args).await, 1, &parts);
    }
    check(&run(&fake.url, &["confirm", "chekout"]).await, 1, &["default/chekout", "did you mean prod/checkout?"]);
}

#[tokio::test]
async fn a_name_that_several_namespaces_have_must_be_made_clear() {
    let fake = fake(&[("prod", "web"), ("test", "web")]).await;
    let ambiguous = run(&fake.url, &["abort", "web", "--reason", "x"]).await;
    check(&ambiguous, 64, &["prod/web, test/web", "-n"]);
    assert!(fake.script().posts.is_empty(), "nothing was asked of anybody");
    for args in [
        ["abort", "web", "-n", "test"],
        ["abort", "test/web", "-n", "test"],
        ["abort", "--as=ann", "test/web", "--reason=x"],
    ] {
        let ran = run(&fake.url, &args).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let posts = fake.script().posts.clone();
    assert!(posts.iter().all(|(path, _)| path == "test/web/abort"), "{posts:?}");
    assert_eq!(posts[2].1, serde_json::json!({"actor": "ann", "reason": "x"}));
}

#[tokio::test]
async fn each_verb_asks_what_it_says() {
    let fake = fake(&[("prod", "web")]).await;
    for verb in ["abort", "promote", "confirm", "pause", "resume", "retry", "skip"] {
        let ran = run(&fake.url, &[verb, "web", "--as", "ann", "--reason", "so"]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.starts_with("prod/web: release 3 is Progressing; "), "{}", ran.out);
        let (path, body) = fake.script().posts.pop().unwrap();
        assert_eq!((path, body), (format!("prod/web/{verb}"), serde_json::json!({"actor": "ann", "reason": "so"})));
    }
    let ran = run(&fake.url, &["promote", "web"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let actor = fake.script().posts.pop().unwrap().1["actor"].clone();
    assert!(rollout::names::Revision::parse(actor.as_str().unwrap()).is_ok(), "{actor}");
}

#[tokio::test]
async fn the_agent_s_own_reasons_are_shown() {
    let fake = fake(&[("prod", "web")]).await;
    for (status, code, parts) in [
        (400, 1, &["revision \"?\" is wrong"][..]),
        (409, 1, &["revision \"?\" is wrong"]),
        (503, 69, &["cannot answer now", "revision \"?\" is wrong", "try again"]),
    ] {
        fake.script().refuse = Some((status, "revision \"?\" is wrong".into()));
        check(&run(&fake.url, &["promote", "web"]).await, code, parts);
        check(&run(&fake.url, &["release", "web", "--revision=v2", "--wait"]).await, code, parts);
    }
}

#[tokio::test]
async fn something_else_that_answers_is_not_taken_for_an_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let page = Router::new().fallback(async || "<html>\u{1b}[31mhello</html>");
    tokio::spawn(async move { axum::serve(listener, page).await });
    for args in [["get", "-A"], ["get", "prod/web"], ["describe", "prod/web"]] {
        let ran = run(&url, &args).await;
        check(&ran, 69, &["does not speak this program's API", "not its gRPC address"]);
        assert!(!ran.err.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn a_wrong_command_line_exits_64_never_2() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["release", "web"],
        &["release", "web", "--revision", "v 2"],
        &["release", "web", "--revision", "v2", "--timeout", "soon"],
        &["get", "-o", "xml"],
        &["get", "-A", "-n", "prod"],
        &["get", "prod/web", "-n", "test"],
        &["get", "a/b/c"],
        &["abort", "web", "--as", "two words"],
        &["get", "--agent", "127.0.0.1:7071"],
        &["agent"],
        &["agent", "--canaries=c", "--data=d", "--grpc-tls-cert=x"],
        &["validate"],
    ] {
        let ran = ran(serin(args)).await;
        assert_eq!(ran.code, 64, "{args:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.is_empty(), "{args:?}");
    }
}
