//! `spec.analysis`: how a release advances, and what may end it.

// `alerts`: who gets which events.
pub(crate) mod alerts;

// Variables in a query.
pub mod query_template;

// Metrics that a metric server answers.
pub(crate) mod queries;

// Thresholds in a unit that is hardly meant.
pub(crate) mod units;

// `metrics`: thresholds on what the proxies measure, or on a metric server's answer.
pub(crate) mod metrics;

// `measure`, `warmUp`, `streamGoodAfter`: what counts as a version's time.
pub(crate) mod measurement;

// `advance`: at each interval, or as soon as a step's own requests prove it.
pub(crate) mod advance;

// Weights, iterations, stops and deadlines.
pub(crate) mod schedule;

// The section as a whole.
pub(crate) mod section;
