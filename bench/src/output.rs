//! How a benchmark's figures are shown to people, and where they are left for machines: target/bench.

use std::fmt::Write as _;
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

/// The first column to the left, the others to the right, each as wide as it must be.
#[must_use]
pub fn table(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let cells = |row: [&str; 2]| row.map(str::to_owned).to_vec();
        let text = table(&cells(["", "x"]), [cells(["ä", "100"]), cells(["bcd", "2"])].into_iter());
        assert_eq!(text, "       x\nä    100\nbcd    2\n");
    }
}
