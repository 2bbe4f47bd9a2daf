//! The agent's shell from outside: real sockets, real files, a worker that speaks raw frames. What the core decides is
//! tested in `rollout`; here is tested that the shell gathers, stores, pushes and answers as it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod api;
mod api_docs;
mod api_refusals;
mod gates;
mod hooks;
mod logs;
mod manifests;
mod metrics;
mod openapi;
mod records;
mod restart;
mod stall;
mod stream_refusals;
mod streams;
mod support;
mod tls;
mod vanished;
mod verbs;
mod watch;
