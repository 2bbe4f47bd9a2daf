//! The messages between workers and agent: their generated types, and the one place where they become domain types.
//!
//! Whoever holds a `rollout` type may rely on it: every limit and rule is checked here, on the way in, once.
//!
//! - [`v1`]: the types of `serin/fleet/v1/fleet.proto`.
//! - [`wire`]: frames to messages and back.

mod cookie;
mod counts;
mod entry;
mod error;
mod fuse;
mod hello;
pub mod limits;
mod names;
pub mod wire;

pub use error::WireError;

/// The types generated from `serin/fleet/v1/fleet.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "prost writes this file")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/serin.fleet.v1.rs"));
}
