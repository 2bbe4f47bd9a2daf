//! One request through the SDK's dispatcher: routed, marked, counted; and what hostile clients cannot do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::{Proxy, host, set_end};

/// Rules only: nothing but a rule reaches the canary.
const RULES: &str = r#"{"canaries":[{"namespace":"prod","name":"web","weight":0,"match":[
    {"headers":{"X-Beta":{"exact":"yes"}}},
    {"cookies":{"type":{"exact":"insider"}}},
    {"query":{"beta":{"present":true}}, "path":{"prefix":"/shop"}}
]}]}"#;

fn with(part: &str) -> String {
    format!(r#"{{"canaries":[{{"namespace":"prod","name":"web",{part}}}]}}"#)
}

#[test]
fn a_rule_sets_the_header_and_the_default_route_needs_none() {
    let mut proxy = Proxy::start(RULES);
    assert_eq!(proxy.decision(&[("x-beta", "yes")]), ["web-canary"]);
    assert_eq!(proxy.decision(&[("cookie", "a=b; type=insider")]), ["web-canary"]);
    assert_eq!(proxy.decision(&[]), [""; 0]);
    assert_eq!(host(|host| host.called("remove_header")), 0, "nothing was sent, so nothing is removed");
    proxy.request(&[(":authority", "web.prod:80"), (":path", "/shop/cart?beta=1")]);
    assert_eq!(host::decision_headers(), ["web-canary"]);
}

#[test]
fn primary_is_named_when_it_is_not_the_routes_default() {
    let config = RULES.replacen('{', r#"{"defaultUpstreams":{"prod/web":"web-canary"},"#, 1);
    let mut proxy = Proxy::start(&config);
    assert_eq!(proxy.decision(&[]), ["web-primary"]);
    assert_eq!(proxy.decision(&[("x-beta", "yes")]), [""; 0], "the default route serves the canary");
}

#[test]
fn a_client_cannot_choose_by_sending_the_decision_header() {
    let mut proxy = Proxy::start(RULES);
    let spoofed = ("x-serin-upstream", "web-canary");
    assert_eq!(proxy.decision(&[spoofed]), [""; 0]);
    assert_eq!(proxy.decision(&[spoofed, spoofed]), [""; 0]);
    assert_eq!(proxy.decision(&[("x-serin-upstream", "x"), spoofed, ("x-beta", "yes")]), ["web-canary"]);
    proxy.request(&[(":authority", "other"), (":path", "/"), spoofed]);
    assert_eq!(host::decision_headers(), [""; 0], "out of scope");
    let mut bare = Proxy::start("");
    assert_eq!(bare.decision(&[spoofed]), [""; 0], "no table at all");
}

#[test]
fn another_decision_header_may_be_named() {
    let mut proxy = Proxy::start(&RULES.replacen('{', r#"{"decisionHeader":"x-to","#, 1));
    proxy.request(&[(":authority", "web"), (":path", "/"), ("x-beta", "yes"), ("x-to", "spoof")]);
    let to: Vec<_> = host(|host| host.request.iter().filter(|(name, _)| name == b"x-to").cloned().collect());
    assert_eq!(to, [(b"x-to".to_vec(), b"web-canary".to_vec())]);
}

#[test]
fn weight_and_stickiness_split_requests() {
    let mut proxy = Proxy::start(&with(r#""weight":25"#));
    let count = (0..4000).filter(|_| proxy.decision(&[]) == ["web-canary"]).count();
    assert!((850..1150).contains(&count), "{count} of 4000 at 25 %");
    let mut proxy = Proxy::start(&with(r#""weight":50,"sticky":{"header":"X-User"}"#));
    for user in ["ana", "bob", "eve", "joe"] {
        let first = proxy.decision(&[("x-user", user)]);
        assert!((0..20).all(|_| proxy.decision(&[("x-user", user)]) == first), "{user} stays");
    }
}

#[test]
fn the_clients_address_is_read_only_when_a_split_needs_it() {
    let mut proxy = Proxy::start(&with(r#""weight":50,"sticky":{"cookie":"id"}"#));
    proxy.decision(&[]);
    assert_eq!(host(|host| host.called("address")), 0);
    let mut proxy = Proxy::start(&with(r#""weight":50,"sticky":{"clientAddress":true}"#));
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        let mut at = |port: u32| {
            let value = format!("{address}:{port}").into_bytes();
            host(|host| host.properties.insert("source\0address".into(), value));
            proxy.decision(&[])
        };
        let first = at(1000);
        assert!((1001..1020).all(|port| at(port) == first), "{address} stays, whatever its port");
    }
    assert!(host(|host| host.called("address")) > 0);
}

#[test]
fn hostile_headers_pass_and_do_no_harm() {
    let long = vec![b'x'; 65_536];
    let base: host::Pairs = vec![(b":authority".to_vec(), b"web".to_vec()), (b":path".to_vec(), b"/".to_vec())];
    let mut proxy = Proxy::start(RULES);
    for (name, value) in [
        (&b""[..], &b""[..]),
        (b"x-beta", b""),
        (b"", b"yes"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"cookie", b"\xff=\xfe; type=\xff; ;;==;="),
        (b"x-beta", &long),
        (&long, b"yes"),
        (b"cookie", &long),
        (b":path", b"?"),
        (b":authority", b"[:"),
        (b"x-serin-upstream", b"\xff\r\n"),
        (b"x-serin-upstream", &long),
    ] {
        let mut headers = base.clone();
        headers.extend(std::iter::repeat_n((name.to_vec(), value.to_vec()), 3));
        proxy.raw_request(headers.clone()).end();
        assert_eq!(host::decision_headers(), [""; 0]);
        headers.retain(|(name, _)| name != b"x-serin-upstream");
        assert_eq!(host(|host| host.request.clone()), headers, "the rest is left as it was");
    }
    proxy.raw_request(Vec::new()).end();
    proxy.raw_request(vec![base[0].clone(); 5000]).end();
    host(|host| host.request.clear());
    assert_eq!(proxy.decision(&[("x-beta", "yes")]), ["web-canary"], "and the filter works on");
}

#[test]
fn pairs_that_do_not_hold_what_they_announce_are_a_fault() {
    let mut proxy = Proxy::start(RULES);
    for raw in [&[1][..], &[255, 255, 255, 255], &[1, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 1], &[9, 0, 0, 0, 0]] {
        host(|host| host.raw_pairs = Some(raw.to_vec()));
        assert_eq!(proxy.decision(&[("x-serin-upstream", "web-canary")]), [""; 0]);
    }
    proxy.tick();
    assert_eq!(host(|host| host.metric("serin.faults;kind=requests")), 4);
}

/// Sends one request through and returns how it was counted: requests, void, and failures by class.
/// With a grpc-status among `trailers` it asks for gRPC.
fn counted(response: Option<&[(&str, &str)]>, trailers: &[(&str, &str)], flags: u64, attempts: Option<u64>) -> String {
    let mut proxy = Proxy::start(RULES);
    set_end(flags, attempts);
    let grpc = [("content-type", "application/grpc")];
    let kind = if trailers.is_empty() { &[][..] } else { &grpc };
    let exchange = proxy.request(&[&[(":authority", "web"), (":path", "/"), ("x-beta", "yes")], kind].concat());
    host(|host| host.now_us += 12_000);
    if let Some(response) = response {
        exchange.respond(response).trailers(trailers);
    }
    exchange.end();
    let of = "canary=prod/web;version=canary";
    host(|host| {
        let ids = host.metrics.iter().filter(|(_, name, value)| name.contains(of) && *value > 0);
        let names = ids.map(|(_, name, value)| format!("{}={value}", name.replace(&format!(";{of}"), "")));
        names.collect::<Vec<_>>().join(" ").replace("serin.", "")
    })
}

#[test]
fn each_end_is_counted_as_what_it_is() {
    let ok: &[(&str, &str)] = &[(":status", "200")];
    let error: &[(&str, &str)] = &[(":status", "503")];
    let grpc: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];
    // Flags and attempts as Envoy 1.40 reports them.
    for (response, trailers, flags, attempts, expected) in [
        (Some(ok), &[][..], 0, Some(1), "requests=1 latency_ms=12"),
        (Some(error), &[], 0, Some(1), "failures;class=5xx=1 requests=1 latency_ms=12"),
        (Some(error), &[], 32, Some(1), "failures;class=unavailable=1 requests=1 latency_ms=12"),
        (Some(error), &[], 2, Some(1), "failures;class=unavailable=1 requests=1 latency_ms=12"),
        (Some(error), &[], 1 << 24, Some(0), "failures;class=unavailable=1 requests=1 latency_ms=12"),
        (Some(error), &[], 4, Some(1), "failures;class=timeout=1 requests=1 latency_ms=12"),
        (Some(ok), &[], 1 << 23, Some(1), "failures;class=reset=1 requests=1 latency_ms=12"),
        (Some(ok), &[], 0, Some(2), "failures;class=retried=1 requests=1 latency_ms=12"),
        (Some(ok), &[], 0, Some(0), "void=1"),
        (Some(ok), &[], 0, None, "void=1"),
        (None, &[], 1 << 14, Some(1), "void=1"),
        (Some(grpc), &[("grpc-status", "14")], 0, Some(1), "failures;class=grpc=1 requests=1 latency_ms=12"),
        (Some(grpc), &[("grpc-status", "5")], 0, Some(1), "requests=1 latency_ms=12"),
    ] {
        assert_eq!(counted(response, trailers, flags, attempts), expected, "{response:?} {flags} {attempts:?}");
    }
}

/// How one gRPC-Web call is counted whose answer has this type and these parts of a body, on a canary whose primary has
/// answered such a call with a status before.
fn web_call(kind: &str, body: &[&[u8]]) -> String {
    coded_web_call(kind, "identity", body)
}

fn coded_web_call(kind: &str, coding: &str, body: &[&[u8]]) -> String {
    let mut proxy = Proxy::start(RULES);
    set_end(0, Some(1));
    let answer = |proxy: &mut Proxy, headers: &[(&str, &str)], kind: &str, body: &[&[u8]]| {
        let asks = [(":authority", "web"), (":path", "/"), ("content-type", "application/grpc-web+proto")];
        let exchange = proxy.request(&[&asks[..], headers].concat());
        exchange.respond(&[(":status", "200"), ("content-type", kind), ("content-encoding", coding)]);
        body.iter().for_each(|part| {
            exchange.bytes(part);
        });
        exchange.end();
    };
    answer(&mut proxy, &[], "application/grpc-web+proto", &[OK_FRAME]);
    answer(&mut proxy, &[("x-beta", "yes")], kind, body);
    let of = |what: &str, class: &str| {
        host(|host| host.metric(&format!("serin.{what};canary=prod/web;version=canary{class}")))
    };
    format!("{} {} {}", of("requests", ""), of("failures", ";class=grpc"), of("void", ""))
}

const OK_FRAME: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";
const FAILED_FRAME: &[u8] = b"\x80\0\0\0\x10grpc-status:13\r\n";

#[test]
fn a_grpc_web_call_is_judged_by_the_status_in_its_body() {
    let binary = "application/grpc-web+proto";
    let (ok, failed, void) = ("1 0 0", "1 1 0", "0 0 1");
    assert_eq!(web_call(binary, &[b"\0\0\0\0\x02hi", OK_FRAME]), ok);
    assert_eq!(web_call(binary, &[b"\0\0\0\0\x02hi", FAILED_FRAME]), failed);
    let whole = [&b"\0\0\0\0\x02hi"[..], FAILED_FRAME].concat();
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(web_call(binary, &bytes), failed, "in the smallest parts");
    // "gAAAABBncnBjLXN0YXR1czoxMw0K" is the failed frame.
    assert_eq!(web_call("application/grpc-web-text+proto", &[b"gAAAABBncnBj", b"LXN0YXR1czoxMw0K"]), failed);
    assert_eq!(web_call("text/html", &[b"<html>hello</html>"]), failed, "an answer without a status");
    assert_eq!(web_call(binary, &[b"\x81\0\0\0\x02??"]), void, "compressed trailers say nothing");
    assert_eq!(coded_web_call(binary, "gzip", &[b"\x1f\x8b\x08\0\0\0\0\0"]), void, "nor does a compressed body");
}

/// How a call to the canary is counted, by method, the type that it asks with, and its answer's headers, body and trailers;
/// the primary has answered one with a status before, or has not.
fn call(
    speaks: bool,
    [method, kind]: [&str; 2],
    answer: &[(&str, &str)],
    body: &[u8],
    trailers: &[(&str, &str)],
) -> String {
    let mut proxy = Proxy::start(RULES);
    set_end(0, Some(1));
    let asks = [(":authority", "web"), (":path", "/"), (":method", method), ("content-type", kind)];
    if speaks {
        proxy.request(&asks).respond(&[(":status", "200"), ("grpc-status", "0")]).end();
    }
    proxy.request(&[&asks[..], &[("x-beta", "yes")]].concat()).respond(answer).bytes(body).trailers(trailers).end();
    let of = |what: &str, class: &str| {
        host(|host| host.metric(&format!("serin.{what};canary=prod/web;version=canary{class}")))
    };
    format!("{} {} {}", of("requests", ""), of("failures", ";class=grpc"), of("void", ""))
}

#[test]
fn a_call_is_one_because_its_request_says_so() {
    let (ok, failed) = ("1 0 0", "1 1 0");
    let status = |status: &'static str| [(":status", status), ("content-type", "application/json")];
    let native =
        [["POST", "application/grpc+json"], ["GET", "application/grpc"], ["PUT", "application/grpc;charset=x"]];
    for asks in native {
        for (answer, trailers, expected) in [
            (&status("200")[..], &[][..], failed),
            (&status("204"), &[], failed),
            (&status("302"), &[], failed),
            (&status("429"), &[], failed),
            (&status("200"), &[("grpc-status", "")], failed),
            (&status("200"), &[("grpc-status", "12")], failed),
            (&status("200"), &[("grpc-status", "0")], ok),
            (&[(":status", "200"), ("grpc-status", "16")], &[], ok),
            (&[(":status", "200"), ("grpc-status", "0")], &[("grpc-status", "14")], failed),
        ] {
            assert_eq!(call(true, asks, answer, b"", trailers), expected, "{asks:?} {answer:?} {trailers:?}");
        }
        assert_eq!(call(false, asks, &status("200"), b"", &[]), ok, "nobody is known to speak it");
        assert_eq!(call(false, asks, &status("200"), b"", &[("grpc-status", "13")]), failed, "this one does");
    }
    let text = b"gAAAAA9ncnBjLXN0YXR1czowDQo=";
    for asks in [["POST", "application/grpc-web-text+proto"], ["POST", "application/grpc-web-text"]] {
        for (answer, body, expected) in [
            (&status("200")[..], &text[..], ok),
            (&status("200"), &text[..20], failed),
            (&status("404"), b"not here", failed),
            (&[(":status", "200"), ("grpc-status", "13")], b"", failed),
            (&[(":status", "200"), ("grpc-status", "7")], b"", ok),
        ] {
            assert_eq!(call(true, asks, answer, body, &[]), expected, "{asks:?} {answer:?} {body:?}");
        }
    }
    // Any other request is none, whatever its answer says.
    for asks in [["POST", "application/json"], ["GET", "text/grpc"], ["HEAD", "application/x-grpc"]] {
        assert_eq!(call(true, asks, &status("404"), b"", &[("grpc-status", "13")]), ok, "{asks:?}");
    }
}

#[test]
fn the_weight_in_force_is_shown() {
    let proxy = Proxy::start(&with(r#""weight":12.5"#));
    proxy.tick();
    assert_eq!(host(|host| host.metric("serin.weight_ppm;canary=prod/web")), 125_000);
    assert_eq!(host(|host| host.metric("serin.bad_config")), 0);
}
