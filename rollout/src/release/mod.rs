//! One release: what was asked for, and its life as one total function. It makes no call and counts nothing.

/// Hooks, metric servers and alert receivers, described.
pub mod integrations;

/// The operator's intent, which cannot be held invalid.
pub mod plan;

/// The guards that thresholds mean when the manifest sets none.
pub mod default_guards;

/// Threshold checks with Flagger's semantics.
pub mod threshold_checks;

/// What is asked of hooks and metric servers, and what they reply.
pub mod inquiry;

/// Bounds of what people and pipelines ask.
pub mod request_limits;

/// Stored gates that people open.
pub mod approvals;

/// Phases, and the history that people read.
pub mod phase;

/// verdict -> step.
pub mod machine;

/// The sentences for all of the above.
pub mod text;
