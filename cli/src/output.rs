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

/// Writes a screen over the one before: line by line from the top, so that nothing flickers. Positions are not colour, so
/// they do not go by way of `print`, which may strip them.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn redraw(page: &str) -> Result<(), Failure> {
    place(b"\x1b[H")?;
    for line in page.lines() {
        print(line)?;
        place(b"\x1b[K\n")?;
    }
    place(b"\x1b[J")
}

fn place(sequence: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(sequence)?;
    Ok(out.flush()?)
}

/// Columns and lines of the terminal that standard output is; `None` for a pipe or a file.
pub(crate) fn terminal_size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((width.0.into(), height.0.into()))
}

/// Its columns.
pub(crate) fn width() -> Option<usize> {
    terminal_size().map(|(width, _)| width)
}

/// Writes text beside the result: progress and remarks. A closed standard error stops nothing.
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
