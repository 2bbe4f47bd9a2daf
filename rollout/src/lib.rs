//! Everything we know about a rollout, and nothing about machines.
//!
//! Two engines, each a pure function of its inputs: `Worker`, all that the filter thinks, and
//! `Controller`, all that the agent thinks. Time, randomness and messages are arguments; what the
//! world must do is returned. Read the modules in this order; each uses only those above it.

pub mod time;

pub mod names;

pub mod histogram;

pub mod outcome;

pub mod matching;

pub mod table;

pub mod route;

pub mod tally;

pub mod report;

pub mod exchange;

pub mod link;

pub mod worker;
