//! `cargo xtask test`: everything that must hold before a change lands, cheapest first.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::shell::{announce, cargo, run, target_dir};
use crate::step::cargo_step;
use crate::toolchain::{self, WASM_TARGET};
use crate::{debian, envoy, parts};

/// Formatting, lints (natively and for the module's target), then all tests; `args` go to `cargo test`.
pub(crate) fn run_all(args: &[OsString]) -> Result<()> {
    toolchain::ensure_wasm_target()?;
    toolchain::ensure_lint_tools()?;
    debian::ensure()?;
    let envoy = envoy::ensure()?;

    announce(
        "formatting, lints, three modules, the binary, then all tests: a first run compiles nearly everything twice",
    );
    run(cargo().args(["fmt", "--all", "--check"]))?;
    let debug = target_dir().join("debug");
    let lints = ["--", "-D", "warnings"];
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets"]).args(lints);
    cargo_step("lints of the whole workspace", &debug, &mut clippy)?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--package", "filter", "--target", WASM_TARGET]).args(lints);
    cargo_step("lints of the filter as it is compiled for Envoy", &debug, &mut clippy)?;

    let dist = parts::Dist::build()?;
    let trap = parts::build_trap_module()?;
    let parity = parts::build_parity_module()?;
    let mut test = cargo();
    test.args(["test", "--workspace"]).args(args);
    test.env("SERIN_ENVOY", envoy).env("SERIN_BIN", &dist.binary);
    test.env("SERIN_WASM", &dist.module).env("SERIN_WASM_TRAP", trap).env("SERIN_WASM_PARITY", parity);
    cargo_step("all tests, end to end on a real Envoy included", &debug, &mut test)
}

/// Optimised, for each case is cheap and there are many. `test` draws the same few every time (.cargo/config.toml).
pub(crate) fn soak(times: u32, seed: Option<u64>) -> Result<()> {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let seed = seed.unwrap_or_else(fresh).to_string();
    let mut test = cargo();
    test.args(["test", "--release", "--package", "rollout", "--tests"]);
    test.env("PROPTEST_RNG_SEED", &seed).env("SERIN_SOAK", times.to_string());
    let what = format!("soak: {times} times the usual cases, seed {seed}");
    cargo_step(&what, &target_dir().join("release"), &mut test)
}
