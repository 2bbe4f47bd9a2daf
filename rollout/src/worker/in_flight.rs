//! route -> outcome: one request between its start and its end, as the worker remembers it.

use crate::base::time::Micros;
use crate::routing::failure_codes::FailureCodes;
use crate::routing::grpc_web::{GrpcWebAnswer, GrpcWebCoding, number};
use crate::routing::measurement::LatencyEnd;
use crate::routing::outcome::{FailureClass, GrpcEnd, Outcome, RequestEnd, classify};
use crate::routing::request::GrpcKind;
use crate::routing::table::{CanaryIndex, Version};
use crate::worker::tally::{Slot, Stratum, TimedEnd};

/// Where and how a request is counted: decided with its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counting {
    /// The stratum in which it starts.
    pub(crate) stratum: Stratum<CanaryIndex>,
    /// A version's time longer than this is slow.
    pub(crate) limit: Option<Micros>,
    /// Where that time ends.
    pub(crate) latency_end: LatencyEnd,
    /// Behind its headers for longer than this, an answer is good.
    pub(crate) good_after: Micros,
    /// Which statuses are failures.
    pub(crate) failures: FailureCodes,
    /// Who sends it, where one user's failures are one.
    pub(crate) user: Option<u64>,
    /// How the request asks for a gRPC answer, if it does.
    pub(crate) grpc: Option<GrpcKind>,
    /// Whether its headers are all there is of it, whatever follows them.
    pub(crate) is_upgrade: bool,
}

/// A request that was counted as started and has not ended. Lost requests stay pending: they are evidence too.
#[derive(Clone, Debug)]
pub struct InFlight {
    counting: Counting,
    /// Whether it belongs to the canary's warm-up: then it is no trial of latency.
    is_warming: bool,
    /// Whether it is asked where it went.
    is_sampled: bool,
    /// Its number among the watched open requests, and for the fuse among those of its own version.
    open: Watched,
    arrival: Arrival,
    answer: Option<Answer>,
    /// The body of a gRPC-Web answer, as far as it is read.
    web: Option<Box<GrpcWebAnswer>>,
}

/// A request's numbers: where it is watched, and which it is among the trials of the fuse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// See [`Watch`](crate::worker::watch::Watch).
    pub(crate) serial: u64,
    /// As a trial of failure.
    pub(crate) trial: FuseTrial,
}

/// A request's place among the trials of one of the fuse's tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FuseTrial {
    /// How many of the canary's began before it.
    pub(crate) before: u64,
    /// Its number among those of its own version; `None` for what no fuse counts.
    pub(crate) own: Option<u64>,
}

impl FuseTrial {
    /// No fuse was there to count it.
    pub(crate) const NONE: Self = Self { before: 0, own: None };
}

/// How far a request has come in.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// The client is still sending.
    Partial,
    /// It came in whole; `was_late` says that it was counted as unserved by then.
    Whole { was_late: bool, timed: Option<TimedTrial> },
}

/// A request as a trial of latency.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimedTrial {
    /// When its time began.
    pub(crate) since: Micros,
    /// The slot of that moment.
    pub(crate) slot: Slot,
    /// While its time runs: where that is watched. None without a limit.
    pub(crate) serial: Option<u64>,
    /// Which trial of the fuse it is; none without a limit.
    pub(crate) trial: Option<FuseTrial>,
    /// Whether it is counted as slow already.
    pub(crate) is_slow: bool,
}

/// The headers of an answer.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Micros,
    status: Option<u16>,
    grpc_status: Option<u32>,
    /// gRPC, server-sent events, upgrades: their time ends here however it is measured.
    is_stream: bool,
    /// Where it is watched until it has been open for long enough to be good.
    good: Option<u64>,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// Of a success: whether its status was one of the client's errors.
    pub(crate) is_client_error: bool,
    /// The version's time, as far as it came.
    pub(crate) latency: Option<Micros>,
}

impl InFlight {
    /// A request that starts now.
    pub(crate) const fn new(counting: Counting, is_warming: bool, is_sampled: bool, open: Watched) -> Self {
        Self { counting, is_warming, is_sampled, open, arrival: Arrival::Partial, answer: None, web: None }
    }

    /// Where and how it is counted.
    pub(crate) const fn counting(&self) -> &Counting {
        &self.counting
    }

    /// The stratum in which it started.
    pub(crate) const fn stratum(&self) -> Stratum<CanaryIndex> {
        self.counting.stratum
    }

    /// Whose it is.
    pub(crate) const fn side(&self) -> (CanaryIndex, Version) {
        (self.counting.stratum.canary, self.counting.stratum.version)
    }

