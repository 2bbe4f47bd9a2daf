//! `cargo xtask test`: everything that must hold before a change lands, cheapest first.

use std::ffi::OsString;

use anyhow::Result;

use crate::shell::{cargo, run};
use crate::toolchain::{self, WASM_TARGET};
use crate::{envoy, parts};

/// Formatting, lints (natively and for the module's target), then all tests; `args` go to `cargo test`.
pub(crate) fn run_all(args: &[OsString]) -> Result<()> {
    toolchain::ensure_wasm_target()?;
    toolchain::ensure_lint_tools()?;
    let envoy = envoy::ensure()?;

    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo().args(["clippy", "--package", "filter", "--target", WASM_TARGET, "--", "-D", "warnings"]))?;

    let dist = parts::Dist::build()?;
    let trap = parts::build_trap_module()?;
    let mut test = cargo();
    test.args(["test", "--workspace"]).args(args);
    test.env("SERIN_ENVOY", envoy).env("SERIN_BIN", &dist.binary);
    test.env("SERIN_WASM", &dist.module).env("SERIN_WASM_TRAP", trap);
    run(&mut test)
}
