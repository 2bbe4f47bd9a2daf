//! `cargo xtask bench attacks`: what clients may do to a healthy release without having it aborted, and whether a bad canary
//! can hide behind them.
//!
//! In the order in which to read:
//!
//! - `options`: what can be asked for
//! - `limit`: from a count of rounds to what the true rate is at most (pure)
//! - `simulated`: thousands of rounds in virtual time, with the product's own filter and agent (pure)
//! - `on_envoy`: a few rounds of the same attacks on a real Envoy

pub mod options;

pub mod limit;

pub mod simulated;

pub mod on_envoy;
