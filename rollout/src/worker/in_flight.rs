//! route -> outcome: one request between its start and its end, as the worker remembers it.

use crate::base::time::Micros;
use crate::routing::outcome::{Outcome, RequestEnd, classify};
use crate::routing::table::CanaryIndex;
use crate::worker::tally::Stratum;

/// A request that was counted as started and has not ended. Lost requests stay pending: they are evidence too.
#[derive(Clone, Debug)]
pub struct InFlight {
    stratum: Stratum<CanaryIndex>,
    started: Micros,
    limit: Micros,
    serial: u64,
    ordinal: u64,
    status: Option<u16>,
    is_grpc: bool,
    grpc_status: Option<u32>,
    /// When a stream was answered, and whether its age had been counted as slow by then.
    stream_answered: Option<(Micros, bool)>,
}

impl InFlight {
    /// A request that starts now.
    pub(crate) const fn new(
        stratum: Stratum<CanaryIndex>,
        started: Micros,
        limit: Micros,
        [serial, ordinal]: [u64; 2],
    ) -> Self {
        Self {
            stratum,
            started,
            limit,
            serial,
            ordinal,
            status: None,
            is_grpc: false,
            grpc_status: None,
            stream_answered: None,
        }
    }

    /// Where it is counted.
    pub(crate) const fn stratum(&self) -> Stratum<CanaryIndex> {
        self.stratum
    }

    /// Its number among the canary's requests of this worker.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    /// Its number among the requests that this worker sent to the canary, for the fuse.
    pub(crate) const fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Whether its trailers can hold a status worth reading.
    pub const fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Response headers arrived. True for upgrades, server-sent events and gRPC: their latency ends now, so say what
    /// time it is by the worker's `stream_answered`. How long a stream lives says nothing about how well it is served (a
    /// unary gRPC call cannot be distinguished from a streaming one).
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

    /// The headers of a stream's answer came at this time; from now on its age says nothing.
    pub(crate) const fn stream_answered(&mut self, now: Micros, was_counted: bool) {
        self.stream_answered = Some((now, was_counted));
    }

    /// For a stream that was answered: whether its age had been counted as slow by then.
    pub(crate) fn counted_before_answer(&self) -> Option<bool> {
        self.stream_answered.map(|(_, was_counted)| was_counted)
    }

    /// Response trailers arrived.
    pub fn response_trailers(&mut self, trailers: &[(&[u8], &[u8])]) {
        if self.is_grpc {
            let status = trailers.iter().find(|(name, _)| *name == b"grpc-status").and_then(|(_, value)| number(value));
            self.grpc_status = status.or(self.grpc_status);
        }
    }

    /// The request is over: its outcome and latency. `flags` and `attempts` as in [`RequestEnd`].
    /// The third is whether it was slow.
    pub(crate) fn end(&self, flags: u64, attempts: Option<u64>, now: Micros) -> (Outcome, Micros, bool) {
        let latency = self.stream_answered.map_or(now, |(at, _)| at).since(self.started);
        let ended = RequestEnd {
            status: self.status,
            grpc_status: self.grpc_status,
            flags,
            attempts,
            latency,
            limit: self.limit,
        };
        let outcome = classify(&ended);
        let is_slow = match outcome {
            Outcome::Failure(_) | Outcome::Abandoned => true,
            Outcome::Success => latency > self.limit,
            Outcome::Void => false,
        };
        (outcome, latency, is_slow)
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
    use crate::routing::outcome::FailureClass;
    use crate::routing::route::Placement;
    use crate::routing::table::{Epoch, Version};
    use crate::worker::tally::Slot;

    fn check(headers: &[(&[u8], &[u8])], trailers: &[(&[u8], &[u8])], expected: (Outcome, u64)) {
        let (version, placement) = (Version::Canary, Placement::Drawn);
        let stratum = Stratum { canary: CanaryIndex(0), epoch: Epoch(1), version, placement, slot: Slot(0) };
        let mut request = InFlight::new(stratum, Micros(1000), Micros(4000), [0, 0]);
        if request.response_headers(headers) {
            request.stream_answered(Micros(1500), false);
        }
        request.response_trailers(trailers);
        let (outcome, latency, is_slow) = request.end(0, Some(1), Micros(9000));
        assert_eq!((outcome, latency.0), expected);
        assert_eq!(is_slow, latency.0 > 4000 || outcome != Outcome::Success, "a failure is slow, however fast it came");
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
