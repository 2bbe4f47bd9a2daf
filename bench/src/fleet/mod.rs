//! `cargo xtask bench fleet`: how many proxies one agent carries, and what each of them costs it.
//!
//! The agent is the real one, in a process of its own. Its workers are simulated, but only their proxies are: each is the
//! filter's own engine, on a gRPC stream of its own. Agent and workers share the machine, so the workers are made as cheap
//! as they can be, and what they took is said beside every figure.
//!
//! In the order in which to read:
//!
//! - `options`: what can be asked for
//! - `seen`: what the workers have seen of the agent (pure)
//! - `wheel`: the timers of all workers in one place (pure)
//! - `traffic`: when requests come, how long they take, which fail (pure)
//! - `crew`: the workers of one thread, and what they do when time passes or the agent speaks
//! - `streams`: that thread, and the gRPC streams of its workers
//! - `swarm`: all threads together
//! - `figures`: from what was measured to the figures of a row (pure)
//! - `row`: one agent under so many workers, from its start to its last figure
//! - `summary`: from rows to text and JSON (pure)

pub mod options;

pub mod seen;

mod wheel;

mod traffic;

mod crew;

mod streams;

pub mod swarm;

pub mod figures;

pub mod row;

pub mod summary;
