//! What an answer says behind its headers: the status of a gRPC call, in the trailers or, with gRPC-Web, in the body.

use proxy_wasm::types::{BufferType, MapType};
use rollout::worker::in_flight::InFlight;

use crate::host::{self, HostError};

/// So many bytes of the body have come; read only where a status may be in them.
///
/// # Errors
/// The host's: how the call ended is not known then.
pub(crate) fn read_body(in_flight: &mut InFlight, size: usize) -> Result<(), HostError> {
    if size > 0 && in_flight.wants_body() {
        in_flight.response_body(&host::buffer(BufferType::HttpResponseBody, size)?);
    }
    Ok(())
}

/// The trailers have come; read only of a gRPC call.
///
/// # Errors
/// As for [`read_body`], or that what the host gave is malformed.
pub(crate) fn read_trailers(in_flight: &mut InFlight) -> Result<(), HostError> {
    if in_flight.is_grpc() {
        in_flight.response_trailers(&host::headers(MapType::HttpResponseTrailers)?.pairs()?);
    }
    Ok(())
}
