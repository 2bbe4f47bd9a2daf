//! Every field of fleet.proto is carried by some message, and a message that loses one is never taken for the whole.
//!
//! The schema is read from fleet.proto itself, so a field that is added there and forgotten in an encoder or in a decoder
//! fails here by its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod any;

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use proto::wire::{decode_from_worker, decode_to_worker, encode_from_worker, encode_to_worker};

const MESSAGES: usize = 300;

#[test]
fn the_loss_of_any_field_is_noticed() {
    let schema = Schema::read(include_str!("../serin/fleet/v1/fleet.proto"));
    let mut seen = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..MESSAGES {
        let up = encode_from_worker(&any::to_agent().new_tree(&mut runner).unwrap().current());
        for (field, frame) in schema.without_each("FromWorker", &up) {
            assert_ne!(decode_from_worker(&frame), decode_from_worker(&up), "without {field}");
            seen.insert(field);
        }
        let down = encode_to_worker(&any::to_worker().new_tree(&mut runner).unwrap().current());
        for (field, frame) in schema.without_each("ToWorker", &down) {
            assert_ne!(decode_to_worker(&frame), decode_to_worker(&down), "without {field}");
            seen.insert(field);
        }
    }
    assert_eq!(seen, schema.fields(), "fields on the wire, and those of fleet.proto");
}

/// The fields of each message by number: name and type.
struct Schema(BTreeMap<String, BTreeMap<u64, (String, String)>>);

impl Schema {
    fn read(text: &str) -> Self {
        let mut messages: BTreeMap<String, BTreeMap<u64, (String, String)>> = BTreeMap::new();
        let mut current = None;
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
            match words.as_slice() {
                ["message", name, ..] => {
                    messages.entry((*name).to_owned()).or_default();
                    current = (!line.ends_with('}')).then(|| (*name).to_owned());
                }
                ["enum", ..] => current = None,
                [.., kind, name, "=", number] => {
                    if let Some(message) = &current {
                        let field = ((*name).to_owned(), (*kind).to_owned());
                        messages.get_mut(message).unwrap().insert(number.parse().unwrap(), field);
                    }
                }
                _ => {}
            }
        }
        assert!(messages.len() > 20, "fleet.proto was not understood");
        Self(messages)
    }

    fn fields(&self) -> BTreeSet<String> {
        let of = |(message, fields): (&String, &BTreeMap<u64, (String, String)>)| {
            fields.values().map(|(name, _)| format!("{message}.{name}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// The frame once without each field that it has, at every depth.
    fn without_each(&self, message: &str, frame: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < frame.len() {
            let (key, payload) = varint(frame, at);
            let (begin, end) = match key & 7 {
                0 => (payload, varint(frame, payload).1),
                1 => (payload, payload + 8),
                2 => {
                    let (length, begin) = varint(frame, payload);
                    (begin, begin + length as usize)
                }
                other => panic!("wire type {other}"),
            };
            let with = |inner: &[u8]| [&frame[..at], inner, &frame[end..]].concat();
            let (name, kind) = &self.0[message][&(key >> 3)];
            found.push((format!("{message}.{name}"), with(&[])));
            if self.0.contains_key(kind) {
                let inner = self.without_each(kind, &frame[begin..end]);
                found.extend(inner.into_iter().map(|(name, inner)| {
                    let head = [&frame[at..payload], &bytes_of(inner.len() as u64)].concat();
                    (name, with(&[head, inner].concat()))
                }));
            }
            at = end;
        }
        found
    }
}

/// The number that begins here, and where it ends.
fn varint(frame: &[u8], mut at: usize) -> (u64, usize) {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = frame[at];
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    (value, at)
}

fn bytes_of(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
