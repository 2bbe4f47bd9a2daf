//! The kinds as JSON Schema, for editors and pipelines. Describes the form; reads no document.

// Forms that many fields have.
mod forms;

// Guards, and what a failure is.
mod guards;

// Every field with its shape and its meaning.
mod fields;

// Those of MetricTemplates and AlertProviders.
mod named_fields;

// Shapes in the words of draft 2020-12.
mod json_schema;

pub use json_schema::schema;
