//! The cookie that is issued, through the SDK's dispatcher: on which answers it is set, and on which it is not.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::{Exchange, Proxy, host};

const CONFIG: &str = r#"{"canaries":[{"namespace":"prod","name":"web","weight":50,
    "match":[{"headers":{"x-beta":{"exact":"yes"}}}],
    "sticky":{"issuedCookie":{"cookieName":"serin-user","path":"/","httpOnly":true,"sameSite":"Lax"}}}]}"#;
const ATTRIBUTES: &str = "; Max-Age=86400; Path=/; SameSite=Lax; HttpOnly";

fn ask(proxy: &mut Proxy, headers: &[(&str, &str)]) -> Exchange {
    let mut all = vec![(":authority", "web"), (":path", "/")];
    all.extend(headers);
    proxy.request(&all)
}

/// All cookies that an answer sets.
fn cookies(exchange: &Exchange, answer: &[(&str, &str)]) -> Vec<String> {
    exchange.respond(answer);
    let values = |host: &mut host::Host| {
        let found = host.response.iter().filter(|(name, _)| name == b"set-cookie");
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
    };
    host(values)
}

#[test]
fn a_new_user_gets_one_and_stays_with_it() {
    let mut proxy = Proxy::start(CONFIG);
    let mut on_canary = 0;
    for _ in 0..200 {
        let first = ask(&mut proxy, &[]);
        let side = host::decision_headers();
        let set = cookies(&first, &[(":status", "200")]);
        first.end();
        let [only] = set.as_slice() else { panic!("{set:?}") };
        let pair = only.strip_suffix(ATTRIBUTES).unwrap();
        let id = pair.strip_prefix("serin-user=").unwrap();
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        for _ in 0..3 {
            let again = ask(&mut proxy, &[("cookie", &format!("a=b; {pair}"))]);
            assert_eq!(host::decision_headers(), side);
            assert_eq!(cookies(&again, &[(":status", "200")]), [""; 0], "who has one is not given another");
            again.end();
        }
        on_canary += usize::from(side == ["web-canary"]);
    }
    assert!((60..140).contains(&on_canary), "{on_canary} of 200 at 50 %");
}

#[test]
fn every_kind_of_answer_carries_it_beside_the_services_own() {
    let mut proxy = Proxy::start(CONFIG);
    for answer in [
        &[(":status", "200"), ("set-cookie", "theme=dark")][..],
        &[(":status", "200"), ("content-type", "text/event-stream")],
        &[(":status", "200"), ("content-type", "application/grpc")],
        &[(":status", "200"), ("content-length", "1073741824")],
        &[(":status", "503")],
    ] {
        let exchange = ask(&mut proxy, &[]);
        let own = answer.iter().filter(|(name, _)| *name == "set-cookie").count();
        let set = cookies(&exchange, answer);
        assert_eq!(set.len(), own + 1, "{set:?}");
        assert!(set.last().unwrap().starts_with("serin-user="), "{set:?}");
        exchange.end();
    }
}

