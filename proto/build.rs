//! Generates the messages' Rust types from the .proto files, without protoc: protox parses them in Rust.

use std::error::Error;

const FILES: [&str; 2] = ["serin/fleet/v1/fleet.proto", "serin/journal/v1/journal.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    FILES.iter().for_each(|file| println!("cargo::rerun-if-changed={file}"));
    let files = protox::compile(FILES, ["."])?;
    // Only messages: the service's code needs tonic, which does not build for wasm; the agent generates it.
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
