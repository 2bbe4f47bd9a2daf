//! What each part of `spec` means, in the words of the core's plan. Opens no file and knows of no second Canary.

// Texts and numbers that several fields hold.
pub(crate) mod values;

// Flagger's fields that have no meaning here: checked, and named in warnings.
pub(crate) mod unsupported_fields;

// Which requests are meant, and to which version each goes.
pub(crate) mod traffic;

// `analysis.guards`: the sequential tests.
pub(crate) mod guards;

// Hooks and gates.
pub(crate) mod webhooks;

// What our own kind adds to Flagger's.
pub(crate) mod serin_fields;

// MetricTemplates and AlertProviders: the documents that a Canary names.
pub(crate) mod named;

// What surrounds the analysis and is named in it.
pub(crate) mod context;

// How a release advances, and what may end it.
pub(crate) mod analysis;

// The whole `spec`, as one plan for each version.
pub(crate) mod canary;
