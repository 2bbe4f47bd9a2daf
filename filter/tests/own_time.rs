//! Whose time a request takes, through the SDK's dispatcher: for each method and protocol, with and without a limit, in the
//! warm-up and behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::agent::{self, LIMIT, WITH_AGENT, reports};
use host::{Proxy, host, sent, set_end};
use rollout::base::time::{Micros, Millis};
use rollout::routing::measurement::WarmUp;
use rollout::worker::fuse::{FusePlan, FuseTest};
use rollout::worker::messages::{ToAgent, ToWorker};
use rollout::worker::tally::Counts;

const CLIENT_LEFT: u64 = 1 << 28;
const TIMED_OUT: u64 = 1 << 2;

type Headers = &'static [(&'static str, &'static str)];
/// A name, a request's headers, whether they are all of it, what happens to it, and what is counted.
type Case<'a, T> = (&'a str, Headers, bool, &'a [Do], T);

/// What happens to a request, one thing after the other.
#[derive(Clone, Copy)]
enum Do {
    /// A part of its body, the last one or not.
    Part(bool),
    /// Its trailers.
    Trailers,
    /// So many milliseconds pass, with a tick in every tenth of a second.
    Wait(u64),
    /// Its answer's headers.
    Answer(Headers),
    /// Its answer's trailers.
    Grpc(Headers),
    /// It is over, with these of Envoy's flags.
    Over(u64),
}

use Do::{Answer, Grpc, Over, Part, Trailers, Wait};

const OK: Do = Answer(&[(":status", "200")]);
const CALLED: Do = Answer(&[(":status", "200"), ("content-type", "application/grpc")]);
const DONE: Do = Grpc(&[("grpc-status", "0")]);

fn entry(epoch: u64, limit: Option<Micros>, warm_up: WarmUp, fuse: Option<FusePlan>) -> ToWorker {
    agent::entry(epoch, |split| (split.latency_limit, split.measurement.warm_up, split.fuse) = (limit, warm_up, fuse))
}

/// All requests go to the canary.
fn connected(entry: &ToWorker) -> (Proxy, u32) {
    let (proxy, token) = agent::connected(WITH_AGENT);
    proxy.receive(token, entry);
    (proxy, token)
}

/// Time passes for an agent that listens and acknowledges; what is reported meanwhile is added up.
fn pass(proxy: &Proxy, token: u32, ms: u64, sum: &mut Counts) {
    for _ in 0..ms.div_ceil(100) {
        let before = reports(token).pop().map(|report| report.number);
        proxy.tick_after(100);
        if let Some(report) = reports(token).pop().filter(|report| Some(report.number) != before) {
            report.strata.iter().for_each(|(_, counts)| sum.merge(counts));
            proxy.receive(token, &ToWorker::Stored(report.number));
        }
        proxy.receive(token, &ToWorker::Beat);
    }
}

/// Plays one request, and adds up what is reported of it until a second later.
fn play(proxy: &mut Proxy, token: u32, headers: Headers, is_whole: bool, steps: &[Do]) -> Counts {
    let (mut sum, all) = (Counts::default(), [&[(":authority", "web"), (":path", "/")], headers].concat());
    let exchange = if is_whole { proxy.request(&all) } else { proxy.upload(&all) };
    for step in steps {
        match *step {
            Part(is_last) => drop(exchange.sends(is_last)),
            Trailers => drop(exchange.sends_trailers()),
            Wait(ms) => pass(proxy, token, ms, &mut sum),
            Answer(headers) => drop(exchange.respond(headers)),
            Grpc(trailers) => drop(exchange.trailers(trailers)),
            Over(flags) => {
                set_end(flags, Some(1));
                exchange.end();
            }
        }
    }
    pass(proxy, token, 1_000, &mut sum);
    sum
}

/// Trials of latency and slow ones among them, failures, and clients that left.
fn counted(limit: Option<Micros>, headers: Headers, is_whole: bool, steps: &[Do]) -> [u64; 4] {
    let (mut proxy, token) = connected(&entry(3, limit, WarmUp::NONE, None));
    let sum = play(&mut proxy, token, headers, is_whole, steps);
    assert_eq!(sum.started, 1, "{headers:?}");
    [sum.timed.begun, sum.timed.slow, sum.failed.total(), sum.abandoned]
}

