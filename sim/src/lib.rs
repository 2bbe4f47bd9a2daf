//! A whole fleet and its agent in virtual time: seeded, with faults, without clock or I/O.
//!
//! Real `rollout` workers and a real controller; only the proxies round the first, the agent's shell round the second,
//! the network between them and the users are simulated. The same [`Scenario`](scenario::Scenario) and seed give the
//! same [`Outcome`] on every machine. Read the modules in this order; each uses only those above it.

// Chance and time.
mod draws;

pub mod behaviour;

pub mod mishaps;

pub mod network;

pub mod scenario;

pub mod outcome;

// What comes in.
mod traffic;

mod request;

// Who is there.
mod schedule;

mod proxy;

mod agent;

mod person;

mod users;

// All of it.
mod laws;

mod fleet;

mod run;

// What others would have done.
pub mod rivals;

pub mod contest;

#[cfg(test)]
mod fixture;

pub use laws::Broken;
pub use outcome::Outcome;
pub use run::{run, run_checked};
