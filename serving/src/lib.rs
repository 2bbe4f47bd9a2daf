//! What the agent and the load tester share as servers, so that neither depends on the other.
//!
//! In reading order; a module uses only those above it. Nothing here knows of canaries, routes or protocols.

/// Bearer tokens: read from a file, compared in constant time, never printed.
mod token;

/// Which addresses need one: outside loopback nothing is open to anybody by accident.
mod access;

/// What to do where an address is taken.
mod address;

/// The signals that end a server.
mod shutdown;

pub use access::{AccessError, bearer_token, http_token, is_open};
pub use address::address_hint;
pub use shutdown::shutdown_signal;
pub use token::{Token, TokenError};
