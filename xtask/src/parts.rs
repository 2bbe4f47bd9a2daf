//! The two things that a user deploys, built into target/dist, and the filter that traps on purpose, for tests only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::module::{self, Folders};
use crate::shell::{cargo, root, target_dir};
use crate::step::cargo_step;

/// What `cargo xtask build` leaves behind.
pub(crate) struct Dist {
    /// The agent and command line.
    pub(crate) binary: PathBuf,
    /// The filter module for Envoy.
    pub(crate) module: PathBuf,
}

impl Dist {
    /// Builds both; when nothing changed this costs cargo's two freshness checks.
    pub(crate) fn build() -> Result<Self> {
        let dist = root().join("target/dist");
        let parts = Self { binary: dist.join("serin"), module: dist.join("serin.wasm") };
        place(&module::build(&Folders::here()?, "filter", false)?, &parts.module)?;
        let folder = target_dir().join("release");
        let mut build = cargo();
        build.args(["build", "--release", "--package", "cli"]);
        cargo_step("building the agent and command line `serin`, release build", &folder, &mut build)?;
        place(&folder.join("serin"), &parts.binary)?;
        Ok(parts)
    }

    /// One line for each: path and size.
    pub(crate) fn print(&self) -> Result<()> {
        for path in [&self.binary, &self.module] {
            let kib = fs::metadata(path)?.len().div_ceil(1024);
            println!("{:>7} KiB  {}", kib, path.strip_prefix(root()).unwrap_or(path).display());
        }
        Ok(())
    }
}

/// A filter with a way to trap on purpose, so that tests can see what a trap does. It has a target folder of its own:
/// built side by side in one, the two would rebuild each other at every run.
pub(crate) fn build_trap_module() -> Result<PathBuf> {
    let folder = target_dir().join("trap");
    let placed = folder.join("serin-trap.wasm");
    place(&module::build(&Folders::with_target(folder)?, "filter", true)?, &placed)?;
    Ok(placed)
}

/// The filter that does nothing, for the benchmark to compare with; built as the deployed one is.
pub(crate) fn build_noop_module() -> Result<PathBuf> {
    module::build(&Folders::here()?, "noop-filter", false)
}

/// What the judge makes of fixed inputs, for a test that compares it with what it makes of them natively.
pub(crate) fn build_parity_module() -> Result<PathBuf> {
    module::build(&Folders::here()?, "parity", false)
}

/// Copies under a temporary name and renames: a running Envoy or agent never sees half a file.
pub(crate) fn place(built: &Path, placed: &Path) -> Result<()> {
    let folder = placed.parent().context("a placed file has a folder")?;
    fs::create_dir_all(folder)?;
    let partial = placed.with_extension("partial");
    fs::copy(built, &partial).with_context(|| format!("cargo left no {}", built.display()))?;
    fs::rename(&partial, placed)?;
    Ok(())
}
