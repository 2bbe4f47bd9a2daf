//! The way out: standard output, where a reader who has seen enough is no error, and the forms that programs read.

use std::io::Write;

use serde::Serialize;

use crate::failure::Failure;
use crate::text;

/// Writes text; colour only where it is wanted (a terminal, NO_COLOR, --color).
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Clears the terminal. Not by way of `print`: without colour that would take the sequence for colour.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn clear_screen() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(b"\x1b[H\x1b[2J\x1b[3J")?;
    Ok(out.flush()?)
}

/// Writes text beside the result: progress and remarks. Nobody is stopped by a closed standard error.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// JSON with a line end; `pretty` for one document, compact for one a line.
///
/// # Errors
/// When the value has no JSON form.
pub(crate) fn json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let text = text.map_err(|error| Failure::Other(error.into()))?;
    Ok(text::clean_json(&text) + "\n")
}

/// YAML with a line end.
///
/// # Errors
/// When the value has no YAML form.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value).map_err(|error| Failure::Other(anyhow::Error::new(error)))?;
    Ok(text.trim_end_matches('\n').to_owned() + "\n")
}