const PUT: Headers = &[(":method", "PUT"), ("transfer-encoding", "chunked")];
const DELETE: Headers = &[(":method", "DELETE"), ("content-length", "20")];
const CALL: Headers = &[(":method", "POST"), ("content-type", "application/grpc+json"), ("te", "trailers")];
const WEB_CALL: Headers = &[(":method", "POST"), ("content-type", "application/grpc-web-text")];
const HEAD: Headers = &[(":method", "HEAD")];
const SOCKET: Headers = &[(":method", "GET"), ("connection", "upgrade"), ("upgrade", "websocket")];
const TUNNEL: Headers = &[(":method", "CONNECT"), (":protocol", "websocket")];
/// An upgrade that no server takes before it has read the body.
const BODIED: Headers = &[(":method", "POST"), ("upgrade", "websocket"), ("content-length", "20")];
const UNBODIED: Headers = &[(":method", "GET"), ("upgrade", "websocket"), ("content-length", "0")];

#[test]
fn what_clients_take_their_time_for_is_no_versions_time() {
    let web_status = Answer(&[(":status", "200"), ("grpc-status", "0")]);
    let cases: &[Case<'_, [u64; 4]>] = &[
        ("a slow body", DELETE, false, &[Part(false), Wait(2_000), Part(true), OK, Over(0)], [1, 0, 0, 0]),
        ("slow trailers", PUT, false, &[Part(false), Wait(2_000), Trailers, Wait(100), OK, Over(0)], [1, 0, 0, 0]),
        (
            "a client's stream",
            CALL,
            false,
            &[Part(false), Wait(3_000), Part(true), CALLED, DONE, Over(0)],
            [1, 0, 0, 0],
        ),
        ("both streams", CALL, false, &[Part(false), CALLED, Wait(9_000), Part(true), DONE, Over(0)], [0; 4]),
        ("a browser's call", WEB_CALL, false, &[Wait(2_000), Part(true), web_status, Over(0)], [1, 0, 0, 0]),
        ("a body given up", PUT, false, &[Part(false), Wait(4_000), Over(CLIENT_LEFT)], [0, 0, 0, 1]),
        ("a stream given up", CALL, false, &[Part(false), Wait(4_000), Over(CLIENT_LEFT)], [0, 0, 0, 1]),
        ("refused early", DELETE, false, &[Answer(&[(":status", "401")]), Wait(4_000), Part(true), Over(0)], [0; 4]),
        (
            "an idle socket",
            SOCKET,
            false,
            &[Answer(&[(":status", "101")]), Wait(9_000), Over(CLIENT_LEFT)],
            [1, 0, 0, 1],
        ),
        ("an idle tunnel", TUNNEL, false, &[OK, Wait(20_000), Over(CLIENT_LEFT)], [1, 0, 0, 0]),
        ("an upgrade with a body", BODIED, false, &[Wait(4_000), OK, Over(0)], [0; 4]),
        ("nobody reads", HEAD, true, &[OK, Wait(4_000), Over(TIMED_OUT)], [1, 0, 0, 1]),
    ];
    for (name, headers, is_whole, steps, expected) in cases {
        assert_eq!(counted(Some(LIMIT), headers, *is_whole, steps), *expected, "{name}");
    }
}

#[test]
fn what_the_version_takes_its_time_for_is_slow() {
    let cases: &[Case<'_, [u64; 4]>] = &[
        ("no body", HEAD, true, &[Wait(700), OK, Over(0)], [1, 1, 0, 0]),
        ("behind a slow body", PUT, false, &[Wait(2_000), Part(true), Wait(700), OK, Over(0)], [1, 1, 0, 0]),
        ("behind trailers", PUT, false, &[Part(false), Trailers, Wait(700), OK, Over(0)], [1, 1, 0, 0]),
        ("a call", CALL, false, &[Part(true), Wait(700), CALLED, DONE, Over(0)], [1, 1, 0, 0]),
        (
            "a call that fails late",
            CALL,
            false,
            &[Part(true), Wait(700), CALLED, Grpc(&[("grpc-status", "13")]), Over(0)],
            [1, 1, 1, 0],
        ),
        ("a handshake", SOCKET, false, &[Wait(700), Answer(&[(":status", "101")]), Over(0)], [1, 1, 0, 0]),
        ("a handshake that says it has no body", UNBODIED, false, &[Wait(700), OK, Over(0)], [1, 1, 0, 0]),
        ("a tunnel", TUNNEL, false, &[Wait(700), OK, Over(0)], [1, 1, 0, 0]),
        ("a client kept waiting", DELETE, false, &[Part(true), Wait(700), Over(CLIENT_LEFT)], [1, 1, 0, 1]),
        ("a hang", CALL, false, &[Part(true), Wait(700)], [1, 1, 0, 0]),
    ];
    for (name, headers, is_whole, steps, expected) in cases {
        assert_eq!(counted(Some(LIMIT), headers, *is_whole, steps), *expected, "{name}");
    }
}

