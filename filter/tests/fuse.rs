//! The fuse in the built filter: a trip stops the traffic and leaves from within the request's own event.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::agent::{self, LIMIT, WITH_AGENT, reports};
use host::{Proxy, host, sent};
use rollout::routing::table::Epoch;
use rollout::worker::fuse::FuseTest;
use rollout::worker::messages::ToWorker;

const TRIPPED: &str = "serin.tripped;canary=prod/web";
const TRIPS: &str = "serin.trips;canary=prod/web";
const STATIC: &str = r#"{"canaries":[{"namespace":"prod","name":"web","weight":100,"fuse":{"minSuccessRate":99}}]}"#;

fn entry(epoch: u64) -> ToWorker {
    agent::entry(epoch, |split| (split.latency_limit, split.fuse) = (Some(LIMIT), Some(agent::fuse())))
}

fn connected() -> (Proxy, u32) {
    let (proxy, token) = agent::connected(WITH_AGENT);
    proxy.receive(token, &entry(3));
    (proxy, token)
}

fn fail(proxy: &mut Proxy, times: usize) {
    for _ in 0..times {
        proxy.request(&[(":authority", "web"), (":path", "/")]).respond(&[(":status", "500")]).end();
    }
}

#[test]
fn a_trip_stops_the_traffic_and_is_reported_by_the_request_that_caused_it() {
    let (mut proxy, token) = connected();
    fail(&mut proxy, 1);
    let [first] = &reports(token)[..] else { panic!("the first failure leaves at once: {:?}", sent(token)) };
    assert!(first.trips.is_empty());
    proxy.receive(token, &ToWorker::Stored(1));
    fail(&mut proxy, 2);
    proxy.receive(token, &ToWorker::Stored(2));
    let [.., report] = &reports(token)[..] else { panic!("no tick was needed: {:?}", sent(token)) };
    let trip = &report.trips[0];
    assert_eq!((trip.epoch, trip.test), (Epoch(3), FuseTest::Failed));
    assert_eq!(host(|host| host.metric("serin.faults;kind=streams")), 0);
    assert_eq!(proxy.decision(&[]), [""; 0], "all to primary, the default");
    proxy.tick();
    assert_eq!(host(|host| (host.metric(TRIPPED), host.metric(TRIPS))), (1, 1));
    assert_eq!(host(|host| (host.metric("serin.weight_ppm;canary=prod/web"), host.logged("has tripped"))), (0, 1));
    proxy.receive(token, &entry(3));
    assert_eq!(proxy.decision(&[]), [""; 0], "the same epoch arms nothing");
    proxy.receive(token, &entry(5));
    assert_eq!(proxy.decision(&[]), ["web-canary"]);
    assert_eq!(host(|host| (host.metric(TRIPPED), host.metric(TRIPS))), (0, 1));
}

#[test]
fn a_host_that_lets_no_request_act_for_the_plugin_costs_one_tick() {
    let (mut proxy, token) = connected();
    host(|host| host.failing.insert("act_for", 2));
    fail(&mut proxy, 5);
    assert_eq!(proxy.decision(&[]), [""; 0]);
    assert_eq!(reports(token), []);
    host(|host| host.failing.clear());
    proxy.tick();
    assert_eq!(reports(token)[0].trips.len(), 1);
    assert_eq!(host(|host| host.metric("serin.faults;kind=streams")), 0, "the stream is not given up for it");
}

#[test]
fn open_requests_trip_it_by_their_age() {
    let (mut proxy, token) = connected();
    let _open: Vec<_> = (0..20).map(|_| proxy.request(&[(":authority", "web"), (":path", "/")])).collect();
    (0..4).for_each(|_| proxy.tick_after(100));
    proxy.receive(token, &ToWorker::Stored(1));
    (0..2).for_each(|_| proxy.tick_after(100));
    let trips: Vec<_> = reports(token).iter().flat_map(|report| report.trips.clone()).collect();
    assert_eq!(trips[0].test, FuseTest::Slow);
    assert_eq!(proxy.decision(&[]), [""; 0]);
}

#[test]
fn a_static_canarys_fuse_needs_no_agent_and_holds_until_its_item_changes() {
    let mut proxy = Proxy::start(STATIC);
    proxy.tick();
    assert_eq!(host(|host| host.tick_ms), Some(100), "hangs are seen soon");
    fail(&mut proxy, 10);
    assert_eq!(proxy.decision(&[]), [""; 0]);
    proxy.configure(STATIC);
    assert_eq!(proxy.decision(&[]), [""; 0]);
    proxy.configure(&STATIC.replace("99", "98"));
    assert_eq!(proxy.decision(&[]), ["web-canary"]);
    fail(&mut proxy, 10);
    proxy.tick();
    assert_eq!(host(|host| host.metric(TRIPPED)), 1);
    proxy.finish();
    assert_eq!(host(|host| host.metric(TRIPPED)), 0, "a plugin that ends leaves no trace in shared gauges");
}

#[test]
fn a_fuse_keeps_its_ranges() {
    for (fuse, said) in [
        ("{}", "canaries[0].fuse: sets no limit"),
        (r#"{"quantile":0.9}"#, "canaries[0].fuse: sets no limit"),
        (r#"{"minSuccessRate":101}"#, "canaries[0].fuse.minSuccessRate: 101 is outside 0 to 100"),
        (r#"{"minSuccessRate":99,"quantile":1}"#, "canaries[0].fuse.quantile: 1 is outside 0.5 to 0.999"),
        (r#"{"maxLatencyMs":0}"#, "canaries[0].fuse.maxLatencyMs: 0 is outside 1 to 3600000"),
        (r#"{"minSuccesRate":99}"#, "minSuccesRate"),
    ] {
        let config = format!(r#"{{"canaries":[{{"namespace":"prod","name":"web","fuse":{fuse}}}]}}"#);
        Proxy::start(&config);
        assert_eq!(host(|host| host.logged(said)), 1, "{fuse}: {:?}", host(|host| host.logs.clone()));
    }
    Proxy::start(&STATIC.replace(r#""minSuccessRate":99"#, r#""minSuccessRate":100,"maxLatencyMs":20,"quantile":0.5"#));
    assert_eq!(host(|host| host.metric("serin.bad_config")), 0);
}
