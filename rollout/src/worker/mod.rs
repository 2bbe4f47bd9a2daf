//! Engine 1, all that the filter thinks: route, count, report, adopt. It never knows its host, and never judges a release.

/// outcome -> tally.
pub mod tally;

/// One request between its start and its end.
pub mod in_flight;

/// What the passing of time alone does to an open request.
mod watch;

/// One worker's own sequential test, as integers.
pub mod fuse;

/// Users who have spoken against the canary already.
mod repeats;

/// The messages between worker and agent.
pub mod messages;

/// tally -> report.
pub mod sender;

/// When the stream is opened and given up.
pub mod connection;

/// What the shell hands in and must perform.
pub mod api;

/// The engine: the first function of every request is [`Worker::route`].
mod engine;

pub use engine::*;
