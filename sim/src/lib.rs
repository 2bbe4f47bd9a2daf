//! A whole fleet and its agent in virtual time: seeded, with faults, without clock or I/O.
//!
//! Real `rollout` workers and a real controller; only the proxies round the first, the agent's shell round the second,
//! the network between them and the users are simulated. The same [`Scenario`](scenario::Scenario) and seed give the
//! same [`Outcome`] on every machine. Read the modules in this order; each uses only those above it.

// Chance: everything random comes from one seed.
mod draws;

// What is simulated: how a version answers, who attacks, what breaks, how messages travel, and the scenario that joins
// them.
pub mod behaviour;

pub mod attacker;

pub mod mishaps;

pub mod network;

pub mod scenario;

// What comes of it.
pub mod outcome;

// What comes in: how a request looks, when which ones arrive, and what a proxy sees of each.
mod request;

mod traffic;

mod exchange;

// What happens at which moment of virtual time.
mod schedule;

// Who takes part: a proxy round a real worker, the agent's shell round a real controller, the person who confirms, and
// the users.
mod proxy;

mod agent;

mod person;

mod users;

// The promises that every run keeps, and the run itself.
mod laws;

mod fleet;

mod run;

// What a hostile or slow client may do to a release.
pub mod attacks;

// What other tools would have done with the same requests.
pub mod rivals;

pub mod contest;

#[cfg(test)]
mod fixture;

pub use laws::Broken;
pub use outcome::Outcome;
pub use run::{run, run_checked};
