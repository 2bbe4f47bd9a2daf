//! Records of another format are refused before the store opens them: unread, they would count as damaged and be removed.

use std::fs;
use std::path::Path;

use rollout::record::FORMAT;
use serde::Deserialize;

use super::store::{companion, files};
use crate::stored_format::{FormatError, UNNUMBERED};

/// Looks at the companion of each record. Writes nothing.
pub(super) fn check(folder: &Path) -> Result<(), FormatError> {
    /// What any format says of itself.
    #[derive(Deserialize)]
    struct Numbered {
        format: Option<u64>,
    }
    // A folder that is missing or cannot be read is the store's own trouble.
    for path in files(folder).unwrap_or_default() {
        let companion = companion(&path);
        let read = fs::read(&companion).ok().and_then(|bytes| serde_json::from_slice::<Numbered>(&bytes).ok());
        let Some(Numbered { format }) = read else { continue };
        let (found, known) = (format.unwrap_or(UNNUMBERED), u64::from(FORMAT));
        if found != known {
            return Err(FormatError { path: companion, found, known });
        }
    }
    Ok(())
}
