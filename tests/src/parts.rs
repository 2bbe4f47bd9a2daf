//! Where the things under test lie. `cargo xtask` builds or fetches them and says so through the environment; a test
//! that runs without them fails, because a skipped test looks like a passed one.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The Envoy to run (`SERIN_ENVOY`).
pub fn envoy() -> Result<PathBuf> {
    named_by("SERIN_ENVOY")
}

/// The filter module as it is deployed (`SERIN_WASM`).
pub fn module() -> Result<PathBuf> {
    named_by("SERIN_WASM")
}

/// The filter module that traps on command (`SERIN_WASM_TRAP`), which only `cargo xtask test` builds.
pub fn trap_module() -> Result<PathBuf> {
    named_by("SERIN_WASM_TRAP")
}

/// The module that computes what the judge makes of fixed inputs (`SERIN_WASM_PARITY`), which only `cargo xtask test` builds.
pub fn parity_module() -> Result<PathBuf> {
    named_by("SERIN_WASM_PARITY")
}

/// The agent and command line as they are deployed (`SERIN_BIN`).
pub fn binary() -> Result<PathBuf> {
    named_by("SERIN_BIN")
}

fn named_by(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).with_context(|| format!("{variable} is not set: run `cargo xtask test`"))?;
    let path = PathBuf::from(path);
    path.canonicalize().with_context(|| format!("{variable}={}: run `cargo xtask test`", path.display()))
}
