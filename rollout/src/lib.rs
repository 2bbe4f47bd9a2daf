//! Everything we know about a rollout, and nothing about machines.
//!
//! Two engines, each a pure function of its inputs: [`worker::Worker`], all that the filter thinks, and
//! [`controller::Controller`], all that the agent thinks. Time, randomness and messages are arguments; what the world
//! must do is returned. Read the rooms in this order, and the modules in each in the order of its `mod.rs`: each uses
//! only those above it.

pub mod base;

pub mod statistics;

pub mod routing;

pub mod worker;

pub mod judgement;

pub mod release;

pub mod controller;

pub mod view;

pub mod record;
