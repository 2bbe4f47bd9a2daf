//! The door through which Canary manifests become plans: YAML in, [`Plan`](rollout::release::plan::Plan) or the list of
//! what is wrong out.
//!
//! Reading never stops at the first mistake of a document, never ignores a field it does not know, and never lets a
//! check, hook or gate disappear: what cannot be honoured is in the plan's `unsupported` list and holds its releases.
//! Read the rooms in this order, and the modules in each in the order of its `mod.rs`: each uses only those above it.

// YAML as a tree in which every value knows its line, and what a message says about a line.
mod yaml;

// Which documents are read here.
mod kinds;

// A tree taken apart field by field, so that no field is ignored and every mistake is found.
mod reader;

// What each part of `spec` means.
mod fields;

// The same fields as JSON Schema.
mod schema;

// Documents, alone and as the set or the directory in which they name each other; the only room that touches files.
mod documents;

#[cfg(test)]
mod tests;

pub use documents::convert::{ConvertError, convert};
pub use documents::directory::{Directory, Scan};
pub use documents::document::{Content, Document, Loaded};
pub use documents::report::{Report, report};
pub use documents::set::{read, read_together};
pub use fields::analysis::query_template;
pub use fields::named::catalogue::Template;
pub use reader::alike;
pub use schema::schema;
pub use yaml::problem::{Position, Problem, Warning};
pub use yaml::tree::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES};
