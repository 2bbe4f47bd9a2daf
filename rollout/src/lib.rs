//! Everything we know about a rollout, and nothing about machines.
//!
//! Two engines, each a pure function of its inputs: [`worker::Worker`], all that the filter thinks, and
//! [`controller::Controller`], all that the agent thinks. Time, randomness and messages are arguments; what the world
//! must do is returned. Read the modules in this order; each uses only those above it.

// Words.
pub mod time;

mod pairs;

pub mod names;

pub mod histogram;

pub mod thresholds;

pub mod weight;

// One request: route -> outcome.
pub mod outcome;

pub mod matching;

pub mod mixture;

pub mod fuse;

pub mod cookie;

pub mod lane;

pub mod table;

pub mod route;

pub mod tally;

pub mod exchange;

// One worker: tally -> report, table -> adopt.
pub mod report;

pub mod link;

mod aging;

pub mod actions;

pub mod worker;

// Statistics: what may be looked at after every report, with one bound on false alarms.
pub mod bounds;

pub mod gate;

pub mod tracking;

pub mod sequential;

pub mod rules;

pub mod ratio;

pub mod gates;

pub mod certificate;

// One release: fold -> judge -> step.
pub mod outside;

pub mod plan;

pub mod default_gates;

pub mod slots;

pub mod evidence;

pub mod judge;

pub mod asking;

pub mod approvals;

pub mod release;

pub mod machine;

pub mod rearm;

pub mod canary;

// All of them, and what people read.
pub mod fleet;

pub mod events;

pub mod explain;

pub mod telling;

pub mod controller;

pub mod status;

pub mod headline;

pub mod explanation;

// A release once more.
pub mod record;

pub mod rejudge;

pub mod replay;
