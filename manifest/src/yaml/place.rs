//! Where a document begins, for messages about two documents.

use std::fmt;

use crate::yaml::problem::{Position, Problem};

/// Where a document begins; line 0 when it is not in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

impl Place {
    /// One name, defined here and elsewhere.
    pub(crate) fn twice(&self, id: &str, other: &Self) -> Problem {
        let rule = format!("is also defined in {other}; neither is used until one is removed");
        self.problem("metadata.name", id, rule)
    }

    /// A field of the document that begins here.
    pub(crate) fn problem(&self, field: &str, value: &str, rule: String) -> Problem {
        let at = Position { line: self.line, column: 1 };
        Problem { file: self.file.clone(), at, field: field.into(), value: value.into(), rule, value_in_rule: false }
    }
}
