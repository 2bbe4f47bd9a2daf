//! YAML and back, and the messages that point into it. Knows no field of any kind.

// What is wrong or worth saying, each with file, line, column and field.
pub(crate) mod problem;

// A document's place, for messages about two of them.
pub(crate) mod place;

// Text to documents, bounded in size and depth.
pub(crate) mod tree;

// Documents to text.
pub(crate) mod emit;
