//! The harness of the end-to-end tests, the demo and the benchmarks: a real Envoy, a real agent, upstreams that fail on
//! command and a load that keeps its pace.
//!
//! Rules that all of it keeps: everything on 127.0.0.1 and ports that the kernel chose, nothing is waited for without
//! a deadline, nothing survives the process that started it, and logs stay where a failed test says they are.

pub mod case;

pub mod certs;

pub mod chance;

pub mod edit;

pub mod grpc;

pub mod hook;

pub mod http;

pub mod manifest;

pub mod parts;

pub mod ports;

pub mod process;

pub mod samples;

pub mod slow_client;

pub mod streams;

pub mod load;

pub mod upstream;

pub mod wait;

pub mod agent;

pub mod envoy;

pub mod loadtester;

pub mod prometheus;

pub mod stage;

pub mod attack;
