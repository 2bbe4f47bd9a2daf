//! `cargo xtask package`: what a user downloads, and a check that others can make the same filter from the same sources.

mod licenses;

mod sums;

mod check;

mod tree;

mod archive;

mod unit;

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::parts::Dist;
use crate::shell::{announce, command, output_of, root};
use crate::toolchain;

/// The workspace's version; this package has it too.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the archive and its checksum in target/package.
pub(crate) fn make() -> Result<()> {
    // The service files and the paths are Linux's.
    ensure!(cfg!(target_os = "linux"), "packages are made on Linux, of what Linux runs: run this there");
    toolchain::ensure_wasm_target()?;
    let time = time_of_sources()?;
    let dist = Dist::build()?;
    let name = format!("serin-{VERSION}-linux-{}", std::env::consts::ARCH);
    let folder = root().join("target/package");
    let (top, archive) = (folder.join(&name), folder.join(format!("{name}.tar.gz")));

    announce("assembling manual pages, completions, service files and documents");
    tree::assemble(&top, &dist)?;
    unit::verify(&top)?;
    sums::write(&top, &tree::files(&top)?)?;
    announce(&format!("packing {name}.tar.gz"));
    archive::write(&top, &archive, time)?;
    let made = [archive.file_name().context("the archive has a name")?.into()];
    sums::write(&folder, &made)?;

    let kib = fs::metadata(&archive)?.len().div_ceil(1024);
    let shown = archive.strip_prefix(root()).unwrap_or(&archive);
    println!("{kib:>7} KiB  {}\n\n{}", shown.display(), fs::read_to_string(folder.join(sums::NAME))?.trim_end());
    println!("\ndocs/install.md says how to install it; `cargo xtask package --check` builds the filter a second time");
    Ok(())
}

/// Builds the filter a second time, in another place, and compares.
pub(crate) fn check() -> Result<()> {
    toolchain::ensure_wasm_target()?;
    check::run()
}

/// The time that all files in the archive carry, in seconds since 1970: not the clock's, or no two archives were the
/// same.
fn time_of_sources() -> Result<u64> {
    if let Some(given) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let seconds = given.to_str().and_then(|given| given.parse().ok());
        return seconds.with_context(|| format!("SOURCE_DATE_EPOCH={}: not seconds since 1970", given.display()));
    }
    let said = output_of(command("git").args(["log", "-1", "--format=%ct %h"])).context(
        "git knows no commit here, whose time the packed files would carry: \
         set SOURCE_DATE_EPOCH to seconds since 1970",
    )?;
    let (seconds, commit) = said.split_once(' ').context("git names no commit")?;
    if output_of(command("git").args(["status", "--porcelain"])).is_none_or(|changes| !changes.is_empty()) {
        announce(&format!("there are changes that are not committed: this package is not commit {commit}'s"));
    }
    seconds.parse().with_context(|| format!("git says that {commit} was made at {seconds:?}"))
}
