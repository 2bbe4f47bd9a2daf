//! The messages between workers and agent: their generated types, and the one place where they become domain types.
//!
//! Code that holds a `rollout` type may rely on it: every limit and rule is checked here, once, on the way in. Read the
//! modules in this order; each uses only those above it.

// What bounds a message, and the error that names what a message breaks.
pub mod limits;

mod error;

// Parts that several messages share.
mod names;

mod cookie;

mod fuse;

mod destinations;

// The messages: how traffic is routed, what workers counted, and how a worker introduces itself.
mod entry;

mod counts;

mod hello;

// Frames to messages and back.
pub mod wire;

pub use error::WireError;

/// The types generated from `serin/fleet/v1/fleet.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "prost writes this file")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/serin.fleet.v1.rs"));
}
