//! Frames to messages and back: the only way from bytes to a domain type.
//!
//! Encoding cannot fail. Decoding refuses what breaks a rule of fleet.proto or a limit of [`crate::limits`], and says
//! which field, which value and which rule. Fields that a newer minor version adds are ignored.

use prost::Message;
use rollout::base::names::CanaryId;
use rollout::routing::table::{Entry, Epoch, Routing};
use rollout::worker::messages::{ToAgent, ToWorker};

use crate::counts::{decode_report, encode_report};
use crate::entry::{decode_entry, encode_entry};
use crate::error::WireError;
use crate::hello::{decode_adopted, decode_hello, decode_protocol, encode_adopted, encode_hello, encode_protocol};
use crate::limits::{MAX_FROM_WORKER_BYTES, MAX_TO_WORKER_BYTES};
use crate::v1;

/// A worker's message as one frame's bytes.
pub fn encode_from_worker(message: &ToAgent) -> Vec<u8> {
    v1::FromWorker::from(message).encode_to_vec()
}

/// A worker's message from one frame's bytes.
///
/// # Errors
/// When the frame is too long, is not protobuf, or breaks a rule of its message.
pub fn decode_from_worker(frame: &[u8]) -> Result<ToAgent, WireError> {
    decode::<v1::FromWorker>(frame, MAX_FROM_WORKER_BYTES)?.try_into()
}

/// An agent's message as one frame's bytes.
pub fn encode_to_worker(message: &ToWorker) -> Vec<u8> {
    v1::ToWorker::from(message).encode_to_vec()
}

/// An agent's message from one frame's bytes.
///
/// # Errors
/// When the frame is too long, is not protobuf, or breaks a rule of its message.
pub fn decode_to_worker(frame: &[u8]) -> Result<ToWorker, WireError> {
    decode::<v1::ToWorker>(frame, MAX_TO_WORKER_BYTES)?.try_into()
}

/// Whether a worker accepts this routing. An agent checks when it reads a plan, a filter when it reads its static
/// canaries, so that neither holds a routing that every worker refuses.
///
/// # Errors
/// The worker's refusal.
pub fn check_routing(canary: &CanaryId, routing: &Routing) -> Result<(), WireError> {
    let entry = Entry { canary: canary.clone(), epoch: Epoch(1), routing: Some(routing.clone()) };
    decode_to_worker(&encode_to_worker(&ToWorker::Entry(Box::new(entry)))).map(|_| ())
}

impl From<&ToAgent> for v1::FromWorker {
    fn from(message: &ToAgent) -> Self {
        use v1::from_worker::Message;
        let message = match message {
            ToAgent::Hello(hello) => Message::Hello(encode_hello(hello)),
            ToAgent::Report(report) => Message::Report(encode_report(report)),
            ToAgent::Adopted(canary, epoch) => Message::Adopted(encode_adopted(canary, *epoch)),
            ToAgent::Beat => Message::Beat(v1::Beat {}),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::FromWorker> for ToAgent {
    type Error = WireError;

    fn try_from(wire: v1::FromWorker) -> Result<Self, WireError> {
        use v1::from_worker::Message;
        match wire.message.ok_or_else(|| WireError::missing("message"))? {
            Message::Hello(hello) => decode_hello(hello).map(Self::Hello).map_err(|error| error.within("hello")),
            Message::Report(report) => decode_report(report).map(Self::Report).map_err(|error| error.within("report")),
            Message::Adopted(adopted) => decode_adopted(&adopted)
                .map(|(canary, epoch)| Self::Adopted(canary, epoch))
                .map_err(|error| error.within("adopted")),
            Message::Beat(_) => Ok(Self::Beat),
        }
    }
}

impl From<&ToWorker> for v1::ToWorker {
    fn from(message: &ToWorker) -> Self {
        use v1::to_worker::Message;
        let message = match message {
            ToWorker::Welcome(protocol) => Message::Welcome(v1::Welcome { protocol: Some(encode_protocol(*protocol)) }),
            ToWorker::Received(number) => Message::Received(v1::Received { number: *number }),
            ToWorker::Stored(number) => Message::Stored(v1::Stored { number: *number }),
            ToWorker::Entry(entry) => Message::Entry(encode_entry(entry)),
            ToWorker::Beat => Message::Beat(v1::Beat {}),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::ToWorker> for ToWorker {
    type Error = WireError;

    fn try_from(wire: v1::ToWorker) -> Result<Self, WireError> {
        use v1::to_worker::Message;
        match wire.message.ok_or_else(|| WireError::missing("message"))? {
            Message::Welcome(welcome) => {
                decode_protocol(welcome.protocol).map(Self::Welcome).map_err(|error| error.within("welcome"))
            }
            Message::Received(received) => report_number("received.number", received.number).map(Self::Received),
            Message::Stored(stored) => report_number("stored.number", stored.number).map(Self::Stored),
            Message::Entry(entry) => {
                decode_entry(entry).map(|entry| Self::Entry(Box::new(entry))).map_err(|error| error.within("entry"))
            }
            Message::Beat(_) => Ok(Self::Beat),
        }
    }
}

fn report_number(field: &'static str, number: u64) -> Result<u64, WireError> {
    let is_valid = number > 0;
    is_valid
        .then_some(number)
        .ok_or_else(|| WireError::number(field, number, "is not a valid report number; they count from 1"))
}

fn decode<M: Message + Default>(frame: &[u8], limit: usize) -> Result<M, WireError> {
    if frame.len() > limit {
        return Err(WireError::number(
            "frame",
            format_args!("{} bytes", frame.len()),
            format_args!("are too many; at most {limit} are allowed"),
        ));
    }
    M::decode(frame).map_err(|error| {
        WireError::number(
            "frame",
            format_args!("{} bytes", frame.len()),
            format_args!("are not a message of this protocol: {error}"),
        )
    })
}
