//! Where a benchmark's figures are left for machines: target/bench.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes `target/bench/NAME.json` and returns its path.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write_json(name: &str, json: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.canonicalize()?.join(format!("{name}.json"));
    std::fs::write(&file, format!("{json}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
