//! Words that every room uses: time, names, shares of traffic, latencies. It knows nothing of requests or releases.

pub mod time;

pub mod names;

pub mod weight;

/// Latencies as HDR buckets: what is merged and never averaged.
pub mod histogram;

/// JSON for maps whose keys are structures.
pub(crate) mod serde_pairs;
