//! Engine 1, all that the filter thinks: route, count, report, adopt. It never knows its host, and never judges a release.

/// What the shell hands in and must perform.
pub mod api;

/// One request between its start and its end.
pub mod in_flight;

/// outcome -> tally.
pub mod tally;

/// Requests become slow while they are open.
mod slow_watch;

/// One worker's own sequential test, as integers.
pub mod fuse;

/// tally -> report: the messages between worker and agent.
pub mod messages;

/// When the stream is opened and given up.
pub mod connection;

/// The engine.
mod engine;

pub use engine::*;
