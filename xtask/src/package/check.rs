//! Whether the filter that a user gets can be built again: once in this checkout, once in a copy whose sources, output
//! and downloaded packages lie elsewhere, and the bytes must be the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::sums;
use crate::module::{self, Folders};
use crate::shell::{announce, command, output_of, root, target_dir};

/// Bytes shown before and after the first difference: enough for the path that is the usual cause.
const SHOWN: usize = 60;

/// Builds twice and compares.
pub(super) fn run() -> Result<()> {
    let here = Folders::here()?;
    let first = module::build(&here, "filter", false)?;
    let first = fs::read(&first).with_context(|| format!("cannot read {}", first.display()))?;

    let scratch = target_dir().join("package-check");
    // What an interrupted check left would be taken as built.
    fs::remove_dir_all(&scratch).ok();
    let copy = Folders {
        sources: scratch.join("a-checkout-elsewhere"),
        target: scratch.join("output"),
        cargo_home: scratch.join("cargo"),
    };
    announce(&format!("once more from nothing, in a copy at {}", copy.sources.display()));
    copy_sources(&copy.sources)?;
    link_all(&here.cargo_home, &copy.cargo_home)?;
    let second = fs::read(module::build(&copy, "filter", false)?).context("cannot read the second module")?;

    if let Some(difference) = difference(&first, &second) {
        bail!("the filter depends on where it is built, so nobody could verify it: {difference}");
    }
    fs::remove_dir_all(&scratch).ok();
    println!("the same {} bytes from both places\n{}  serin.wasm", first.len(), sums::hex(&first));
    Ok(())
}

/// The files that git has or would take, as they are now.
fn copy_sources(to: &Path) -> Result<()> {
    let listed = output_of(command("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]));
    let listed = listed.context("git cannot list the sources: run this in a git checkout")?;
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root().join(file), to.join(file));
        // One that was deleted and is still in git's index.
        if !from.exists() {
            continue;
        }
        fs::create_dir_all(to.parent().context("a copied file has a folder")?)?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(())
}

/// Another way to the same downloaded packages, with the same settings and locks.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read cargo's folder {}", from.display()))?;
    for entry in entries {
        let entry: PathBuf = entry?.path();
        symlink(&entry, to.join(entry.file_name().context("an entry has a name")?))?;
    }
    Ok(())
}

/// Where two modules differ first and what is there; `None` if they are the same.
fn difference(first: &[u8], second: &[u8]) -> Option<String> {
    if first == second {
        return None;
    }
    let at = first.iter().zip(second).take_while(|(one, other)| one == other).count();
    let shown = |bytes: &[u8]| {
        let part: Vec<u8> = bytes.iter().skip(at.saturating_sub(SHOWN)).take(2 * SHOWN).copied().collect();
        part.escape_ascii().to_string()
    };
    Some(format!(
        "{} and {} bytes, which differ first at byte {at}\n  here:      {}\n  elsewhere: {}",
        first.len(),
        second.len(),
        shown(first),
        shown(second)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        assert_eq!(difference(b"same", b"same"), None);
        let told = difference(b"\0at /home/ann/x.rs", b"\0at /build/x.rs").unwrap();
        assert!(told.starts_with("18 and 15 bytes, which differ first at byte 5"), "{told}");
        assert!(told.contains("here:      \\x00at /home/ann/x.rs") && told.contains("elsewhere: \\x00at /build"));
        assert!(difference(b"longer", b"long").is_some());
    }
}
