//! One request's life, as it is counted: whose time is whose, and what each end says.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

use crate::base::names::Upstream;
use crate::routing::measurement::{LatencyEnd, Measurement, WarmUp};
use crate::routing::table::{Routing, Scope, Split};
use crate::worker::messages::Incarnation;
use crate::worker::tally::{Counts, Timed};

const HEADERS: &[(&[u8], &[u8])] = &[(b":authority", b"web"), (b":path", b"/")];
const SECOND: u64 = 1_000_000;

fn worker(edit: impl FnOnce(&mut Measurement)) -> Worker {
    let mut measurement = Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL };
    edit(&mut measurement);
    let id = CanaryId::new("prod", "web").unwrap();
    let split = Split {
        canary: Upstream::parse("web-canary").unwrap(),
        weight: WeightPpm::WHOLE,
        mirror: WeightPpm::ZERO,
        rules: vec![],
        sticky: None,
        salt: String::new(),
        slot: Millis(100),
        latency_limit: Some(Micros(SECOND)),
        measurement,
        fuse: None,
    };
    let primary = Upstream::parse("web-primary").unwrap();
    let routing = Routing { scope: Scope::of_service(&id), primary, split: Some(split) };
    let identity = Identity {
        node: String::new(),
        cluster: String::new(),
        filter_version: String::new(),
        incarnation: Incarnation(1),
    };
    let settings = Settings {
        has_agent: false,
        decision_header: "x-serin-upstream".into(),
        mirror_header: "x-serin-mirror".into(),
        lease: Millis(60_000),
        default_upstreams: BTreeMap::new(),
        fixed: vec![Entry { canary: id, epoch: Epoch(0), routing: Some(routing) }],
        shared_clusters: BTreeSet::new(),
        max_strata: 64,
    };
    Worker::new(identity, settings, 1)
}

