//! `cargo xtask bench abort`: what a bad release costs the users until it is aborted, counted by the client.
//!
//! In the order in which to read:
//!
//! - `options`: what can be asked for
//! - `watch`: what the agent announces, as it announces it, on a clock that the client shares
//! - `exposure`: from the client's samples and the agent's verdict to the figures of one round (pure)
//! - `round`: one release on a real Envoy, from its begin to the last request that it got
//! - `summary`: from rounds to rows, goals and text (pure)

pub mod exposure;

pub mod options;

pub mod watch;

pub mod round;

pub mod summary;
