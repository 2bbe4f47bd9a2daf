//! How one request ended: the one place that says what a failure is.
//!
//! In words: docs/statistics.md, section 6. The facts are Envoy's terms, so that a wasm filter and a native module hand
//! over the same.

use serde::{Deserialize, Serialize};

use crate::base::time::Micros;

/// A request without an answer for this long counts as hung when no latency limit is configured.
pub const HUNG: Micros = Micros(15_000_000);

/// What the proxy knows when a request is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestEnd {
    /// HTTP status sent to the client, if any was.
    pub status: Option<u16>,
    /// gRPC status, for responses whose content type is gRPC.
    pub grpc_status: Option<u32>,
    /// Envoy's response flags (`response.flags`), one bit each.
    pub flags: u64,
    /// Attempts the router made upstream; `None` when it never tried (local replies).
    pub attempts: Option<u64>,
    /// From the request's start to the end of the response (to its headers for streams).
    pub latency: Micros,
    /// Longer than this is slow.
    pub limit: Micros,
}

/// What a request says about the version that served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A good answer.
    Success,
    /// A bad answer, or none.
    Failure(FailureClass),
    /// Says nothing about the version: it was never tried, or the client left.
    Void,
    /// The client left, but only after the latency limit: slow, neither good nor bad.
    Abandoned,
}

/// Why a request counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureClass {
    /// Status 500 to 599.
    Status5xx,
    /// gRPC status 2, 4, 12, 13, 14 or 15.
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
const UPSTREAM_MAX_STREAM_DURATION: u64 = 1 << 19;
const DURATION_TIMEOUT: u64 = 1 << 22;
const UPSTREAM_PROTOCOL_ERROR: u64 = 1 << 23;
const NO_CLUSTER_FOUND: u64 = 1 << 24;
const DNS_RESOLUTION_FAILED: u64 = 1 << 26;
pub(crate) const DOWNSTREAM_REMOTE_RESET: u64 = 1 << 28;

const CLIENT_GONE: u64 = DOWNSTREAM_CONNECTION_TERMINATION | DOWNSTREAM_REMOTE_RESET;
const UNAVAILABLE: u64 = FAILED_LOCAL_HEALTH_CHECK
    | NO_HEALTHY_UPSTREAM
    | UPSTREAM_CONNECTION_FAILURE
    | UPSTREAM_OVERFLOW
    | NO_CLUSTER_FOUND
    | DNS_RESOLUTION_FAILED;
const TIMED_OUT: u64 = UPSTREAM_REQUEST_TIMEOUT | STREAM_IDLE_TIMEOUT | UPSTREAM_MAX_STREAM_DURATION | DURATION_TIMEOUT;
const RESET: u64 = LOCAL_RESET | UPSTREAM_REMOTE_RESET | UPSTREAM_CONNECTION_TERMINATION | UPSTREAM_PROTOCOL_ERROR;

/// Judges one ended request.
pub fn classify(ended: &RequestEnd) -> Outcome {
    use FailureClass::{Grpc, Reset, Retried, Status5xx, Timeout, Unavailable};
    let flagged = |bits: u64| ended.flags & bits != 0;
    let tried = ended.attempts.is_some_and(|attempts| attempts > 0);
    // A client that left is no witness, unless it left because nothing came.
    if flagged(CLIENT_GONE) {
        return match ended.latency {
            _ if !tried => Outcome::Void,
            latency if latency >= HUNG => Outcome::Failure(Timeout),
            latency if latency > ended.limit => Outcome::Abandoned,
            _ => Outcome::Void,
        };
    }
    if flagged(UNAVAILABLE) {
        return Outcome::Failure(Unavailable);
    }
    if !tried {
        return Outcome::Void;
    }
    if flagged(TIMED_OUT) {
        return Outcome::Failure(Timeout);
    }
    if flagged(RESET) {
        return Outcome::Failure(Reset);
    }
    if matches!(ended.grpc_status, Some(2 | 4 | 12..=15)) {
        return Outcome::Failure(Grpc);
    }
    match ended.status {
        None => Outcome::Failure(Reset),
        Some(500..=599) => Outcome::Failure(Status5xx),
        Some(_) if ended.attempts.is_some_and(|attempts| attempts > 1) => Outcome::Failure(Retried),
        Some(_) => Outcome::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(edit: impl FnOnce(&mut RequestEnd), expected: Outcome) {
        let mut ended = RequestEnd { status: Some(200), attempts: Some(1), limit: HUNG, ..RequestEnd::default() };
        edit(&mut ended);
        assert_eq!(classify(&ended), expected, "{ended:?}");
    }

    #[test]
    fn every_row_of_the_design_table() {
        use FailureClass::*;
        check(|_| (), Outcome::Success);
        check(|e| e.status = Some(404), Outcome::Success);
        check(|e| e.status = Some(500), Outcome::Failure(Status5xx));
        check(|e| e.status = Some(599), Outcome::Failure(Status5xx));
        for code in [2, 4, 12, 13, 14, 15] {
            check(|e| e.grpc_status = Some(code), Outcome::Failure(Grpc));
        }
        for code in [0, 1, 3, 5, 7, 8, 9, 10, 11, 16] {
            check(|e| e.grpc_status = Some(code), Outcome::Success);
        }
        check(|e| e.attempts = Some(2), Outcome::Failure(Retried));
        check(|e| (e.attempts, e.status) = (Some(3), Some(503)), Outcome::Failure(Status5xx));
        check(|e| (e.flags, e.status) = (32, Some(503)), Outcome::Failure(Unavailable));
        check(|e| (e.flags, e.status, e.attempts) = (2, Some(503), None), Outcome::Failure(Unavailable));
        check(|e| (e.flags, e.status) = (4, Some(504)), Outcome::Failure(Timeout));
        check(|e| e.flags = UPSTREAM_CONNECTION_TERMINATION, Outcome::Failure(Reset));
        check(|e| e.status = None, Outcome::Failure(Reset));
    }

    #[test]
    fn what_never_tried_the_upstream_says_nothing_about_it() {
        for status in [301, 401, 404, 429, 500, 503] {
            check(|e| (e.status, e.attempts) = (Some(status), None), Outcome::Void);
        }
    }

    #[test]
    fn a_client_that_left_is_void_until_the_request_counts_as_hung() {
        check(|e| (e.flags, e.status) = (CLIENT_GONE, None), Outcome::Void);
        check(|e| (e.flags, e.latency) = (CLIENT_GONE, HUNG), Outcome::Failure(FailureClass::Timeout));
        check(|e| (e.flags, e.latency, e.attempts) = (CLIENT_GONE, HUNG, None), Outcome::Void);
        let after = |latency| {
            move |e: &mut RequestEnd| (e.flags, e.latency, e.limit) = (CLIENT_GONE, Micros(latency), Micros(500))
        };
        check(after(500), Outcome::Void);
        check(after(501), Outcome::Abandoned);
    }
}
