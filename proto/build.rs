//! Generates the messages' Rust types from the .proto file, without protoc: protox parses it in Rust.

use std::error::Error;

const FILE: &str = "serin/fleet/v1/fleet.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FILE}");
    let files = protox::compile([FILE], ["."])?;
    // Only messages: the service's code needs tonic, which does not build for wasm; the agent generates it.
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
