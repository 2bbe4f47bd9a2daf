//! A stream is judged by how soon it is answered, not by how long it lives.

use super::*;
use std::collections::BTreeMap;

use crate::base::names::Upstream;
use crate::routing::table::{Routing, Scope, Split};
use crate::worker::messages::Incarnation;

const HEADERS: &[(&[u8], &[u8])] = &[(b":authority", b"web"), (b":path", b"/")];
const SECOND: u64 = 1_000_000;

fn worker() -> Worker {
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
        max_strata: 64,
    };
    Worker::new(identity, settings, 1)
}

/// How often one request counts as slow that is answered after `answer` microseconds as `content_type` and ends after
/// 20 s, with a latency limit of 1 s and a look every 100 ms.
fn slow(content_type: &[u8], answer: u64) -> u64 {
    let mut worker = worker();
    let decision = worker.route(Request { headers: HEADERS, client_address: None }, Micros(0));
    let mut request = worker.start(&decision, true, Micros(0)).unwrap();
    for now in (0..20 * SECOND).step_by(100_000) {
        worker.tick(Micros(now).to_millis());
        if now == answer && request.response_headers(&[(b":status", b"200"), (b"content-type", content_type)]) {
            worker.stream_answered(&mut request, Micros(now));
        }
    }
    worker.finish(&request, 0, Some(1), Micros(20 * SECOND));
    worker.tally.take(usize::MAX).iter().map(|(_, counts)| counts.slow).sum()
}

#[test]
fn a_long_life_is_no_slowness() {
    assert_eq!(slow(b"text/event-stream", SECOND / 10), 0);
    assert_eq!(slow(b"application/grpc", SECOND / 10), 0);
    assert_eq!(slow(b"text/html", SECOND / 10), 1, "an exchange is not over before its last byte");
}

#[test]
fn a_stream_that_is_answered_late_is_slow_once() {
    assert_eq!(slow(b"text/event-stream", 5 * SECOND), 1);
}
