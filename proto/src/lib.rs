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

// What the journal keeps of them.
pub mod journal;

pub use error::WireError;

/// The types generated from `serin/fleet/v1/fleet.proto`.
pub use generated::fleet::v1;

/// Nested as the packages are, so that one file's types find the other's.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "prost writes these files")]
mod generated {
    pub mod fleet {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/serin.fleet.v1.rs"));
        }
    }

    pub(crate) mod journal {
        pub(crate) mod v1 {
            include!(concat!(env!("OUT_DIR"), "/serin.journal.v1.rs"));
        }
    }
}
