//! The numbers of stored forms: journal and records each carry one, and another is refused by name before anything is
//! written, so that no agent misreads or removes what a different version stored.

use std::path::PathBuf;

use thiserror::Error;

/// A file in a form that this agent does not read. Forms from before there were numbers count as 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{path} has format {found}, this agent reads format {known}: start with an empty --data directory, or run the version \
     of serin that wrote it"
)]
pub struct FormatError {
    /// Which file.
    pub path: PathBuf,
    /// Its number.
    pub found: u64,
    /// The number of this agent.
    pub known: u64,
}

/// The number of a form that has none.
pub(crate) const UNNUMBERED: u64 = 1;
