//! The documents that a Canary names: MetricTemplates and AlertProviders.

// Those that there are, by namespace and name.
pub(crate) mod catalogue;

// What one of them says.
pub(crate) mod templates;
