//! How one request ended: the one place that says what a failure is.
//!
//! In words: docs/statistics.md, section 6. The facts are Envoy's terms, so that a wasm filter and a native module hand
//! over the same.

use serde::{Deserialize, Serialize};

use crate::routing::failure_codes::FailureCodes;

/// What the proxy knows when a request is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestEnd {
    /// HTTP status of the answer, if one came.
    pub status: Option<u16>,
    /// For a gRPC call, what its answer says; `None` for every other request.
    pub grpc: Option<GrpcEnd>,
    /// Envoy's response flags (`response.flags`), one bit each.
    pub flags: u64,
    /// Attempts the router made upstream; `None` when it never tried (local replies).
    pub attempts: Option<u64>,
    /// Whether the whole request had come in.
    pub is_complete: bool,
    /// Which statuses are failures.
    pub failures: FailureCodes,
}

/// How a gRPC call was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcEnd {
    /// `grpc-status` of its trailers, or of its headers where they are all there is.
    pub status: Option<u32>,
}

/// What a request says about the version that served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A good answer.
    Success,
    /// A bad answer, or none.
    Failure(FailureClass),
    /// Says nothing about the version: it was never tried.
    Void,
    /// Neither good nor bad: the client left, or its upload or download outlasted the proxy's patience. Compared with the
    /// primary's alone.
    Abandoned,
}

/// Why a request counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureClass {
    /// A status that is a failure: 500 to 599, unless the manifest leaves it out.
    Status5xx,
    /// A gRPC call with a status that is a failure, or without any.
    Grpc,
    /// The upstream broke the connection or the stream.
    Reset,
    /// The upstream did not answer in time.
    Timeout,
    /// No upstream could be reached: no healthy host, connection refused, overflow, unknown cluster.
    Unavailable,
    /// A first attempt failed although a retry saved the request.
    Retried,
}

impl FailureClass {
    /// Every class, in the order in which [`Failures`](crate::worker::tally::Failures) keeps them.
    pub const ALL: [Self; 6] =
        [Self::Status5xx, Self::Grpc, Self::Reset, Self::Timeout, Self::Unavailable, Self::Retried];

    /// The class's name in messages and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status5xx => "5xx",
            Self::Grpc => "grpc",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Retried => "retried",
        }
    }
}

// Envoy's response flags by bit (source/envoy/stream_info, CoreResponseFlag).
const FAILED_LOCAL_HEALTH_CHECK: u64 = 1;
const NO_HEALTHY_UPSTREAM: u64 = 1 << 1;
const UPSTREAM_REQUEST_TIMEOUT: u64 = 1 << 2;
const LOCAL_RESET: u64 = 1 << 3;
const UPSTREAM_REMOTE_RESET: u64 = 1 << 4;
const UPSTREAM_CONNECTION_FAILURE: u64 = 1 << 5;
pub(crate) const UPSTREAM_CONNECTION_TERMINATION: u64 = 1 << 6;
const UPSTREAM_OVERFLOW: u64 = 1 << 7;
const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 1 << 14;
const STREAM_IDLE_TIMEOUT: u64 = 1 << 16;
const DOWNSTREAM_PROTOCOL_ERROR: u64 = 1 << 18;
const UPSTREAM_MAX_STREAM_DURATION: u64 = 1 << 19;
const DURATION_TIMEOUT: u64 = 1 << 22;
const UPSTREAM_PROTOCOL_ERROR: u64 = 1 << 23;
const NO_CLUSTER_FOUND: u64 = 1 << 24;
const OVERLOAD_MANAGER: u64 = 1 << 25;
const DNS_RESOLUTION_FAILED: u64 = 1 << 26;
pub(crate) const DOWNSTREAM_REMOTE_RESET: u64 = 1 << 28;

