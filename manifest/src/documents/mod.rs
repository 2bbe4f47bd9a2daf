//! Documents: one, those that belong together, and a directory of them that may change at any moment.

// One document, and what it means.
pub(crate) mod document;

// Two Canaries that claim the same thing.
mod conflict;

// Documents that name each other, read together.
pub(crate) mod set;

// A watched directory; the only module that touches files.
pub(crate) mod directory;

// What `serin validate` prints.
pub(crate) mod report;

// What `serin convert` writes.
pub(crate) mod convert;
