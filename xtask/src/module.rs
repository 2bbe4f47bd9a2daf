//! WebAssembly modules, built so that the same sources give the same bytes wherever they are built: anyone who runs a
//! filter in the path of their traffic can build it again and compare.
//!
//! What would differ is paths: panics carry the file that they are in. rustc replaces the three folders that a build
//! knows by names that are the same everywhere. (Cargo's `trim-paths` would do it, and is not stable.)

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::{cargo, root, target_dir};
use crate::step::cargo_step;
use crate::toolchain::WASM_TARGET;

/// Where sources, results and downloaded packages of a build are.
pub(crate) struct Folders {
    /// The checkout.
    pub(crate) sources: PathBuf,
    /// Cargo's output folder.
    pub(crate) target: PathBuf,
    /// `CARGO_HOME`.
    pub(crate) cargo_home: PathBuf,
}

impl Folders {
    /// This checkout.
    pub(crate) fn here() -> Result<Self> {
        Ok(Self { sources: root(), target: target_dir(), cargo_home: cargo_home()? })
    }

    /// This checkout and another output folder.
    pub(crate) fn with_target(target: PathBuf) -> Result<Self> {
        Ok(Self { target, ..Self::here()? })
    }

    /// For rustc; of several prefixes that fit the last one wins, and the output folder may lie in the checkout.
    /// They replace flags of the environment: with those, bytes would depend on who builds.
    fn flags(&self) -> OsString {
        let mut flags = OsString::new();
        for (folder, name) in [(&self.sources, "/serin"), (&self.cargo_home, "/cargo"), (&self.target, "/target")] {
            if !flags.is_empty() {
                // What separates the items of CARGO_ENCODED_RUSTFLAGS; a path may hold blanks.
                flags.push("\x1f");
            }
            flags.push("--remap-path-prefix=");
            flags.push(folder);
            flags.push("=");
            flags.push(name);
        }
        flags
    }
}

/// Builds a package's module. `trap` compiles in a way to trap on purpose.
pub(crate) fn build(folders: &Folders, package: &str, trap: bool) -> Result<PathBuf> {
    let mut build = cargo();
    build.current_dir(&folders.sources).env("CARGO_HOME", &folders.cargo_home);
    // The crate is a plain library, so that host tests never link a native cdylib; only here it becomes a module.
    build.args(["rustc", "--package", package, "--lib", "--crate-type", "cdylib", "--profile", "wasm"]);
    // With a target the flags are for what runs there, and not for build scripts.
    build.args(["--target", WASM_TARGET]).arg("--target-dir").arg(&folders.target);
    build.env("CARGO_ENCODED_RUSTFLAGS", folders.flags());
    if trap {
        build.env("SERIN_TEST_TRAP", "1");
    } else {
        build.env_remove("SERIN_TEST_TRAP");
    }
    let folder = folders.target.join(WASM_TARGET).join("wasm");
    let purpose = if trap { ", with a way to trap" } else { "" };
    cargo_step(&format!("building the module `{package}` for {WASM_TARGET}{purpose}"), &folder, &mut build)?;
    Ok(folder.join(package.replace('-', "_")).with_extension("wasm"))
}

/// Where cargo keeps what it downloads.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(root().join(home));
    }
    let home = std::env::home_dir().context("neither CARGO_HOME nor HOME is set: set CARGO_HOME to cargo's folder")?;
    Ok(Path::new(&home).join(".cargo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_is_renamed_and_the_output_folder_last() {
        let folders = Folders { sources: "/a b".into(), target: "/a b/target".into(), cargo_home: "/home/c".into() };
        let flags = folders.flags().into_string().unwrap();
        let expected = [
            "--remap-path-prefix=/a b=/serin",
            "--remap-path-prefix=/home/c=/cargo",
            "--remap-path-prefix=/a b/target=/target",
        ];
        assert_eq!(flags.split('\x1f').collect::<Vec<_>>(), expected);
    }
}
