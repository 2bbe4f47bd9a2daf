//! What is encoded is decoded to an equal message, and no frame, however broken, does harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod any;

use proptest::prelude::*;
use prost::Message;
use proto::v1;
use proto::wire::{check_routing, decode_from_worker, decode_to_worker, encode_from_worker, encode_to_worker};
use rollout::worker::messages::ToWorker;

proptest! {
    #[test]
    fn a_message_from_a_worker_arrives_unchanged(message in any::to_agent()) {
        prop_assert_eq!(decode_from_worker(&encode_from_worker(&message)), Ok(message));
    }

    #[test]
    fn a_message_from_an_agent_arrives_unchanged(message in any::to_worker()) {
        prop_assert_eq!(decode_to_worker(&encode_to_worker(&message)), Ok(message.clone()));
        if let ToWorker::Entry(entry) = message && let Some(routing) = &entry.routing {
            prop_assert_eq!(check_routing(&entry.canary, routing), Ok(()));
        }
    }

    #[test]
    fn a_truncated_frame_is_refused(up in any::to_agent(), down in any::to_worker(), length in 0usize..2000) {
        let (up, down) = (encode_from_worker(&up), encode_to_worker(&down));
        prop_assert!(decode_from_worker(&up[..length % up.len()]).is_err());
        prop_assert!(decode_to_worker(&down[..length % down.len()]).is_err());
    }

    #[test]
    fn a_changed_frame_is_refused_or_is_another_whole_message(
        up in any::to_agent(), down in any::to_worker(), at in 0usize..2000, byte: u8,
    ) {
        let changed = |mut frame: Vec<u8>| {
            let at = at % frame.len();
            frame[at] = byte;
            frame
        };
        if let Ok(read) = decode_from_worker(&changed(encode_from_worker(&up))) {
            prop_assert_eq!(decode_from_worker(&encode_from_worker(&read)), Ok(read));
        }
        if let Ok(read) = decode_to_worker(&changed(encode_to_worker(&down))) {
            prop_assert_eq!(decode_to_worker(&encode_to_worker(&read)), Ok(read));
        }
    }

    #[test]
    fn random_frames_do_no_harm(frame in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_from_worker(&frame);
        let _ = decode_to_worker(&frame);
    }

    #[test]
    fn fields_of_a_newer_minor_version_are_ignored(message in any::to_agent(), payload in "[a-z]{0,20}") {
        let mut frame = encode_from_worker(&message);
        // Field 1000, length-delimited.
        frame.extend([0xc2, 0x3e, payload.len() as u8]);
        frame.extend(payload.bytes());
        prop_assert_eq!(decode_from_worker(&frame), Ok(message));
    }
}

#[test]
fn an_empty_frame_has_no_message() {
    assert_eq!(decode_from_worker(&[]).unwrap_err().to_string(), "message: nothing is set, and it is required");
    let unknown = v1::ToWorker::default().encode_to_vec();
    assert_eq!(decode_to_worker(&unknown).unwrap_err().field, "message");
}
