//! Rust parts that rust-toolchain.toml names: listing them there is not enough, because automatic installation may be
//! switched off (`RUSTUP_AUTO_INSTALL=0`), so rustup is asked for each one that is absent.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::shell::{announce, command, output_of, run};

/// The target of the filter module.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Makes sure that the pinned toolchain can build the filter module.
pub(crate) fn ensure_wasm_target() -> Result<()> {
    let folder = output_of(command("rustc").args(["--print", "target-libdir", "--target", WASM_TARGET]));
    if folder.is_some_and(|folder| Path::new(&folder).is_dir()) {
        return Ok(());
    }
    rustup(&format!("the {WASM_TARGET} target"), &["target", "add", WASM_TARGET])
}

/// Makes sure that `cargo fmt` and `cargo clippy` can run.
pub(crate) fn ensure_lint_tools() -> Result<()> {
    let sysroot = output_of(command("rustc").args(["--print", "sysroot"]))
        .context("`rustc --print sysroot` failed: is the toolchain of rust-toolchain.toml installed?")?;
    for (component, binary) in [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")] {
        if !Path::new(&sysroot).join("bin").join(binary).exists() {
            rustup(component, &["component", "add", component])?;
        }
    }
    Ok(())
}

fn rustup(what: &str, args: &[&str]) -> Result<()> {
    ensure!(
        output_of(command("rustup").arg("--version")).is_some(),
        "{what} is missing and rustup, which would add it, is not installed: install rustup, or add {what} to your Rust yourself"
    );
    announce(&format!("{what} is missing: rustup {}", args.join(" ")));
    run(command("rustup").args(args))
}