/// What happens to a request, and when, in milliseconds.
#[derive(Clone, Copy)]
enum Step {
    /// Its last byte comes in.
    Complete(u64),
    /// Its answer's headers come.
    Answered(u64, &'static [u8]),
    /// It is over, with these of Envoy's flags.
    Over(u64, u64),
}

use Step::{Answered, Complete, Over};

const CLIENT_LEFT: u64 = 1 << 28;
const TIMED_OUT: u64 = 1 << 2;

/// What is counted of one request under a limit of 1 s, with a look every 100 ms for 40 s.
fn counted(steps: &[Step], edit: impl FnOnce(&mut Measurement)) -> Counts {
    let mut worker = worker(edit);
    let decision = worker.route(Request { headers: HEADERS, client_address: None }, Micros(0));
    let mut request = worker.start(&decision, true, false, Micros(0)).unwrap();
    for now in (0..40_000).step_by(50) {
        let at = Micros(now * 1000);
        for step in steps {
            match *step {
                Complete(when) if when == now => worker.complete(&mut request, at),
                Answered(when, status) if when == now => worker.answered(&mut request, &[(b":status", status)], at),
                Over(when, flags) if when == now => {
                    worker.finish(&mut request, flags, Some(1), at);
                }
                _ => {}
            }
        }
        if now % 100 == 0 {
            worker.tick(Millis(now));
        }
    }
    let mut sum = Counts::default();
    worker.tally.take(usize::MAX).iter().for_each(|(_, counts)| sum.merge(counts));
    assert_eq!(sum.started, 1);
    sum
}

/// `[begun, ended, left, slow]` of the trials of latency.
fn timed(steps: &[Step]) -> [u64; 4] {
    let Timed { begun, ended, void, left, slow } = counted(steps, |_| ()).timed;
    assert_eq!(void, 0);
    [begun, ended, left, slow]
}

#[test]
fn neither_an_upload_nor_a_download_is_the_versions_time() {
    assert_eq!(timed(&[Complete(0), Answered(100, b"200"), Over(150, 0)]), [1, 1, 0, 0]);
    assert_eq!(timed(&[Complete(9_000), Answered(9_100, b"200"), Over(9_150, 0)]), [1, 1, 0, 0], "a slow upload");
    assert_eq!(timed(&[Complete(0), Answered(100, b"200"), Over(9_000, 0)]), [1, 1, 0, 0], "a slow download");
    assert_eq!(timed(&[Complete(0), Answered(100, b"200"), Over(2_000, CLIENT_LEFT)]), [1, 1, 0, 0]);
    assert_eq!(timed(&[Over(5_000, CLIENT_LEFT)]), [0; 4], "only headers, then gone");
    assert_eq!(timed(&[Answered(3_000, b"413"), Over(3_050, 0)]), [0; 4], "answered before its end");
}

#[test]
fn the_versions_own_time_is_slow_once_however_it_ends() {
    assert_eq!(timed(&[Complete(0), Answered(1_050, b"200"), Over(9_000, 0)]), [1, 1, 0, 1], "before a tick sees it");
    assert_eq!(timed(&[Complete(0), Answered(5_000, b"200"), Over(9_000, 0)]), [1, 1, 0, 1]);
    assert_eq!(timed(&[Complete(4_000), Answered(9_000, b"200"), Over(9_050, 0)]), [1, 1, 0, 1]);
    assert_eq!(timed(&[Complete(0), Over(5_000, CLIENT_LEFT)]), [1, 1, 0, 1], "a client that was kept waiting");
    assert_eq!(timed(&[Complete(0), Over(500, CLIENT_LEFT)]), [1, 0, 1, 0], "one that did not wait");
    assert_eq!(timed(&[Complete(0)]), [1, 0, 0, 1], "a hang");
    assert_eq!(timed(&[Complete(0), Answered(100, b"500"), Over(150, 0)]), [1, 1, 0, 1], "a failure is slow");
    assert_eq!(timed(&[Complete(0), Over(20_000, TIMED_OUT)]), [1, 1, 0, 1]);
}

#[test]
fn an_open_request_is_pending_and_who_leaves_says_nothing() {
    let left = counted(&[Complete(0), Over(20_000, CLIENT_LEFT)], |_| ());
    assert_eq!((left.failed.total(), left.abandoned, left.unserved, left.void), (0, 1, 1, 0), "not even after 15 s");
    let open = counted(&[], |_| ());
    assert_eq!((open.received, open.pending(), open.received_pending(), open.unserved), (0, 1, 0, 1));
    let late = counted(&[Complete(16_000), Answered(16_100, b"200"), Over(16_200, 0)], |_| ());
    assert_eq!((late.succeeded, late.unserved, late.received), (1, 1, 1), "it came in whole after 15 s only");
    let late = counted(&[Complete(16_000), Over(16_500, CLIENT_LEFT)], |_| ());
    assert_eq!((late.abandoned, late.unserved), (1, 1), "unserved once");
    let cut = counted(&[Complete(0), Answered(100, b"200"), Over(5_000, TIMED_OUT)], |_| ());
    assert_eq!((cut.failed.total(), cut.abandoned, cut.unserved), (0, 1, 1), "nobody read the answer");
}

#[test]
fn an_answer_that_stays_open_is_good_after_a_while() {
    let stream = [Complete(0), Answered(100, b"200")];
    for steps in [&stream[..], &[stream[0], stream[1], Over(30_000, CLIENT_LEFT)], &[stream[1], Over(30_000, 1 << 4)]] {
        let counts = counted(steps, |_| ());
        assert_eq!((counts.succeeded, counts.failed.total(), counts.abandoned, counts.pending()), (1, 0, 0, 0));
        assert_eq!(counts.timed.pending(), 0);
        assert_eq!(counts.received, 1);
    }
    let failed = counted(&[Complete(0), Answered(100, b"200"), Over(9_000, 1 << 4)], |_| ());
    assert_eq!((failed.succeeded, failed.failed.total()), (0, 1), "reset before");
    let error = counted(&[Complete(0), Answered(100, b"500"), Over(20_000, 0)], |_| ());
    assert_eq!((error.succeeded, error.failed.total()), (0, 1), "an error stays one");
}

#[test]
fn to_the_last_byte_where_the_manifest_says_so() {
    let last_byte = |steps: &[Step]| counted(steps, |it| it.latency_end = LatencyEnd::LastByte).timed;
    assert_eq!(last_byte(&[Complete(0), Answered(100, b"200"), Over(3_000, 0)]).slow, 1);
    let open = last_byte(&[Complete(0), Answered(100, b"200"), Over(20_000, 0)]);
    assert_eq!((open.slow, open.ended), (1, 1), "good long ago, but its time went on");
    assert_eq!(last_byte(&[Complete(5_000), Answered(5_100, b"200"), Over(5_500, 0)]).slow, 0);
}

#[test]
fn a_warm_up_has_failures_but_no_latency() {
    let warm = |it: &mut Measurement| it.warm_up = WarmUp { time: Millis(10_000), requests: 0 };
    let slow = counted(&[Complete(0), Answered(5_000, b"200"), Over(5_050, 0)], warm);
    assert_eq!((slow.timed, slow.latency.count(), slow.succeeded), (Timed::default(), 0, 1));
    assert_eq!(counted(&[Complete(0), Answered(100, b"503"), Over(150, 0)], warm).failed.total(), 1);
}

#[test]
fn a_request_counts_as_client_error_by_its_status() {
    for (status, expected) in [
        (&b"404"[..], 1),
        (b"400", 1),
        (b"401", 1),
        (b"429", 1),
        (b"499", 1),
        (b"200", 0),
        (b"302", 0),
        (b"399", 0),
        (b"500", 0),
        (b"4o4", 0),
    ] {
        let counts = counted(&[Complete(0), Answered(100, status), Over(150, 0)], |_| ());
        assert_eq!(counts.client_errors, expected, "{status:?}");
    }
}

/// Whether a call that asks for gRPC and is answered 200 without a status counts as failed, once the primary has answered
/// one with a status or not.
fn fails_without_status(primary_speaks: bool) -> bool {
    let mut worker = worker(|_| ());
    let headers = [HEADERS, &[(b"content-type", b"application/grpc")]].concat();
    if primary_speaks {
        worker.note_grpc(CanaryIndex(0));
    }
    let decision = worker.route(Request { headers: &headers, client_address: None }, Micros(0));
    let mut request = worker.start(&decision, true, true, Micros(0)).unwrap();
    worker.answered(&mut request, &[(b":status", b"200")], Micros(1));
    matches!(worker.finish(&mut request, 0, Some(1), Micros(2)).outcome, crate::routing::outcome::Outcome::Failure(_))
}

#[test]
fn a_call_without_a_status_has_failed_only_where_grpc_is_spoken() {
    assert!(fails_without_status(true));
    assert!(!fails_without_status(false), "any client can send the content type to any service");
}

#[test]
fn an_upgrade_is_whole_at_its_headers() {
    for extra in [(&b"upgrade"[..], &b"websocket"[..]), (b":method", b"CONNECT")] {
        let mut worker = worker(|_| ());
        let headers = [HEADERS, &[extra]].concat();
        let decision = worker.route(Request { headers: &headers, client_address: None }, Micros(0));
        let request = worker.start(&decision, true, false, Micros(0)).unwrap();
        assert!(!request.is_partial() && request.timed().is_some());
    }
    // A client may take its time for a body that it announces.
    for body in [(&b"content-length"[..], &b"10"[..]), (b"transfer-encoding", b"chunked")] {
        let mut worker = worker(|_| ());
        let headers = [HEADERS, &[(b"upgrade", b"websocket"), body]].concat();
        let decision = worker.route(Request { headers: &headers, client_address: None }, Micros(0));
        let request = worker.start(&decision, true, false, Micros(0)).unwrap();
        assert!(request.is_partial() && request.timed().is_none());
    }
}

/// Every stratum's sums stay what they must be, whatever comes in whatever order, and nothing is counted twice.
#[test]
fn any_order_of_events_keeps_the_sums() {
    let times = [0, 50, 900, 1_000, 1_050, 5_000, 14_950, 15_000, 15_050, 25_000];
    for complete in times {
        for answered in times {
            for over in times.into_iter().filter(|over| *over >= complete.min(answered)) {
                for (status, flags) in [(&b"200"[..], 0), (b"500", 0), (b"404", CLIENT_LEFT), (b"200", TIMED_OUT)] {
                    let steps = [Complete(complete), Answered(answered, status), Over(over, flags)];
                    let steps: Vec<Step> = steps.into_iter().filter(|step| when(*step) <= over).collect();
                    let counts = counted(&steps, |_| ());
                    let what = format!("{complete} {answered} {over} {status:?} {flags}: {counts:?}");
                    assert_eq!((counts.pending(), counts.received, counts.timed.pending()), (0, 1, 0), "{what}");
                    assert!(counts.timed.slow <= counts.timed.begun && counts.unserved <= 1, "{what}");
                    assert_eq!(counts.judged() + counts.abandoned, 1, "{what}");
                    assert!(counts.latency.count() <= counts.timed.begun, "{what}");
                }
            }
        }
    }
}

const fn when(step: Step) -> u64 {
    match step {
        Complete(when) | Answered(when, _) | Over(when, _) => when,
    }
}
