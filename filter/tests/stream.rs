//! The stream to the agent, from the first tick to the end of the plugin, as the agent and a hostile one would drive it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::agent::{self, WITH_AGENT, connected, reports, web};
use host::{Proxy, host, open_stream, sent};
use proto::limits::MAX_TO_WORKER_BYTES;
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::routing::table::{Entry, Epoch, WeightPpm};
use rollout::worker::messages::{PROTOCOL, ToAgent, ToWorker};

fn entry(epoch: u64, weight_ppm: u32) -> ToWorker {
    agent::entry(epoch, |split| {
        split.weight = WeightPpm::new(weight_ppm).unwrap();
        split.rules =
            vec![MatchRule { headers: vec![("x-beta".into(), StringMatch::Present)], ..MatchRule::default() }];
    })
}

#[test]
fn nothing_leaves_before_the_first_tick_and_hello_is_first() {
    let proxy = Proxy::start(r#"{"agent":"127.0.0.1:7070","defaultUpstreams":{"prod/web":"web-b"}}"#);
    assert_eq!(host(|host| host.called("open_stream")), 0, "Envoy tries every configuration in a throw-away VM");
    proxy.tick();
    let (token, stream) = open_stream().unwrap();
    assert_eq!(stream.path, "serin.fleet.v1.Fleet/Connect");
    let said = sent(token);
    let [ToAgent::Hello(hello)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((hello.node.as_str(), hello.cluster.as_str()), ("edge-1", "edge"));
    assert_eq!(hello.protocol, PROTOCOL);
    assert_eq!(hello.default_upstreams[0].1.as_str(), "web-b");
    assert_eq!(hello.filter_version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn an_address_needs_no_cluster() {
    let open = |config: &str| {
        Proxy::start(config).tick();
        open_stream().unwrap().1
    };
    // Field 8 channel_args { 1 args, each { 1 key, 2 value { 2 int_value } } }: without them the channel waits for minutes.
    let args = [
        &b"\x42\x76\x0a\x28\x0a\x21grpc.initial_reconnect_backoff_ms\x12\x03\x10\xc8\x01"[..],
        b"\x0a\x24\x0a\x1dgrpc.max_reconnect_backoff_ms\x12\x03\x10\xa0\x06",
        b"\x0a\x24\x0a\x1dgrpc.min_reconnect_backoff_ms\x12\x03\x10\xb8\x17",
    ]
    .concat();
    // Field 2 google_grpc { 1 target_uri, 4 stat_prefix }.
    let plain = open(WITH_AGENT);
    let expected = [&b"\x12\x95\x01\x0a\x0e127.0.0.1:7070\x22\x0bserin_agent"[..], &args].concat();
    assert_eq!(plain.upstream, expected);
    assert_eq!(plain.metadata, []);
    // Field 2 channel_credentials { 1 ssl_credentials { 1 root_certs, 2 private_key, 3 cert_chain, each { 1 filename } } }.
    let tls = open(
        r#"{"agent":{"address":"a:1","token":"s3cret","tls":{"caFile":"/ca","certFile":"/crt","keyFile":"/key"}}}"#,
    );
    let files = b"\x0a\x05\x0a\x03/ca\x12\x06\x0a\x04/key\x1a\x06\x0a\x04/crt";
    let expected = [&b"\x12\xa5\x01\x0a\x03a:1\x12\x19\x0a\x17"[..], files, b"\x22\x0bserin_agent", &args].concat();
    assert_eq!(tls.upstream, expected);
    assert_eq!(tls.metadata, [(b"authorization".to_vec(), b"Bearer s3cret".to_vec())]);
    // Field 1 envoy_grpc { 1 cluster_name }.
    let cluster = open(r#"{"agent":{"cluster":"outbound|9090||agent.serin","token":"t"}}"#);
    assert_eq!(cluster.upstream, b"\x0a\x1c\x0a\x1aoutbound|9090||agent.serin");
    assert_eq!(cluster.metadata, [(b"authorization".to_vec(), b"Bearer t".to_vec())]);
    // Lengths from 128 on are not UTF-8: the bytes must arrive nonetheless.
    let long = open(&format!(r#"{{"agent":{{"cluster":"{}"}}}}"#, "x".repeat(200)));
    assert_eq!(long.upstream.len(), 206);
}

#[test]
fn an_entry_is_adopted_confirmed_and_routed_by() {
    let (mut proxy, token) = connected(WITH_AGENT);
    assert_eq!(proxy.decision(&[("x-beta", "")]), [""; 0]);
    proxy.receive(token, &entry(3, 250_000));
    assert_eq!(sent(token).last(), Some(&ToAgent::Adopted(web(), Epoch(3))));
    assert_eq!(host(|host| host.tick_ms), Some(100), "fast while a release is on");
    assert_eq!(proxy.decision(&[("x-beta", "")]), ["web-canary"]);
    assert_eq!(host(|host| host.metric("serin.weight_ppm;canary=prod/web")), 250_000);
    proxy.receive(token, &entry(2, 900_000));
    assert_eq!(sent(token).last(), Some(&ToAgent::Adopted(web(), Epoch(3))), "an older one changes nothing");
    assert_eq!(host(|host| host.metric("serin.weight_ppm;canary=prod/web")), 250_000);
    let withdrawn = Entry { canary: web(), epoch: Epoch(4), routing: None };
    proxy.receive(token, &ToWorker::Entry(Box::new(withdrawn)));
    assert_eq!(proxy.decision(&[("x-beta", "")]), [""; 0]);
}

#[test]
fn counts_are_reported_until_they_are_acknowledged() {
    let (mut proxy, first) = connected(WITH_AGENT);
    proxy.receive(first, &entry(1, 0));
    let exchange = proxy.request(&[(":authority", "web"), (":path", "/"), ("x-beta", "")]);
    proxy.tick_after(100);
    assert_eq!(reports(first)[0].strata[0].1.started, 1, "a trial counts when it starts");
    exchange.respond(&[(":status", "200")]).end();
    proxy.tick_after(100);
    assert_eq!(reports(first).len(), 1, "one report is in flight at a time");
    proxy.close(first, 14);
    assert!(host(|host| host.streams.iter().any(|stream| stream.is_closed)), "the host may forget the stream");
    proxy.tick_after(6_000);
    let (second, _) = open_stream().unwrap();
    assert_ne!(first, second);
    proxy.receive(second, &ToWorker::Welcome(PROTOCOL));
    assert_eq!(reports(second), reports(first), "sent again unchanged");
    proxy.receive(second, &ToWorker::Stored(1));
    proxy.tick_after(100);
    let next = &reports(second)[1];
    assert_eq!((next.number, next.strata[0].1.started, next.strata[0].1.succeeded), (2, 0, 1));
}

#[test]
fn an_absent_agent_is_sought_with_growing_waits_and_said_once() {
    let proxy = Proxy::start(WITH_AGENT);
    let mut opened = Vec::new();
    for tick in 0..600 {
        proxy.tick_after(100);
        if let Some((token, _)) = open_stream() {
            opened.push(tick);
            proxy.close(token, 14);
        }
    }
    let waits: Vec<_> = opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= 3 && waits.iter().all(|wait| *wait <= 51), "{waits:?}");
    assert!((12..40).contains(&opened.len()), "{} tries in a minute", opened.len());
    assert_eq!(host(|host| host.logged("no connection to agent 127.0.0.1:7070")), 1);
    assert_eq!(host(|host| host.metric("serin.faults;kind=streams")), opened.len() as i64);
    proxy.tick_after(5_000);
    let (token, _) = open_stream().unwrap();
    proxy.receive(token, &ToWorker::Welcome(PROTOCOL));
    assert_eq!(host(|host| (host.logged("connected to agent"), host.metric("serin.connected"))), (1, 1));
    proxy.close(token, 0);
    assert_eq!(host(|host| (host.logged("no connection to agent"), host.metric("serin.connected"))), (2, 0));
}

#[test]
fn a_silent_agent_is_given_up() {
    let (proxy, token) = connected(WITH_AGENT);
    for _ in 0..101 {
        proxy.tick_after(100);
    }
    assert!(host(|host| host.streams.iter().filter(|stream| stream.is_cancelled).count()) >= 2, "probe and stream");
    assert_eq!(host(|host| host.metric("serin.connected")), 0);
    proxy.receive(token, &entry(1, 1_000_000));
    proxy.close(token, 0);
    assert_eq!(host(|host| host.metric("serin.weight_ppm;canary=prod/web")), 0, "the dead say nothing");
}

#[test]
fn nonsense_is_counted_and_the_last_good_table_stays() {
    let (mut proxy, token) = connected(WITH_AGENT);
    proxy.receive(token, &entry(1, 0));
    for bytes in [vec![], vec![0xff; 20], vec![0x1a, 0xff, 0xff, 0xff, 0x7f], vec![0; MAX_TO_WORKER_BYTES + 1]] {
        proxy.receive_bytes(token, bytes);
    }
    assert_eq!(host(|host| host.metric("serin.faults;kind=messages")), 4);
    assert_eq!(host(|host| host.logged("invalid message from the agent")), 1, "logged once for a stream");
    assert_eq!(host(|host| host.called("message")), 2 + 3, "what is too long is not even read");
    assert_eq!(proxy.decision(&[("x-beta", "")]), ["web-canary"]);
}

#[test]
fn unknown_tokens_are_nobodys() {
    let (proxy, token) = connected(WITH_AGENT);
    proxy.receive(token + 77, &entry(1, 1_000_000));
    proxy.close(token + 77, 3);
    assert_eq!(host(|host| (host.metric("serin.connected"), host.called("close"))), (1, 0));
}

#[test]
fn the_end_of_an_old_stream_does_not_end_the_new_one() {
    let (proxy, old) = connected(WITH_AGENT);
    proxy.tick_after(10_000);
    proxy.tick_after(1_000);
    let (new, _) = open_stream().unwrap();
    proxy.receive(new, &ToWorker::Welcome(PROTOCOL));
    proxy.receive(old, &entry(1, 1_000_000));
    proxy.close(old, 0);
    assert_eq!(host(|host| host.metric("serin.connected")), 1);
    assert_eq!(host(|host| host.metric("serin.weight_ppm;canary=prod/web")), 0);
    assert_eq!(open_stream().map(|(token, _)| token), Some(new));
}

#[test]
fn the_lease_of_a_silent_agent_ends_and_static_canaries_have_none() {
    let config = r#"{"agent":"a:1","leaseSeconds":5,"canaries":[{"namespace":"prod","name":"cart","weight":100}]}"#;
    let (mut proxy, token) = connected(config);
    proxy.receive(token, &entry(1, 0));
    proxy.close(token, 14);
    host(|host| host.now_us += 4_900_000);
    assert_eq!(proxy.decision(&[("x-beta", "")]), ["web-canary"]);
    host(|host| host.now_us += 200_000);
    assert_eq!(proxy.decision(&[("x-beta", "")]), [""; 0]);
    proxy.request(&[(":authority", "cart"), (":path", "/")]);
    assert_eq!(host::decision_headers(), ["cart-canary"]);
}

#[test]
fn another_agent_in_the_configuration_means_another_stream() {
    let (proxy, _) = connected(WITH_AGENT);
    proxy.configure(r#"{"agent":"127.0.0.1:7071"}"#);
    assert!(open_stream().is_none(), "the old one is given up");
    proxy.tick_after(1_000);
    assert!(open_stream().unwrap().1.upstream.windows(4).any(|part| part == b"7071"));
    proxy.configure("{}");
    proxy.tick_after(10_000);
    assert!(open_stream().is_none(), "no agent is wanted any more");
    assert_eq!(host(|host| host.metric("serin.connected")), 0);
}

#[test]
fn a_plugin_that_ends_leaves_no_stream_and_no_trace_in_shared_gauges() {
    let (proxy, _) = connected(WITH_AGENT);
    proxy.finish();
    assert!(open_stream().is_none());
    assert_eq!(host(|host| host.metric("serin.connected")), 0);
}