/// The client left, broke the protocol, or was cut off by a proxy that has too much to do.
const CLIENT_GONE: u64 =
    DOWNSTREAM_CONNECTION_TERMINATION | DOWNSTREAM_REMOTE_RESET | DOWNSTREAM_PROTOCOL_ERROR | OVERLOAD_MANAGER;
const UNAVAILABLE: u64 = FAILED_LOCAL_HEALTH_CHECK
    | NO_HEALTHY_UPSTREAM
    | UPSTREAM_CONNECTION_FAILURE
    | UPSTREAM_OVERFLOW
    | NO_CLUSTER_FOUND
    | DNS_RESOLUTION_FAILED;
const TIMED_OUT: u64 = UPSTREAM_REQUEST_TIMEOUT | STREAM_IDLE_TIMEOUT | UPSTREAM_MAX_STREAM_DURATION | DURATION_TIMEOUT;
const RESET: u64 = LOCAL_RESET | UPSTREAM_REMOTE_RESET | UPSTREAM_CONNECTION_TERMINATION | UPSTREAM_PROTOCOL_ERROR;

/// The gRPC status that an HTTP status stands for where a call has none of its own.
/// Source: gRPC's "HTTP to gRPC Status Code Mapping" (doc/http-grpc-status-mapping.md).
const fn grpc_status_of(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Judges one ended request.
pub fn classify(ended: &RequestEnd) -> Outcome {
    use FailureClass::{Grpc, Reset, Retried, Status5xx, Timeout, Unavailable};
    let flagged = |bits: u64| ended.flags & bits != 0;
    let tried = ended.attempts.is_some_and(|attempts| attempts > 0);
    let is_error = ended.status.is_some_and(|status| ended.failures.is_http_failure(status));
    // An answer that is an error is a failure, whatever the client does then.
    if flagged(CLIENT_GONE) && !(tried && is_error) {
        return if tried { Outcome::Abandoned } else { Outcome::Void };
    }
    if flagged(UNAVAILABLE) {
        return Outcome::Failure(Unavailable);
    }
    if !tried {
        return Outcome::Void;
    }
    if flagged(TIMED_OUT) {
        // Before the request is complete the proxy waited for the client, behind the answer's headers perhaps too.
        let is_cut = ended.status.is_some() && !is_error;
        return if is_cut || !ended.is_complete { Outcome::Abandoned } else { Outcome::Failure(Timeout) };
    }
    if flagged(RESET) {
        return Outcome::Failure(Reset);
    }
    let Some(status) = ended.status else { return Outcome::Failure(Reset) };
    if let Some(grpc) = ended.grpc
        && ended.failures.is_grpc_failure(grpc.status.unwrap_or_else(|| grpc_status_of(status)))
    {
        return Outcome::Failure(Grpc);
    }
    match status {
        _ if is_error => Outcome::Failure(Status5xx),
        _ if ended.attempts.is_some_and(|attempts| attempts > 1) => Outcome::Failure(Retried),
        _ => Outcome::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edit: impl FnOnce(&mut RequestEnd), expected: Outcome) {
        let mut ended = RequestEnd { status: Some(200), attempts: Some(1), is_complete: true, ..RequestEnd::default() };
        edit(&mut ended);
        assert_eq!(classify(&ended), expected, "{ended:?}");
    }

    const fn grpc(status: Option<u32>) -> Option<GrpcEnd> {
        Some(GrpcEnd { status })
    }

    #[test]
    fn every_row_of_the_design_table() {
        use FailureClass::*;
        check(|_| (), Outcome::Success);
        check(|e| e.status = Some(404), Outcome::Success);
        check(|e| e.status = Some(500), Outcome::Failure(Status5xx));
        check(|e| e.status = Some(599), Outcome::Failure(Status5xx));
        check(|e| e.attempts = Some(2), Outcome::Failure(Retried));
        check(|e| (e.attempts, e.status) = (Some(3), Some(503)), Outcome::Failure(Status5xx));
        check(|e| (e.flags, e.status) = (32, Some(503)), Outcome::Failure(Unavailable));
        check(|e| (e.flags, e.status, e.attempts) = (2, Some(503), None), Outcome::Failure(Unavailable));
        check(|e| (e.flags, e.status) = (4, Some(504)), Outcome::Failure(Timeout));
        check(|e| e.flags = UPSTREAM_CONNECTION_TERMINATION, Outcome::Failure(Reset));
        check(|e| e.status = None, Outcome::Failure(Reset));
    }

    #[test]
    fn a_grpc_call_needs_a_grpc_status() {
        let failed = Outcome::Failure(FailureClass::Grpc);
        for code in [2, 4, 12, 13, 14, 15] {
            check(|e| e.grpc = grpc(Some(code)), failed);
        }
        for code in [0, 1, 3, 5, 7, 8, 9, 10, 11, 16] {
            check(|e| e.grpc = grpc(Some(code)), Outcome::Success);
        }
        check(|e| e.grpc = grpc(None), failed);
        for (status, outcome) in [(404, failed), (400, failed), (429, failed), (503, failed), (204, failed)] {
            check(|e| (e.status, e.grpc) = (Some(status), grpc(None)), outcome);
        }
        for status in [401, 403] {
            check(|e| (e.status, e.grpc) = (Some(status), grpc(None)), Outcome::Success);
        }
        check(|e| (e.status, e.grpc) = (Some(404), grpc(Some(5))), Outcome::Success);
        check(|e| (e.flags, e.grpc) = (CLIENT_GONE, grpc(None)), Outcome::Abandoned);
    }

    #[test]
    fn statuses_can_be_set_for_each_canary() {
        let failures = FailureCodes::new([501, 505], [8]).unwrap();
        for (status, outcome) in [(501, Outcome::Success), (500, Outcome::Failure(FailureClass::Status5xx))] {
            check(|e| (e.status, e.failures) = (Some(status), failures), outcome);
        }
        let failed = Outcome::Failure(FailureClass::Grpc);
        for (code, outcome) in [(8, failed), (13, Outcome::Success)] {
            check(|e| (e.grpc, e.failures) = (grpc(Some(code)), failures), outcome);
        }
        // Without a status of its own it is the one that HTTP's stands for.
        check(|e| (e.status, e.grpc, e.failures) = (Some(404), grpc(None), failures), Outcome::Success);
    }

    #[test]
    fn what_never_tried_the_upstream_says_nothing_about_it() {
        for status in [301, 401, 404, 429, 500, 503] {
            check(|e| (e.status, e.attempts) = (Some(status), None), Outcome::Void);
        }
    }

    #[test]
    fn a_client_that_left_is_no_witness() {
        for flag in [1 << 14, 1 << 18, 1 << 25, 1 << 28] {
            for status in [None, Some(200), Some(404)] {
                check(|e| (e.flags, e.status) = (flag, status), Outcome::Abandoned);
                check(|e| (e.flags, e.status, e.attempts) = (flag, status, None), Outcome::Void);
            }
        }
        let failed = Outcome::Failure(FailureClass::Status5xx);
        check(|e| (e.flags, e.status) = (CLIENT_GONE, Some(500)), failed);
    }

    #[test]
    fn a_timeout_is_the_versions_only_while_the_proxy_waits_for_it() {
        for flag in [UPSTREAM_REQUEST_TIMEOUT, STREAM_IDLE_TIMEOUT, UPSTREAM_MAX_STREAM_DURATION, DURATION_TIMEOUT] {
            check(|e| (e.flags, e.status) = (flag, Some(504)), Outcome::Failure(FailureClass::Timeout));
            check(|e| (e.flags, e.status) = (flag, None), Outcome::Failure(FailureClass::Timeout));
            check(|e| (e.flags, e.status) = (flag, Some(200)), Outcome::Abandoned);
            check(|e| (e.flags, e.status, e.is_complete) = (flag, Some(504), false), Outcome::Abandoned);
        }
    }
}
