//! The program as its users meet it: real processes against an agent whose answers are canned.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod explain;
mod fake;
#[path = "../../src/fixture.rs"]
mod fixture;
mod gates;
mod init;
mod local;
mod log;
mod packaged;
mod read;
mod refuse;
mod replay;
mod run;
mod simulate;
mod wait;