#[test]
fn an_answer_that_a_shared_cache_may_keep_carries_none() {
    let mut proxy = Proxy::start(CONFIG);
    let mut given = |answer: &[(&str, &str)]| {
        let exchange = ask(&mut proxy, &[]);
        let set = cookies(&exchange, answer);
        exchange.end();
        let control = |(name, value): &(Vec<u8>, Vec<u8>)| {
            (name == b"cache-control").then(|| String::from_utf8_lossy(value).into_owned())
        };
        (set.len(), host(|host| host.response.iter().filter_map(control).collect::<Vec<String>>()))
    };
    let kept = [
        &[(":status", "200"), ("cache-control", "public")][..],
        &[(":status", "404"), ("cache-control", "no-cache"), ("cache-control", "S-MaxAge=1")],
        &[(":status", "302"), ("cache-control", "max-age=60")],
        &[(":status", "200"), ("cache-control", "private"), ("cdn-cache-control", "max-age=60")],
        &[(":status", "200"), ("date", "Mon, 30 Nov 2026 13:00:00 GMT"), ("expires", "Mon, 30 Nov 2026 13:05:00 GMT")],
    ];
    for answer in kept {
        let own: Vec<&str> =
            answer.iter().filter(|(name, _)| *name == "cache-control").map(|(_, value)| *value).collect();
        let (cookies, control) = given(answer);
        assert_eq!((cookies, control), (0, own.into_iter().map(str::to_owned).collect()), "{answer:?} is as it was");
    }
    for answer in
        [&[(":status", "200"), ("cache-control", "no-store")][..], &[(":status", "503")], &[(":status", "302")]]
    {
        let (cookies, control) = given(answer);
        assert!(cookies == 1 && !control.contains(&"private".into()), "{answer:?} needs no mark: {control:?}");
    }
    for answer in
        [&[(":status", "200")][..], &[(":status", "301")], &[(":status", "200"), ("cache-control", "no-cache")]]
    {
        let (cookies, control) = given(answer);
        assert!(cookies == 1 && control.last().is_some_and(|last| last == "private"), "{answer:?}: {control:?}");
    }
}

#[test]
fn who_was_not_placed_by_the_split_gets_none() {
    let mut proxy = Proxy::start(CONFIG);
    for (authority, header) in
        [("other", ("x", "y")), ("web", ("x-beta", "yes")), ("web", ("cookie", "serin-user=%00"))]
    {
        let exchange = proxy.request(&[(":authority", authority), (":path", "/"), header]);
        assert_eq!(cookies(&exchange, &[(":status", "200")]), [""; 0], "{authority} {header:?}");
        exchange.end();
    }
    host(|host| host.raw_pairs = Some(vec![9, 0, 0, 0, 0]));
    let unreadable = ask(&mut proxy, &[]);
    host(|host| host.raw_pairs = None);
    assert_eq!(cookies(&unreadable, &[(":status", "200")]), [""; 0]);
    host(|host| host.failing.insert("replace_header", 2));
    for _ in 0..20 {
        let exchange = ask(&mut proxy, &[]);
        let is_primary = host::decision_headers().is_empty();
        let set = cookies(&exchange, &[(":status", "200")]);
        assert!(is_primary && set.len() <= 1, "{set:?}");
        exchange.end();
    }
}

#[test]
fn an_answer_that_cannot_be_read_gets_none() {
    let mut proxy = Proxy::start(CONFIG);
    let exchange = ask(&mut proxy, &[]);
    host(|host| host.raw_pairs = Some(vec![9, 0, 0, 0, 0]));
    assert_eq!(cookies(&exchange, &[(":status", "200")]), [""; 0]);
    host(|host| host.raw_pairs = None);
    exchange.end();
}

#[test]
fn a_host_that_adds_no_header_costs_the_cookie_only() {
    let mut proxy = Proxy::start(CONFIG);
    host(|host| host.failing.insert("add_header", 2));
    let exchange = ask(&mut proxy, &[]);
    assert_eq!(cookies(&exchange, &[(":status", "200")]), [""; 0]);
    exchange.end();
    proxy.tick();
    assert_eq!(host(|host| host.metric("serin.faults;kind=host")), 1);
}

#[test]
fn a_cookie_that_would_say_more_is_refused() {
    for part in [
        r#""cookieName":"a=b""#,
        r#""cookieName":"a","path":"/;x""#,
        r#""cookieName":"a","domain":"x\r\ny""#,
        r#""cookieName":"a","maxAge":0"#,
    ] {
        let config =
            format!(r#"{{"canaries":[{{"namespace":"prod","name":"web","sticky":{{"issuedCookie":{{{part}}}}}}}]}}"#);
        Proxy::start(&config);
        assert_eq!(host(|host| host.logged("canaries[0].sticky.issuedCookie")), 1, "{part}");
    }
}
