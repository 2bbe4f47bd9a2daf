//! The sentences about tables that this agent's journal does not know.

use crate::release::phase::Note;

/// What a proxy's later table means.
pub(super) fn later(note: &Note) -> String {
    match note {
        Note::AbortClaimed { node, epoch } => format!(
            "proxy {node} holds the table of an abort (epoch {}) and neither is in this agent's journal: the canary's weight is \
             0 until a person decides; `serin abort`, or `serin set-weight` and `serin resume`",
            epoch.0
        ),
        Note::JournalBehind { node, epoch } => format!(
            "proxy {node} holds a later table (epoch {}) than this agent's journal: its data is new or of an earlier day; every \
             proxy gets the table of this release again",
            epoch.0
        ),
        _ => String::new(),
    }
}
