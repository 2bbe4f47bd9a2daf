//! What a request says once it is over: its outcome, its version's time, and how its trial of latency ended.

use super::*;
use crate::routing::outcome::FailureClass;
use crate::routing::route::Placement;
use crate::routing::table::{Epoch, Version};

const GRPC: (&[u8], &[u8]) = (b"content-type", b"application/grpc+proto");

/// One that starts at 0, comes in whole at 1,000 µs, is answered at 5,000 and over at 9,000, with a limit of 4,000.
fn ended(latency_end: LatencyEnd, is_grpc: bool, headers: &[(&[u8], &[u8])], trailers: &[(&[u8], &[u8])]) -> Ended {
    let (version, placement) = (Version::Canary, Placement::Drawn);
    let stratum = Stratum { canary: CanaryIndex(0), epoch: Epoch(1), version, placement, slot: Slot(0) };
    let good_after = Micros(1_000_000);
    let counting = Counting {
        stratum,
        limit: Some(Micros(4_000)),
        latency_end,
        good_after,
        failures: FailureCodes::USUAL,
        user: None,
        grpc: is_grpc.then_some(GrpcKind::Native),
        is_upgrade: false,
    };
    let mut request = InFlight::new(counting, false, false, Watched { serial: 0, trial: FuseTrial::NONE });
    let timed = TimedTrial { since: Micros(1_000), slot: Slot(0), serial: None, trial: None, is_slow: false };
    request.complete(false, Some(timed));
    request.answered(headers, Micros(5_000));
    request.response_trailers(trailers);
    request.end(0, Some(1), true, Micros(9_000))
}

fn check(latency_end: LatencyEnd, is_grpc: bool, headers: &[(&[u8], &[u8])], outcome: Outcome, latency: u64) {
    let ended = ended(latency_end, is_grpc, headers, &[(b"grpc-status", b"0")]);
    assert_eq!((ended.outcome, ended.latency), (outcome, Some(Micros(latency))), "{headers:?}");
}

#[test]
fn a_versions_time_runs_from_the_end_of_the_request_to_its_answers_headers() {
    for (is_grpc, status) in [(false, &b"200"[..]), (false, b"404"), (false, b"101"), (true, b"200")] {
        check(LatencyEnd::ResponseHeaders, is_grpc, &[(b":status", status)], Outcome::Success, 4_000);
    }
    let failed = Outcome::Failure(FailureClass::Status5xx);
    check(LatencyEnd::ResponseHeaders, false, &[(b":status", b"503")], failed, 4_000);
}

#[test]
fn to_the_last_byte_where_that_is_asked_for_but_never_of_a_stream() {
    let events: (&[u8], &[u8]) = (b"content-type", b"text/event-stream; charset=utf-8");
    check(LatencyEnd::LastByte, false, &[(b":status", b"200")], Outcome::Success, 8_000);
    check(LatencyEnd::LastByte, false, &[(b":status", b"200"), events], Outcome::Success, 4_000);
    check(LatencyEnd::LastByte, false, &[(b":status", b"101")], Outcome::Success, 4_000);
    check(LatencyEnd::LastByte, true, &[(b":status", b"200"), GRPC], Outcome::Success, 4_000);
}

#[test]
fn a_grpc_status_counts_where_the_request_asked_for_grpc() {
    let of = |is_grpc, headers: &[(&[u8], &[u8])], trailers: &[(&[u8], &[u8])]| {
        ended(LatencyEnd::ResponseHeaders, is_grpc, headers, trailers).outcome
    };
    let failed = Outcome::Failure(FailureClass::Grpc);
    let ok: (&[u8], &[u8]) = (b":status", b"200");
    assert_eq!(of(true, &[ok, GRPC], &[(b"grpc-status", b"13")]), failed);
    assert_eq!(of(true, &[ok, GRPC, (b"grpc-status", b"14")], &[]), failed);
    assert_eq!(of(true, &[ok, GRPC], &[(b"grpc-status", b"5")]), Outcome::Success);
    assert_eq!(of(true, &[ok, GRPC], &[]), failed, "no status at all");
    assert_eq!(of(true, &[ok, (b"content-type", b"text/html")], &[]), failed, "not even gRPC");
    assert_eq!(of(true, &[ok, GRPC], &[(b"grpc-status", b"999999999999")]), failed, "not a number");
    assert_eq!(of(false, &[ok, GRPC], &[(b"grpc-status", b"13")]), Outcome::Success, "nobody asked for gRPC");
}

#[test]
fn hostile_numbers_are_no_numbers() {
    for value in [&b""[..], b"-1", b"2OO", b"99999999999", b"\xff"] {
        assert_eq!(number(value), None);
    }
    check(LatencyEnd::ResponseHeaders, false, &[(b":status", b"99999")], Outcome::Failure(FailureClass::Reset), 4_000);
}
