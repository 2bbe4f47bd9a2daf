//! One release once more: its share of the journal, folded again as it was or under other settings.

/// What a record holds.
pub mod lines;

/// Another plan's guards, checks and certificates over recorded evidence.
pub mod rejudge;

/// The fold.
pub mod replay;

pub use lines::*;
