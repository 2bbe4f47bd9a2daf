//! What the agent's journal keeps of the workers' messages: in the form that they have on the wire, with every limit checked
//! again when they are read.

use prost::Message;
use rollout::base::time::Millis;
use rollout::controller::WorkerEvent;
use rollout::controller::fleet::Conn;

use crate::counts::{decode_report, encode_report};
use crate::error::WireError;
use crate::generated::journal::v1;
use crate::hello::{decode_adopted, encode_adopted};

/// What workers said, as one row's bytes.
pub fn encode_workers(at: Millis, events: &[(Conn, WorkerEvent)]) -> Vec<u8> {
    use v1::worker_event::Event;
    let event = |(conn, event): &(Conn, WorkerEvent)| v1::WorkerEvent {
        conn: conn.0,
        event: Some(match event {
            WorkerEvent::Reported(report) => Event::Reported(encode_report(report)),
            WorkerEvent::Adopted(canary, epoch) => Event::Adopted(encode_adopted(canary, *epoch)),
        }),
    };
    v1::WorkerEvents { at_ms: at.0, events: events.iter().map(event).collect() }.encode_to_vec()
}

/// When it was handled, and what workers said, from one row's bytes.
///
/// # Errors
/// When they are not such a row, or break a rule of its messages.
pub fn decode_workers(row: &[u8]) -> Result<(Millis, Vec<(Conn, WorkerEvent)>), WireError> {
    use v1::worker_event::Event;
    let row = v1::WorkerEvents::decode(row).map_err(|error| {
        WireError::number(
            "row",
            format_args!("{} bytes", row.len()),
            format_args!("are not workers' messages: {error}"),
        )
    })?;
    let events = row.events.into_iter().map(|wire| {
        let event = match wire.event.ok_or_else(|| WireError::missing("event"))? {
            Event::Reported(report) => WorkerEvent::Reported(decode_report(report)?),
            Event::Adopted(adopted) => {
                let (canary, epoch) = decode_adopted(&adopted)?;
                WorkerEvent::Adopted(canary, epoch)
            }
        };
        Ok((Conn(wire.conn), event))
    });
    Ok((Millis(row.at_ms), events.collect::<Result<_, WireError>>()?))
}
