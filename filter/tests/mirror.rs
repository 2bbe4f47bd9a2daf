//! Mirroring through the SDK's dispatcher: who is copied, and how copies are counted in the canary's cluster.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::{Exchange, Proxy, host, request_headers};

const MIRROR: &str = "x-serin-mirror";
const COPY: &[(&str, &str)] = &[(":authority", "web-shadow:80"), (":path", "/"), (MIRROR, "web-canary")];

fn config(weight: f64, mirror: f64) -> String {
    format!(
        r#"{{"canaries":[{{"namespace":"prod","name":"web","weight":{weight},"mirrorWeight":{mirror},
            "match":[{{"headers":{{"x-beta":{{"exact":"yes"}}}}}}]}}]}}"#
    )
}

/// Where the request and its copy go.
fn ways(proxy: &mut Proxy, header: (&str, &str)) -> (Vec<String>, Vec<String>) {
    proxy.request(&[(":authority", "web"), (":path", "/"), header]).end();
    (host::decision_headers(), request_headers(MIRROR))
}

#[test]
fn a_share_of_the_primarys_requests_is_copied_and_none_of_the_canarys() {
    let mut proxy = Proxy::start(&config(30.0, 50.0));
    let ways: Vec<_> = (0..2_000).map(|_| ways(&mut proxy, ("x", "y"))).collect();
    let on_primary: Vec<_> = ways.iter().filter(|(decision, _)| decision.is_empty()).collect();
    let copied = on_primary.iter().filter(|(_, mirror)| *mirror == ["web-canary"]).count();
    let share = copied as f64 / on_primary.len() as f64;
    assert!((0.43..0.57).contains(&share), "{copied} of {}", on_primary.len());
    assert!(ways.iter().filter(|(decision, _)| !decision.is_empty()).all(|(_, mirror)| mirror.is_empty()));
}

#[test]
fn nobody_can_ask_for_a_copy() {
    let mut off = Proxy::start(&config(0.0, 0.0));
    assert_eq!(ways(&mut off, (MIRROR, "web-canary")).1, [""; 0]);
    let mut all = Proxy::start(&config(0.0, 100.0));
    assert_eq!(ways(&mut all, (MIRROR, "x")).1, ["web-canary"]);
    assert_eq!(ways(&mut all, ("x-beta", "yes")), (vec!["web-canary".to_owned()], vec![]));
    all.request(&[(":authority", "other"), (":path", "/"), (MIRROR, "web-canary")]);
    assert_eq!(request_headers(MIRROR), [""; 0], "out of scope");
    host(|host| host.raw_pairs = Some(vec![9, 0, 0, 0, 0]));
    assert_eq!(ways(&mut all, (MIRROR, "web-canary")).1, [""; 0], "unreadable");
    let mut named = Proxy::start(&config(0.0, 100.0).replacen('{', r#"{"mirrorHeader":"x-copy","#, 1));
    named.request(&[(":authority", "web"), (":path", "/")]);
    assert_eq!(request_headers("x-copy"), ["web-canary"]);
}

/// How copies were counted, after `each` of them.
fn counted(config: &str, each: &[fn(&Exchange)]) -> String {
    counted_as(COPY, config, each)
}

/// The same for copies with these headers.
fn counted_as(headers: &[(&str, &str)], config: &str, each: &[fn(&Exchange)]) -> String {
    let router = Proxy::start(config);
    let mut cluster = router.beside(r#"{"copiesTo":"web-canary"}"#);
    for act in each {
        let copy = cluster.upload(headers);
        act(&copy);
        copy.end_unlogged();
    }
    host(|host| {
        let of = ";canary=prod/web;version=mirrored";
        let counters = host.metrics.iter().filter(|(_, name, _)| name.contains(of) && !name.contains("latency"));
        let shown = counters.map(|(_, name, value)| format!("{}={value}", name.replace(of, "").replace("serin.", "")));
        shown.collect::<Vec<_>>().join(" ")
    })
}

#[test]
fn each_end_of_a_copy_is_counted_as_what_it_is() {
    for (act, expected) in [
        (
            (|copy| {
                copy.sends(true).respond(&[(":status", "200")]).body(true);
            }) as fn(&Exchange),
            "requests=1",
        ),
        (
            |copy| {
                copy.respond(&[(":status", "503")]).body(true);
            },
            "failures;class=5xx=1 requests=1",
        ),
        (
            |copy| {
                copy.sends(true);
            },
            "failures;class=reset=1 requests=1",
        ),
        (
            |copy| {
                copy.sends(true).respond(&[(":status", "200")]).body(false);
            },
            "failures;class=reset=1 requests=1",
        ),
        (
            |copy| {
                copy.sends(false);
            },
            "void=1",
        ),
    ] {
        assert_eq!(counted(&config(0.0, 100.0), &[act]), expected);
    }
    let grpc = [COPY, &[("content-type", "application/grpc")]].concat();
    for (status, expected) in [("13", "failures;class=grpc=1 requests=1"), ("0", "requests=1")] {
        let act: fn(&Exchange) = match status {
            "13" => |copy| {
                copy.sends(true).respond(&[(":status", "200")]).trailers(&[("grpc-status", "13")]);
            },
            _ => |copy| {
                copy.sends(true).respond(&[(":status", "200")]).trailers(&[("grpc-status", "0")]);
            },
        };
        assert_eq!(counted_as(&grpc, &config(0.0, 100.0), &[act]), expected);
    }
}

#[test]
fn without_a_mirroring_split_nothing_is_a_copy() {
    assert_eq!(
        counted(
            &config(50.0, 0.0),
            &[|copy| {
                copy.sends(true);
            }]
        ),
        "",
        "nothing is mirrored"
    );
}

#[test]
fn users_own_requests_and_other_clusters_copies_are_not_counted() {
    let router = Proxy::start(&config(50.0, 100.0));
    let mut cluster = router.beside(r#"{"copiesTo":"web-canary"}"#);
    let mut other = router.beside_at(600_000, r#"{"copiesTo":"web-primary"}"#);
    cluster.request(&[(":authority", "web"), (":path", "/")]).end_unlogged();
    other.request(COPY).end_unlogged();
    assert!(host(|host| host.metrics.iter().all(|(_, name, _)| !name.contains("mirrored"))));
    router.tick();
    assert_eq!(host(|host| host.metric("serin.faults;kind=requests")), 0);
}

#[test]
fn copies_of_a_vm_without_a_router_pass() {
    let mut alone = Proxy::start(r#"{"copiesTo":"web-canary"}"#);
    alone.request(COPY).respond(&[(":status", "200")]).end_unlogged();
    assert_eq!(host(|host| host.logs.len()), 0);
    for bad in [r#"{"copiesTo":"web canary"}"#, r#"{"copiesTo":"web-canary","agent":"x:1"}"#, r#"{"copiesTo":1}"#] {
        Proxy::start(bad);
        assert_eq!(host(|host| host.logged("configuration refused")), 1, "{bad}");
    }
}

#[test]
fn the_two_headers_have_different_names() {
    Proxy::start(r#"{"decisionHeader":"x-serin-mirror"}"#);
    assert_eq!(host(|host| host.logged("mirrorHeader: is also decisionHeader")), 1);
}
