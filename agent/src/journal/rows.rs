//! Events as the journal's rows: what workers say, which comes most often, in the compact form that it has on the wire;
//! everything else as JSON, which one can read.

use proto::WireError;
use proto::journal::{decode_workers, encode_workers};
use rollout::base::time::Millis;
use rollout::controller::Event;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The first byte of a row in the compact form; no JSON begins with it.
const COMPACT: u8 = 1;

/// An event with the time at which it was handled, as JSON.
#[derive(Serialize, Deserialize)]
struct StoredEvent<E> {
    at: Millis,
    event: E,
}

/// Why a row is not understood.
#[derive(Debug, Error)]
pub enum RowError {
    /// It is not the JSON of an event.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is not what workers can have said.
    #[error(transparent)]
    Workers(#[from] WireError),
}

/// An event as a row.
///
/// # Errors
/// When it cannot be written as JSON, which no event of ours can.
pub(super) fn encode(at: Millis, event: &Event) -> Result<Vec<u8>, serde_json::Error> {
    let Event::Workers(events) = event else { return serde_json::to_vec(&StoredEvent { at, event }) };
    let mut row = vec![COMPACT];
    row.extend(encode_workers(at, events));
    Ok(row)
}

/// An event from a row.
///
/// # Errors
/// When it is none.
pub(super) fn decode(row: &[u8]) -> Result<(Millis, Event), RowError> {
    if let Some((&COMPACT, row)) = row.split_first() {
        let (at, events) = decode_workers(row)?;
        return Ok((at, Event::Workers(events)));
    }
    let StoredEvent { at, event } = serde_json::from_slice(row)?;
    Ok((at, event))
}
