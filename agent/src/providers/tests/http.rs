//! Our own kind: how a query is read, and what stands at a pointer.

use rollout::release::integrations::{MetricError, ProviderKind};

use super::{Reply, Scene, Server, read, reason};

fn scene(address: &str) -> Scene {
    Scene::new(ProviderKind::Http, address, &[])
}

#[tokio::test]
async fn the_first_line_is_the_request_and_the_rest_a_posts_body() {
    let server = Server::start(Reply::ok(r#"{"data":[{"a/b":{"c d":1.5}}]}"#)).await;
    let address = format!("{}/base?key=k1", server.url());
    let mut scene = Scene::new(ProviderKind::Http, &address, &[("token", "s3cret")]);
    scene.provider.headers.insert("X-Team".into(), vec!["one".into()]);
    assert_eq!(scene.ask("/stats?app=web%26x&last=60s#/data/0/a~1b/c%20d\n").await, Ok(1.5));
    let asked = server.asked().await;
    assert_eq!(asked.line(), "GET /base/stats");
    let query = asked.query();
    let parts = ["key", "app", "last"].map(|name| query[name].as_str());
    assert_eq!((parts, query.len()), (["k1", "web&x", "60s"], 3));
    assert_eq!((asked.header("authorization"), asked.header("x-team")), ("Bearer s3cret", "one"));
    assert_eq!((asked.body.as_str(), asked.headers.contains_key("content-type")), ("", false));

    assert_eq!(scene.ask("POST /search#/data/0/a~1b/c d\n{\"app\": \"web\",\n \"last\": 60}\n").await, Ok(1.5));
    let asked = server.asked().await;
    assert_eq!((asked.line().as_str(), asked.body.as_str()), ("POST /base/search", r#"{"app":"web","last":60}"#));
    assert_eq!(asked.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_number_is_a_number_or_text_of_one() {
    for (query, body, value) in [
        ("/x", "4", Ok(4.0)),
        ("GET /x#/a/b", r#"{"a":{"b":-1.5e3}}"#, Ok(-1500.0)),
        ("/x#/a", r#"{"a":" 0.5 "}"#, Ok(0.5)),
        ("/x#/a", r#"{"a":null}"#, Err(MetricError::NoValue)),
        ("/x#/a", r#"{"a":"NaN"}"#, Err(MetricError::NoValue)),
    ] {
        assert_eq!(read(scene, query, body).await, value, "{query} {body}");
    }
    for (body, part) in [
        (r#"{"b":1}"#, r#"its answer has nothing at "/a""#),
        (r#"{"a":[1,2]}"#, "answered [1,2], which is no number"),
        (r#"{"a":true}"#, "answered true, which is no number"),
        (r#"{"a":"high"}"#, r#"answered "high", which is no number"#),
    ] {
        let reason = reason(read(scene, "/x#/a", body).await);
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn a_query_of_another_form_is_refused_before_anybody_is_asked() {
    let server = Server::start(Reply::ok("1")).await;
    for query in
        ["", "x", "PUT /x", "DELETE /x", "GET x", "http://elsewhere/x", "/x#a", "/x\n{}", "POST /x\n{", "GET /x\n1"]
    {
        let reason = reason(scene(&server.url()).ask(query).await);
        assert!(reason.contains("the query"), "{query}: {reason}");
    }
    assert!(server.was_not_asked().await);
    // Two slashes are a path, not another host.
    assert_eq!(scene(&server.url()).ask("//elsewhere/x").await, Ok(1.0));
    assert_eq!(server.asked().await.path, "//elsewhere/x");
}
