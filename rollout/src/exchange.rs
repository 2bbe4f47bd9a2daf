//! route -> outcome: one request between its start and its end, as the worker remembers it.

use crate::outcome::{Ended, Outcome, classify};
use crate::tally::Stratum;
use crate::time::Micros;

/// A request that was counted as started and has not ended. Lost tickets stay pending: they are evidence too.
#[derive(Clone, Debug)]
pub struct Ticket {
    stratum: Stratum<u16>,
    started: Micros,
    status: Option<u16>,
    is_grpc: bool,
    grpc_status: Option<u32>,
    stream_answered: Option<Micros>,
}

impl Ticket {
    /// A request that starts now.
    pub(crate) const fn new(stratum: Stratum<u16>, started: Micros) -> Self {
        Self { stratum, started, status: None, is_grpc: false, grpc_status: None, stream_answered: None }
    }

    /// Where it is counted.
    pub(crate) const fn stratum(&self) -> Stratum<u16> {
        self.stratum
    }

    /// Whether its trailers can hold a status worth reading.
    pub const fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Response headers arrived. True for upgrades, server-sent events and gRPC: their latency ends now, so say what
    /// time it is by [`Ticket::stream_answered`]. How long a stream lives says nothing about how well it is served (a
    /// unary gRPC call cannot be told from a streaming one).
    #[must_use]
    pub fn response_headers(&mut self, headers: &[(&[u8], &[u8])]) -> bool {
        let value = |name: &str| headers.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| *value);
        self.status = value(":status").and_then(number).and_then(|status| u16::try_from(status).ok());
        let content_type = value("content-type").unwrap_or_default();
        self.is_grpc = content_type.starts_with(b"application/grpc");
        if self.is_grpc {
            self.grpc_status = value("grpc-status").and_then(number);
        }
        self.is_grpc || content_type.starts_with(b"text/event-stream") || self.status == Some(101)
    }

    /// The headers of a stream's answer came at this time. Asked for apart, since most answers need no clock here.
    pub const fn stream_answered(&mut self, now: Micros) {
        self.stream_answered = Some(now);
    }

    /// Response trailers arrived.
    pub fn response_trailers(&mut self, trailers: &[(&[u8], &[u8])]) {
        if self.is_grpc {
            let status = trailers.iter().find(|(name, _)| *name == b"grpc-status").and_then(|(_, value)| number(value));
            self.grpc_status = status.or(self.grpc_status);
        }
    }

    /// The request is over: its outcome and latency. `flags` and `attempts` as in [`Ended`].
    pub(crate) fn end(&self, flags: u64, attempts: Option<u64>, now: Micros) -> (Outcome, Micros) {
        let latency = self.stream_answered.unwrap_or(now).since(self.started);
        let ended = Ended { status: self.status, grpc_status: self.grpc_status, flags, attempts, latency };
        (classify(&ended), latency)
    }
}

fn number(value: &[u8]) -> Option<u32> {
    if value.is_empty() || value.len() > 9 {
        return None;
    }
    value.iter().try_fold(0u32, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureClass;
    use crate::route::Placement;
    use crate::table::{Epoch, Version};

    fn check(headers: &[(&[u8], &[u8])], trailers: &[(&[u8], &[u8])], expected: (Outcome, u64)) {
        let stratum = Stratum { canary: 0, epoch: Epoch(1), version: Version::Canary, placement: Placement::Drawn };
        let mut ticket = Ticket::new(stratum, Micros(1000));
        if ticket.response_headers(headers) {
            ticket.stream_answered(Micros(1500));
        }
        ticket.response_trailers(trailers);
        let (outcome, latency) = ticket.end(0, Some(1), Micros(9000));
        assert_eq!((outcome, latency.0), expected);
    }

    #[test]
    fn latency_runs_to_the_end_but_for_streams_to_the_headers() {
        check(&[(b":status", b"200")], &[], (Outcome::Success, 8000));
        check(&[(b":status", b"101")], &[], (Outcome::Success, 500));
        check(&[(b":status", b"200"), (b"content-type", b"text/event-stream; x")], &[], (Outcome::Success, 500));
        check(&[(b":status", b"200"), (b"content-type", b"application/grpc+proto")], &[], (Outcome::Success, 500));
    }

    #[test]
    fn a_grpc_status_counts_only_where_grpc_is_spoken() {
        let grpc: (&[u8], &[u8]) = (b"content-type", b"application/grpc");
        let failed = (Outcome::Failure(FailureClass::Grpc), 500);
        check(&[(b":status", b"200"), grpc], &[(b"grpc-status", b"13")], failed);
        check(&[(b":status", b"200"), grpc, (b"grpc-status", b"14")], &[], failed);
        check(&[(b":status", b"200"), grpc], &[(b"grpc-status", b"5")], (Outcome::Success, 500));
        check(&[(b":status", b"200")], &[(b"grpc-status", b"13")], (Outcome::Success, 8000));
    }

    #[test]
    fn hostile_numbers_are_no_numbers() {
        for value in [&b""[..], b"-1", b"2OO", b"99999999999", b"\xff"] {
            assert_eq!(number(value), None);
        }
        check(&[(b":status", b"99999")], &[], (Outcome::Failure(FailureClass::Reset), 8000));
    }
}