/// What a service may lawfully take for as long as it likes is neither slow nor failed where no limit is set.
#[test]
fn without_a_limit_no_time_is_a_verdict() {
    let left = Over(CLIENT_LEFT);
    let cases: &[Case<'_, u64>] = &[
        ("a long poll", HEAD, true, &[Wait(25_000), Answer(&[(":status", "204")]), Over(0)], 0),
        ("a long upload", PUT, false, &[Part(false), Wait(20_000), Trailers, OK, Over(0)], 0),
        ("a silent stream, given up", CALL, false, &[Part(false), Wait(20_000), left], 1),
        ("a silent call, given up", CALL, false, &[Part(true), Wait(20_000), left], 1),
        ("an open stream, given up", CALL, false, &[Part(true), CALLED, Wait(20_000), left], 0),
        ("a slow handshake", SOCKET, false, &[Wait(20_000), Answer(&[(":status", "101")]), left], 1),
        ("a slow tunnel", TUNNEL, false, &[Wait(20_000), OK, Over(0)], 0),
    ];
    for (name, headers, is_whole, steps, left) in cases {
        let [_, slow, failed, abandoned] = counted(None, headers, *is_whole, steps);
        assert_eq!([slow, failed, abandoned], [0, 0, *left], "{name}");
    }
}

#[test]
fn a_warm_up_is_the_releases_first_requests_whatever_its_steps() {
    let ten_seconds = WarmUp { time: Millis(10_000), requests: 0 };
    let step = |epoch, salt: &str| {
        agent::entry(epoch, |split| {
            (split.latency_limit, split.measurement.warm_up, split.salt) = (Some(LIMIT), ten_seconds, salt.into());
        })
    };
    let (mut proxy, token) = connected(&step(3, "prod/web#1"));
    let slow = |proxy: &mut Proxy| {
        let sum = play(proxy, token, CALL, false, &[Part(true), Wait(700), CALLED, DONE, Over(0)]);
        [sum.timed.begun, sum.timed.slow, sum.latency.count()]
    };
    let later = |proxy: &Proxy| pass(proxy, token, 9_000, &mut Counts::default());
    assert_eq!(slow(&mut proxy), [0; 3], "the first");
    // A call that fails in it has failed.
    let failing = [Part(true), CALLED, Grpc(&[("grpc-status", "0")]), Over(1 << 4)];
    assert_eq!(play(&mut proxy, token, CALL, false, &failing).failed.total(), 1);
    proxy.receive(token, &step(5, "prod/web#1"));
    assert_eq!(slow(&mut proxy), [0; 3], "of the same warm-up, on the next step");
    later(&proxy);
    assert_eq!(slow(&mut proxy), [1; 3], "it is over");
    proxy.receive(token, &step(7, "prod/web#1"));
    assert_eq!(slow(&mut proxy), [1; 3], "and a step begins none");
    proxy.receive(token, &step(9, "prod/web#2"));
    assert_eq!(slow(&mut proxy), [0; 3], "but another release does, with its first request");
    later(&proxy);
    assert_eq!(slow(&mut proxy), [1; 3]);
}

#[test]
fn in_a_warm_up_failures_trip_the_fuse_and_slow_answers_do_not() {
    let requests = |count| WarmUp { time: Millis(0), requests: count };
    for (warm_up, slow_trips) in [(requests(20), false), (WarmUp::NONE, true)] {
        for (status, waits, trips) in [("504", 0, true), ("200", 700, slow_trips)] {
            let (mut proxy, token) = connected(&entry(3, Some(LIMIT), warm_up, Some(agent::fuse())));
            for _ in 0..15 {
                let exchange = proxy.request(&[(":authority", "web"), (":path", "/"), (":method", "OPTIONS")]);
                host(|host| host.now_us += waits * 1_000);
                exchange.respond(&[(":status", status)]).end();
            }
            // The first failure's report is on its way; what came after it follows the answer to that.
            proxy.receive(token, &ToWorker::Stored(1));
            pass(&proxy, token, 300, &mut Counts::default());
            let said = sent(token).into_iter().filter_map(|message| match message {
                ToAgent::Report(report) => report.trips.first().map(|trip| trip.test),
                _ => None,
            });
            let expected = trips.then_some(if waits == 0 { FuseTest::Failed } else { FuseTest::Slow });
            assert_eq!(said.last(), expected, "{status} {warm_up:?}");
        }
    }
}