    /// The stratum of its trial of latency.
    pub(crate) const fn timed_stratum(&self, timed: &TimedTrial) -> Stratum<CanaryIndex> {
        Stratum { slot: timed.slot, ..self.counting.stratum }
    }

    /// Its numbers as an open request.
    pub(crate) const fn open(&self) -> Watched {
        self.open
    }

    /// Whether [`Worker::arrived`](crate::worker::Worker::arrived) is to be told where it went, once it is answered, if one
    /// attempt served it.
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Whether the client is still sending.
    pub(crate) const fn is_partial(&self) -> bool {
        matches!(self.arrival, Arrival::Partial)
    }

    /// Whether its time says something about the version, if it comes in whole now.
    pub(crate) const fn can_be_timed(&self) -> bool {
        !self.is_warming && self.answer.is_none()
    }

    /// It has come in whole.
    pub(crate) const fn complete(&mut self, was_late: bool, timed: Option<TimedTrial>) {
        self.arrival = Arrival::Whole { was_late, timed };
    }

    /// Whether it was counted as unserved because it took too long to come in; `is_late` of one that never came in whole.
    pub(crate) const fn was_late(&self, is_late: bool) -> bool {
        match self.arrival {
            Arrival::Partial => is_late,
            Arrival::Whole { was_late, .. } => was_late,
        }
    }

    /// Its trial of latency, if it is one.
    pub(crate) const fn timed(&self) -> Option<TimedTrial> {
        match self.arrival {
            Arrival::Whole { timed, .. } => timed,
            Arrival::Partial => None,
        }
    }

    /// Its time is over; `is_slow` says whether it is counted as slow.
    pub(crate) const fn stop_time(&mut self, is_slow: bool) {
        if let Arrival::Whole { timed: Some(timed), .. } = &mut self.arrival {
            timed.serial = None;
            timed.is_slow |= is_slow;
        }
    }

