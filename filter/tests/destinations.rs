//! Where requests went: few are asked, each once, and what a proxy says is passed on within bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::agent::{self, connected, entry, reports};
use host::{Proxy, host, open_stream, set_end};
use rollout::routing::table::Version;
use rollout::worker::messages::Sampled;

const CONFIG: &str = r#"{"agent":"127.0.0.1:7070","sharedClusters":["any"]}"#;
const CLUSTER: &str = "xds\0cluster_name";
const ADDRESS: &str = "upstream\0address";

/// Every request goes to the canary, and arrives there.
fn released() -> (Proxy, u32) {
    let (proxy, token) = connected(CONFIG);
    proxy.receive(token, &entry(1, |_| ()));
    arrives_at(b"web-canary", b"10.0.0.1:80");
    (proxy, token)
}

fn arrives_at(cluster: &[u8], address: &[u8]) {
    host(|host| {
        host.properties.insert(CLUSTER.into(), cluster.into());
        host.properties.insert(ADDRESS.into(), address.into());
    });
}

fn request(proxy: &mut Proxy) {
    proxy.request(&[(":authority", "web"), (":path", "/")]).respond(&[(":status", "200")]).end();
}

fn asked() -> [usize; 2] {
    host(|host| [host.called("cluster"), host.called("destination")])
}

fn reported(proxy: &Proxy, token: u32) -> Vec<Sampled> {
    proxy.tick_after(200);
    reports(token).pop().expect("a report").destinations
}

#[test]
fn the_first_of_an_entry_are_asked_and_then_few() {
    let (mut proxy, token) = released();
    (0..32).for_each(|_| request(&mut proxy));
    assert_eq!(asked(), [32, 32]);
    (0..6_400).for_each(|_| request(&mut proxy));
    let [cluster, address] = asked();
    assert!(cluster == address && (32 + 60..32 + 150).contains(&cluster), "about 100 of 6,400: {cluster}");
    let said = reported(&proxy, token);
    assert_eq!((said.len(), said[0].requests, said[0].version), (1, cluster as u64, Version::Canary));
    assert_eq!((said[0].destination.cluster(), said[0].destination.address()), ("web-canary", "10.0.0.1:80"));
    proxy.receive(token, &entry(2, |_| ()));
    (0..32).for_each(|_| request(&mut proxy));
    assert_eq!(asked()[0], cluster + 32, "each entry asks anew");
}

#[test]
fn where_a_further_attempt_went_is_not_said_and_a_request_without_a_canary_not_asked() {
    let (mut proxy, token) = released();
    for attempts in [None, Some(0), Some(2)] {
        set_end(0, attempts);
        (0..9).for_each(|_| request(&mut proxy));
    }
    assert_eq!(reported(&proxy, token), []);
    let before = asked();
    set_end(0, Some(1));
    (0..9).for_each(|_| proxy.request(&[(":authority", "other"), (":path", "/")]).end());
    assert_eq!(asked(), before);
}

#[test]
fn a_declared_cluster_is_marked() {
    let (mut proxy, token) = released();
    request(&mut proxy);
    arrives_at(b"any", b"10.0.0.1:80");
    request(&mut proxy);
    let mut said = reported(&proxy, token);
    said.sort_by(|a, b| a.destination.cmp(&b.destination));
    let shown: Vec<_> = said.iter().map(|it| (it.destination.cluster(), it.is_shared)).collect();
    assert_eq!(shown, [("any", true), ("web-canary", false)]);
}

#[test]
fn whatever_a_proxy_says_the_report_stays_small_and_is_understood() {
    let (mut proxy, token) = released();
    for (cluster, address) in
        [(&b""[..], &b"a"[..]), (b"c", b""), (&[b'c'; 9_999], b"a"), (b"\xff\xfe", &[0xff; 9_999])]
    {
        arrives_at(cluster, address);
        request(&mut proxy);
    }
    for entry in 2..20 {
        proxy.receive(token, &agent::entry(entry, |_| ()));
        for host in 0..32 {
            arrives_at(b"web-canary", format!("10.0.{entry}.{host}:80").as_bytes());
            request(&mut proxy);
        }
    }
    let said = reported(&proxy, token);
    assert_eq!(said.len(), 64, "the agent's limit");
    assert!(said.iter().any(|it| it.destination.cluster().len() == 256));
}

#[test]
fn a_proxy_that_does_not_say_costs_no_request_its_count() {
    for call in ["cluster", "destination"] {
        for status in [1, 2, 10, u32::MAX] {
            let (mut proxy, token) = released();
            host(|host| host.failing.insert(call, status));
            (0..5).for_each(|_| request(&mut proxy));
            assert_eq!(reported(&proxy, token), [], "{call} {status}");
            let counts = &reports(token)[0].strata[0].1;
            assert_eq!((counts.succeeded, counts.void), (5, 0), "{call} {status}");
        }
    }
}

/// A plugin that is replaced says what it has counted, although the report before is not acknowledged yet.
#[test]
fn the_last_words_of_a_plugin_are_what_it_has_counted() {
    let (mut proxy, token) = released();
    request(&mut proxy);
    assert_eq!(reported(&proxy, token).len(), 1);
    (0..3).for_each(|_| request(&mut proxy));
    proxy.finish();
    let said = reports(token);
    assert_eq!(said.iter().map(|report| report.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(said[1].strata.iter().map(|(_, counts)| counts.succeeded).sum::<u64>(), 3);
    assert!(open_stream().is_none(), "and then it has no stream");
}
