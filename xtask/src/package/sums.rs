//! SHA256SUMS, in the form that `sha256sum -c` reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The file's name.
pub(super) const NAME: &str = "SHA256SUMS";

/// Writes the sums of `files`, whose paths are relative to `folder`, into `folder`.
pub(super) fn write(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let mut text = String::new();
    for file in files {
        let bytes = fs::read(folder.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        text += &format!("{}  {}\n", hex(&bytes), file.display());
    }
    fs::write(folder.join(NAME), text).with_context(|| format!("cannot write {NAME} in {}", folder.display()))
}

/// The SHA-256 of some bytes, as it is written everywhere.
pub(super) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_what_the_standard_says() {
        assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
