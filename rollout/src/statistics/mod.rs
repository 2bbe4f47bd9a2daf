//! Numbers in, numbers out: tests and intervals that may be looked at after every request. It knows nothing of canaries.
//!
//! Formulas, proofs in brief and sources: docs/statistics.md.

/// The primitive: a mixture of likelihood ratios on a fixed grid.
pub mod mixture;

/// Trials and events of one slot against a fixed or a relative boundary.
pub mod boundary;

/// Anytime-valid intervals, for display and explanations.
pub mod confidence;