    /// Response headers arrived.
    pub(crate) fn answered(&mut self, headers: &[(&[u8], &[u8])], at: Micros) {
        let value = |name: &str| headers.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| *value);
        let status = value(":status").and_then(number).and_then(|status| u16::try_from(status).ok());
        let is_events = value("content-type").is_some_and(|value| value.starts_with(b"text/event-stream"));
        self.answer = Some(Answer {
            at,
            status,
            grpc_status: value("grpc-status").and_then(number),
            is_stream: self.counting.grpc.is_some() || is_events || status == Some(101),
            good: None,
        });
        if let Some(GrpcKind::Web(asked)) = self.counting.grpc {
            let kind = value("content-type").unwrap_or_default();
            let said = match kind.strip_prefix(b"application/grpc-web") {
                Some(rest) if rest.starts_with(b"-text") => GrpcWebCoding::Text,
                Some(_) => GrpcWebCoding::Binary,
                None => asked,
            };
            let is_plain = value("content-encoding").is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
            self.web = Some(Box::new(if is_plain { GrpcWebAnswer::new(said) } else { GrpcWebAnswer::opaque() }));
        }
    }

    /// Whether its answer's headers came.
    pub(crate) const fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether nothing in the answer's headers speaks against it.
    /// Its trailers may still say otherwise.
    pub(crate) fn is_answered_well(&self) -> bool {
        let Some(answer) = self.answer else { return false };
        let grpc =
            answer.grpc_status.filter(|_| self.counting.grpc.is_some()).map(|status| GrpcEnd { status: Some(status) });
        let end = self.request_end(answer.status, grpc);
        classify(&RequestEnd { attempts: Some(1), ..end }) == Outcome::Success
    }

    /// What is known of it now, but for what the proxy says at its end.
    const fn request_end(&self, status: Option<u16>, grpc: Option<GrpcEnd>) -> RequestEnd {
        let (is_complete, failures) = (!self.is_partial(), self.counting.failures);
        RequestEnd { status, grpc, flags: 0, attempts: None, is_complete, failures }
    }

    /// The answer is watched under this number until it counts as good.
    pub(crate) const fn watch_answer(&mut self, serial: u64) {
        if let Some(answer) = &mut self.answer {
            answer.good = Some(serial);
        }
    }

    /// Where its answer is watched.
    pub(crate) fn answer_watched(&self) -> Option<u64> {
        self.answer?.good
    }

    /// Whether it asked for gRPC and was answered in gRPC.
    pub(crate) fn has_grpc_status(&self) -> bool {
        self.grpc_status().is_some()
    }

    /// The status of a gRPC call's answer, wherever it stood.
    fn grpc_status(&self) -> Option<u32> {
        let stated = self.answer.filter(|_| self.counting.grpc.is_some()).and_then(|answer| answer.grpc_status);
        stated.or_else(|| self.web.as_ref()?.status())
    }

    /// Whether its status is one of the client's errors.
    pub(crate) fn is_client_error(&self) -> bool {
        self.answer.and_then(|answer| answer.status).is_some_and(|status| (400..500).contains(&status))
    }

    /// Whether its trailers hold a status worth reading.
    pub const fn is_grpc(&self) -> bool {
        self.counting.grpc.is_some()
    }

    /// Whether its answer's body holds a status: then [`InFlight::response_body`] wants all of it.
    pub fn wants_body(&self) -> bool {
        self.web.as_ref().is_some_and(|web| web.is_open())
    }

    /// More of the answer's body arrived.
    pub fn response_body(&mut self, bytes: &[u8]) {
        if let Some(web) = &mut self.web {
            web.push(bytes);
        }
    }

    /// Response trailers arrived.
    pub fn response_trailers(&mut self, trailers: &[(&[u8], &[u8])]) {
        if let Some(answer) = self.answer.as_mut().filter(|_| self.counting.grpc.is_some()) {
            let status = trailers.iter().find(|(name, _)| *name == b"grpc-status").and_then(|(_, value)| number(value));
            answer.grpc_status = status.or(answer.grpc_status);
        }
    }

    /// The version's time up to its answer's headers, or up to `now` where it ends behind them or none came; `None` for what is
    /// no trial of latency.
    pub(crate) fn latency(&self, now: Micros) -> Option<Micros> {
        let timed = self.timed()?;
        let end = match (self.answer, self.counting.latency_end) {
            (Some(answer), LatencyEnd::ResponseHeaders) => answer.at,
            (Some(answer), LatencyEnd::LastByte) if answer.is_stream => answer.at,
            (Some(_), LatencyEnd::LastByte) | (None, _) => now,
        };
        Some(end.since(timed.since))
    }

    /// Whether its time ended with the answer's headers.
    pub(crate) fn is_timed_at_headers(&self) -> bool {
        let is_stream = self.answer.is_some_and(|answer| answer.is_stream);
        self.counting.latency_end == LatencyEnd::ResponseHeaders || is_stream
    }

    /// The request is over. `flags` and `attempts` as in [`RequestEnd`]. A call is judged as gRPC where the service
    /// `speaks_grpc`: any client can ask a service for it that does not.
    pub(crate) fn end(&self, flags: u64, attempts: Option<u64>, speaks_grpc: bool, now: Micros) -> Ended {
        let status = self.answer.and_then(|answer| answer.status);
        let grpc = GrpcEnd { status: self.grpc_status() };
        let is_call = self.counting.grpc.is_some() && (speaks_grpc || grpc.status.is_some());
        let is_opaque = grpc.status.is_none() && self.web.as_ref().is_some_and(|web| web.is_opaque());
        let grpc = Some(grpc).filter(|_| is_call);
        let outcome = match classify(&RequestEnd { flags, attempts, ..self.request_end(status, grpc) }) {
            Outcome::Success | Outcome::Failure(FailureClass::Grpc) if is_opaque => Outcome::Void,
            outcome => outcome,
        };
        let is_client_error = outcome == Outcome::Success && self.is_client_error();
        Ended { outcome, is_client_error, latency: self.latency(now) }
    }

    /// What an end means for the trial of latency, and whether that is slow.
    pub(crate) fn timed_end(&self, outcome: Outcome, latency: Micros) -> (TimedEnd, bool) {
        let is_late = self.counting.limit.is_some_and(|limit| latency > limit);
        let was_slow = self.timed().is_some_and(|timed| timed.is_slow);
        match outcome {
            Outcome::Success => (TimedEnd::Took(latency), is_late),
            Outcome::Failure(_) => (TimedEnd::Took(latency), true),
            // Its time was over before the client left.
            Outcome::Abandoned if self.is_answered() && self.is_timed_at_headers() => {
                (TimedEnd::Took(latency), is_late)
            }
            Outcome::Abandoned if is_late || was_slow => (TimedEnd::LeftLate, true),
            Outcome::Abandoned => (TimedEnd::Left, false),
            // It may have been counted as slow while another filter of the proxy held it.
            Outcome::Void if was_slow => (TimedEnd::LeftLate, false),
            Outcome::Void => (TimedEnd::Void, false),
        }
    }
}

#[cfg(test)]
mod tests;
