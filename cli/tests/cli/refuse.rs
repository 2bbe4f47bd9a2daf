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
    let refused = run(&fake.url, &["get", "--token", "wr0ng"]).await;
    check(&refused, 77, &["the token that was sent is not this agent's"]);
    assert!(!refused.err.contains("wr0ng"), "{}", refused.err);
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
    assert!(rollout::base::names::Revision::parse(actor.as_str().unwrap()).is_ok(), "{actor}");
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
        &["set-weight", "web", "--weight", "101"],
        &["set-weight", "web", "--weight", "half"],
        &["gate", "open", "web", "owner", "--for", "9999d"],
        &["gate", "open", "web", "owner", "--for", "0s"],
        &["loadtester", "--http", "0.0.0.0:0"],
        &["loadtester", "--namespace-regexp", "("],
        &["loadtester", "--allow", ""],
        &["loadtester", "--http-token-file", "/nowhere"],
    ] {
        let ran = ran(serin(args)).await;
        assert_eq!(ran.code, 64, "{args:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.is_empty(), "{args:?}");
        assert!(!["weightPercent", "expiresSeconds", "\\n"].iter().any(|word| ran.err.contains(word)), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_wrong_argument_gets_the_right_tip() {
    for (args, parts, not) in [
        (&["set-weight", "shop", "30"][..], &["write '--weight 30'"][..], "-- "),
        (&["release", "shop", "v2"], &["write '--revision v2'"], "-- "),
        (&["set-weight", "shop", "--weight", "-3"], &["'-3'", "from 0 to 100"], "tip:"),
        (&["set-weight", "shop", "--weight", "2.55555"], &["at most four decimals"], "weightPercent"),
        (&["release", "shop", "--revision=v2", "--timeout=soon"], &["such as 90s, 30m or 1h30m"], "5sec"),
        (&["gate", "open", "shop", "owner", "--for", "2"], &["such as 2h or 3d"], "5sec"),
        (&["abort", "default/shop/x"], &["write NAME or NAMESPACE/NAME", "`serin abort --help`"], "COMMAND"),
        (&["abort", "shöp"], &["allowed are letters, digits and . _ -\n"], "upstream"),
        (&["abort", "shop", "--as", "two words"], &["printable ASCII characters without spaces"], "upstream"),
        (&["release", "shop", "--revision", "v 2"], &["printable ASCII characters without spaces"], "upstream"),
    ] {
        let ran = ran(serin(args)).await;
        assert_eq!(ran.code, 64, "{args:?}: {}", ran.err);
        parts.iter().for_each(|part| assert!(ran.err.contains(part), "{part:?} in {}", ran.err));
        assert!(!ran.err.contains(not), "{not:?} in {}", ran.err);
    }
}

#[tokio::test]
async fn an_agent_that_cannot_start_says_why_once_and_what_to_do() {
    let folder = tempfile::TempDir::new().unwrap();
    let [canaries, data] = ["canaries", "data"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    std::fs::create_dir(&canaries).unwrap();
    let start = async |more: &[&str]| {
        let always = ["agent", "--canaries", &canaries, "--data", &data, "--http", "127.0.0.1:0"];
        ran(serin(&[&always[..], more].concat())).await
    };
    for (args, parts) in [
        (&["--grpc", "0.0.0.0:0"][..], &["--grpc 0.0.0.0:0 is outside loopback"][..]),
        (
            &["--grpc", "127.0.0.1:0", "--grpc-token-file", "/nowhere"],
            &["--grpc-token-file: token file /nowhere: No such"],
        ),
        (&["--grpc", "127.0.0.1:0", "--grpc-tls-cert=/nowhere", "--grpc-tls-key=/nowhere"], &["/nowhere"]),
    ] {
        let ran = start(args).await;
        check(&ran, 64, parts);
        assert!(ran.err.matches("No such file").count() <= 1, "{}", ran.err);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = start(&["--grpc", &address]).await;
    let next = "is another agent running? Choose another address with --grpc";
    check(&ran, 1, &[&format!("--grpc {address}: Address already in use"), next]);
    assert_eq!(ran.err.matches("Address already in use").count(), 1, "{}", ran.err);
}

/// A gRPC server speaks first, and in frames: this is how it begins.
#[tokio::test]
async fn the_agent_s_grpc_port_is_told_from_no_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &empty_settings).await;
            open.push(stream);
        }
    });
    check(&run(&url, &["get"]).await, 69, &["does not speak this program's API", "not its gRPC address"]);
    // One that goes away is an agent that is away: with what it was sent half read, with all of it read, or with nothing.
    for most in [64, 64 << 10, 0] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut vec![0; most]).await;
            }
        });
        let next = "serin agent --canaries DIR --data DIR";
        check(&run(&url, &["get"]).await, 69, &["no agent answers", next]);
    }
}

#[tokio::test]
async fn the_environment_is_named_where_it_is_wrong_and_an_empty_variable_is_none() {
    check(&run("127.0.0.1:7071", &["get"]).await, 64, &["SERIN_AGENT=", "127.0.0.1:7071", "write it as http://"]);
    let fake = fake(&[("prod", "web")]).await;
    let given = run("", &["get", "-o", "name", "--agent", &fake.url]).await;
    assert_eq!((given.code, given.out.as_str()), (0, "prod/web\n"), "{}", given.err);
    let mut empty = serin(&["get", "--agent", "http://h:1/", "-o", "xml"]);
    empty.env("SERIN_AGENT", "").env("SERIN_TOKEN", "").env("SERIN_ACTOR", "");
    check(&ran(empty).await, 64, &["xml"]);
    // Without any, the usual address is meant, no matter what answers there: `--help` says which.
    let mut help = serin(&["get", "--help"]);
    help.env("SERIN_AGENT", "");
    assert!(ran(help).await.out.contains("[default: http://127.0.0.1:7071]"));
    let wrong = run("http://127.0.0.1:1", &["get", "-o", "xml"]).await;
    assert!(wrong.code == 64 && !wrong.err.contains("--agent <URL>"), "{}", wrong.err);
}

#[tokio::test]
async fn an_empty_list_says_where_the_others_are() {
    let fake = fake(&[("prod", "web"), ("prod", "api")]).await;
    for (args, said) in [
        (&["get", "-n", "test"][..], "no canaries in namespace test; `serin get -A` shows 2\n"),
        (&["get", "-A", "shop"], "no canary is named shop; `serin get -A` shows 2\n"),
    ] {
        let ran = run(&fake.url, args).await;
        assert!(ran.code == 0 && ran.err.contains(said), "{}{}", ran.out, ran.err);
    }
    fake.script().canaries.clear();
    assert!(run(&fake.url, &["get", "-n", "test"]).await.err.contains("no canaries here: put"));
}
