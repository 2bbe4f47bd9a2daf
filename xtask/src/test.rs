//! `cargo xtask test`: everything that must hold before a change lands, cheapest first.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::shell::{cargo, run};
use crate::toolchain::{self, WASM_TARGET};
use crate::{debian, envoy, parts};

/// Formatting, lints (natively and for the module's target), then all tests; `args` go to `cargo test`.
pub(crate) fn run_all(args: &[OsString]) -> Result<()> {
    toolchain::ensure_wasm_target()?;
    toolchain::ensure_lint_tools()?;
    debian::ensure()?;
    let envoy = envoy::ensure()?;

    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo().args(["clippy", "--package", "filter", "--target", WASM_TARGET, "--", "-D", "warnings"]))?;

    let dist = parts::Dist::build()?;
    let trap = parts::build_trap_module()?;
    let parity = parts::build_parity_module()?;
    let mut test = cargo();
    test.args(["test", "--workspace"]).args(args);
    test.env("SERIN_ENVOY", envoy).env("SERIN_BIN", &dist.binary);
    test.env("SERIN_WASM", &dist.module).env("SERIN_WASM_TRAP", trap).env("SERIN_WASM_PARITY", parity);
    run(&mut test)
}

/// Optimised, for each case is cheap and there are many. `test` draws the same few every time (.cargo/config.toml).
pub(crate) fn soak(times: u32, seed: Option<u64>) -> Result<()> {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let seed = seed.unwrap_or_else(fresh).to_string();
    println!("soak: {times} times the usual cases, seed {seed}");
    let mut test = cargo();
    test.args(["test", "--release", "--package", "rollout", "--tests"]);
    run(test.env("PROPTEST_RNG_SEED", &seed).env("SERIN_SOAK", times.to_string()))
}
