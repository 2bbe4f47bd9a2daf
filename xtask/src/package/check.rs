//! Whether the filter that a user gets can be built again: once in this checkout, once in a copy whose sources, output
//! and downloaded packages lie elsewhere, and the bytes must be the same.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::sums;
use crate::module::{self, Folders};
use crate::shell::{announce, command, output_of, root, target_dir};

/// Bytes shown before and after what is found: enough for most paths.
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

    if first != second {
        let cause =
            [&here, &copy].into_iter().zip([&first, &second]).find_map(|(folders, module)| leak(folders, module));
        let why = cause.unwrap_or_else(|| difference(&first, &second));
        bail!("the filter depends on where it is built, so it could not be verified: {why}");
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

/// The first path of a build's folders that its module has in it: the usual cause, and one that names its file.
fn leak(folders: &Folders, module: &[u8]) -> Option<String> {
    [&folders.target, &folders.sources, &folders.cargo_home].into_iter().find_map(|folder| {
        let path = folder.as_os_str().as_bytes();
        let at = module.windows(path.len()).position(|bytes| bytes == path)?;
        Some(format!("it has the path {} in it: {}", folder.display(), around(module, at)))
    })
}

/// Where two modules differ first, and what is there.
fn difference(first: &[u8], second: &[u8]) -> String {
    let at = first.iter().zip(second).take_while(|(one, other)| one == other).count();
    format!(
        "{} and {} bytes, which differ first at byte {at}\n  here:      {}\n  elsewhere: {}",
        first.len(),
        second.len(),
        around(first, at),
        around(second, at)
    )
}

/// The bytes near a place, in a form for terminals.
fn around(module: &[u8], at: usize) -> String {
    let part: Vec<u8> = module.iter().skip(at.saturating_sub(SHOWN)).take(2 * SHOWN).copied().collect();
    part.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_and_named() {
        let folders = Folders { sources: "/home/ann/serin".into(), target: "/out".into(), cargo_home: "/cargo".into() };
        assert_eq!(leak(&folders, b"\0nothing of the kind"), None);
        let found = leak(&folders, b"\0at /home/ann/serin/x.rs:5").unwrap();
        assert_eq!(found, "it has the path /home/ann/serin in it: \\x00at /home/ann/serin/x.rs:5");
    }

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let found = difference(b"\0at one", b"\0at other");
        assert!(found.starts_with("7 and 9 bytes, which differ first at byte 5"), "{found}");
        assert!(found.contains("here:      \\x00at one") && found.contains("elsewhere: \\x00at other"), "{found}");
    }
}
