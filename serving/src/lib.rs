//! What the agent and the load tester share as HTTP servers, so that neither depends on the other: who may call, how a
//! request is read, what answers a refused one, when to stop.
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

/// The answer to a refused request, in one form.
mod http_error;

/// The fields of a JSON object.
mod fields;

/// A request's JSON body.
mod body;

/// The variable parts of a path, and a query where none is taken.
mod path;

/// Whether a request carries the token.
mod authentication;

/// Around all routes: what the framework answers by itself.
mod answers;

pub use access::{AccessError, bearer_token, http_token, is_open};
pub use address::address_hint;
pub use answers::{Deliberate, answer_errors};
pub use authentication::authenticate;
pub use body::{Body, Form, MAX_BODY_BYTES, read_bytes};
pub use fields::Fields;
pub use http_error::{HttpError, did_you_mean, is_near};
pub use path::{Segments, refuse_query};
pub use shutdown::shutdown_signal;
pub use token::{Token, TokenError};
