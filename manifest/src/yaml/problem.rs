//! What is wrong with a manifest, and what is only worth saying: each with file, line, column and field.

use std::fmt;

use serde::Serialize;

/// Longest value repeated in a message, in characters.
const SHOWN_CHARS: usize = 80;

/// A place in a file; both count from 1, as editors do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1; 0 when no line is meant.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A broken rule; its document is refused.
///
/// Displayed as `file:line:column: field: value rule`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file as it was named to the reader.
    pub file: String,
    /// Where.
    #[serde(flatten)]
    pub at: Position,
    /// Path in the document, `spec.analysis.stepWeights[3]`; empty when the file as a whole is meant.
    pub field: String,
    /// The offending value as it was written; empty when there is none.
    pub value: String,
    /// The rule, with what to do.
    pub rule: String,
    /// Whether the rule's sentence already holds the value.
    #[serde(skip)]
    pub(crate) value_in_rule: bool,
}

impl Problem {
    /// The same of a file that is set aside, see [`Loaded::aside`](crate::Loaded::aside).
    pub(crate) fn aside(&self, reason: &str) -> Warning {
        let Self { file, at, field, rule, .. } = self.clone();
        Warning { file, at, field, reason: format!("{rule}; the file is skipped, {reason}"), holds: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.at, &self.field)?;
        if !self.value.is_empty() && !self.value_in_rule {
            write!(f, "{} ", self.value)?;
        }
        f.write_str(&self.rule)
    }
}

/// Something that is read but does not act as its writer may expect; its document loads.
///
/// Displayed as `file:line:column: field: reason`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// The file as it was named to the reader.
    pub file: String,
    /// Where.
    #[serde(flatten)]
    pub at: Position,
    /// Path in the document; empty when the document as a whole is meant.
    pub field: String,
    /// What happens instead, and why.
    pub reason: String,
    /// Whether it is a check, hook or gate that cannot be honoured, so that releases hold until a person accepts it.
    pub holds: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.file, self.at, &self.field)?;
        f.write_str(&self.reason)?;
        if self.holds {
            f.write_str("; a release holds until a person accepts this (--accept-unsupported)")?;
        }
        Ok(())
    }
}

fn place(f: &mut fmt::Formatter<'_>, file: &str, at: Position, field: &str) -> fmt::Result {
    write!(f, "{file}:")?;
    if at.line > 0 {
        write!(f, "{}:{}:", at.line, at.column)?;
    }
    f.write_str(" ")?;
    if field.is_empty() { Ok(()) } else { write!(f, "{field}: ") }
}

/// A text in quotes, escaped, and shortened to fit a message.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() { format!("{shown:?}...") } else { format!("{shown:?}") }
}
