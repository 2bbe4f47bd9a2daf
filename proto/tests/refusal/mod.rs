//! What the decoder says to a message, and how a test reads it.
#![allow(dead_code, unreachable_pub, reason = "a module shared by test binaries, each of which uses a part")]

use prost::Message;
use proto::v1::{self, from_worker, to_worker};
use proto::wire::{decode_from_worker, decode_to_worker};

pub fn refusal(result: Result<impl std::fmt::Debug, proto::WireError>) -> String {
    result.map_or_else(|error| error.to_string(), |message| format!("accepted: {message:?}"))
}

pub fn up(message: from_worker::Message) -> String {
    let frame = v1::FromWorker { message: Some(message) };
    refusal(decode_from_worker(&frame.encode_to_vec()))
}

pub fn down(message: to_worker::Message) -> String {
    let frame = v1::ToWorker { message: Some(message) };
    refusal(decode_to_worker(&frame.encode_to_vec()))
}

#[track_caller]
pub fn says(refusal: &str, field: &str, rule: &str) {
    assert!(
        refusal.starts_with(&format!("{field}: ")) && refusal.contains(rule),
        "{refusal:?} should name {field} and say {rule:?}"
    );
}
