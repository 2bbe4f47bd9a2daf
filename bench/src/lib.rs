//! Side-by-side measurements: every figure comes from one run on one machine, next to what it is compared with.
//!
//! The harness of the end-to-end tests runs Envoy and the agent; here are only the parts that measure:
//!
//! - `upstream`, `load`: two servers and a client that cost little, so that Envoy is what is busy
//! - `listeners`: the shipped configuration, and what it is compared with, side by side in one Envoy
//! - `cpu`, `process_usage`: what a process takes of the machine
//! - `parallel`: many runs on all processors with the same result as on one
//! - `quartiles`, `report`: from samples to a table and JSON
//! - `machine`, `output`: where it was measured, and where the figures are left
//! - `agent_api`: what is asked of a running agent
//! - `abort`: all that is special to what a bad release costs the users
//! - `judge`: all that is special to how fast the judge decides; it needs no Envoy
//! - `fleet`: all that is special to how many proxies one agent carries; their workers are simulated
//! - `attacks`: all that is special to what clients may do to a release

pub mod cpu;

pub mod process_usage;

pub mod parallel;

pub mod listeners;

pub mod load;

pub mod machine;

pub mod output;

pub mod quartiles;

pub mod agent_api;

pub mod abort;

pub mod fleet;

pub mod judge;

pub mod attacks;

pub mod report;

pub mod upstream;
