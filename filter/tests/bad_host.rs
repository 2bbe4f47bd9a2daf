//! Every status that a host could answer, at every call the filter makes: no panic, no blocked request, and no request
//! that a client routed by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::{Proxy, host, open_stream};
use rollout::worker::messages::{PROTOCOL, ToWorker};

const CONFIG: &str = r#"{"agent":"a:1","canaries":[
    {"namespace":"prod","name":"web","weight":50,"sticky":{"clientAddress":true},"match":[{"headers":{"x-beta":{"exact":"yes"}}}]}
]}"#;

/// Statuses 1 to 12 are the ABI's; the others are none.
const STATUSES: [u32; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99, u32::MAX];

const CALLS: [&str; 22] = [
    "log",
    "request_headers",
    "response_headers",
    "response_trailers",
    "replace_header",
    "remove_header",
    "flags",
    "attempts",
    "address",
    "node",
    "config",
    "message",
    "tick_every",
    "clock",
    "random",
    "open_stream",
    "send",
    "close",
    "cancel",
    "define_metric",
    "add_metric",
    "record_metric",
];

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// Everything the filter does, with `call` failing from the first moment or once all is set up.
fn live(call: &'static str, status: u32, from_start: bool) -> Proxy {
    let failing = [(call, status)];
    let mut proxy = Proxy::start_failing(CONFIG, if from_start { &failing } else { &[] });
    host(|host| host.properties.insert("source\0address".into(), b"10.0.0.1:1".to_vec()));
    proxy.tick();
    if let Some((token, _)) = open_stream() {
        proxy.receive(token, &ToWorker::Welcome(PROTOCOL));
    }
    host(|host| host.failing.insert(call, status));
    for _ in 0..3 {
        let exchange = proxy.request(&[(":authority", "web"), (":path", "/"), ("x-beta", "yes"), GRPC]);
        exchange.respond(&[(":status", "200"), ("content-type", "application/grpc")]);
        exchange.trailers(&[("grpc-status", "0")]).end();
        proxy.request(&[(":authority", "other"), (":path", "/"), ("x-serin-upstream", "spoof")]).end();
        proxy.tick_after(1_000);
    }
    if let Some((token, _)) = open_stream() {
        proxy.receive(token, &ToWorker::Stored(1));
        proxy.close(token, 14);
    }
    proxy.configure("nonsense");
    proxy.tick_after(20_000);
    proxy
}

#[test]
fn no_status_of_any_call_does_harm() {
    for call in CALLS {
        for status in STATUSES {
            for from_start in [true, false] {
                let mut proxy = live(call, status, from_start);
                let called = host(|host| host.called(call));
                assert!(called > 0 || call == "cancel" && from_start, "{call} was never made");
                host(|host| host.failing.clear());
                let routed = proxy.decision(&[("x-beta", "yes")]);
                let is_known = !(call == "config" && from_start);
                assert_eq!(routed == ["web-canary"], is_known, "{call} {status}: and then the filter works on");
            }
        }
    }
}

#[test]
fn a_host_where_everything_fails_is_survived() {
    let all: Vec<_> = CALLS.iter().map(|call| (*call, 2)).collect();
    let mut proxy = Proxy::start_failing(CONFIG, &all);
    proxy.tick_after(1_000);
    proxy.request(&[(":authority", "web"), (":path", "/")]).respond(&[(":status", "200")]).end();
    proxy.tick_after(1_000);
    proxy.finish();
}

#[test]
fn a_header_that_cannot_be_set_lets_no_spoofed_one_through_and_is_not_counted() {
    let mut proxy = Proxy::start(CONFIG);
    host(|host| host.failing.insert("replace_header", 2));
    assert_eq!(proxy.decision(&[("x-beta", "yes"), ("x-serin-upstream", "web-canary")]), [""; 0]);
    proxy.tick();
    assert_eq!(host(|host| host.metric("serin.faults;kind=requests")), 1);
    assert_eq!(host(|host| host.metric("serin.requests;canary=prod/web;version=canary")), 0);
}

#[test]
fn an_answer_that_cannot_be_read_says_nothing_about_the_version() {
    for call in ["response_headers", "flags", "attempts"] {
        let mut proxy = Proxy::start(CONFIG);
        host(|host| host.failing.insert(call, 10));
        let exchange = proxy.request(&[(":authority", "web"), (":path", "/"), ("x-beta", "yes"), GRPC]);
        exchange.respond(&[(":status", "500")]).end();
        proxy.tick();
        let (faults, requests) = host(|host| {
            let requests = host.metrics.iter().any(|(_, name, _)| name.starts_with("serin.requests"));
            (host.metric("serin.faults;kind=requests"), requests)
        });
        assert_eq!((faults, requests), (1, false), "{call}");
    }
}

#[test]
fn without_random_bytes_the_agent_is_left_alone() {
    let proxy = Proxy::start_failing(CONFIG, &[("random", 8)]);
    proxy.tick_after(1_000);
    assert!(open_stream().is_none(), "an incarnation that is not unique would spoil another's counts");
    assert_eq!(host(|host| host.logged("host random source unavailable")), 1);
}
