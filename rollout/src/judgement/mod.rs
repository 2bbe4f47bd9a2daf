//! What all workers saw, and what it says of a canary: report -> fold -> look. It moves nothing: a verdict is data.

/// Latency thresholds that follow the primary's past.
pub mod latency_thresholds;

/// How many of a slot's latencies were above them.
pub mod latency_baseline;

/// Elementary tests over a stream of slots.
pub mod sequential;

/// What one guard holds against the canary.
pub mod guard_rule;

/// Whether the canary gets the share that its weight says.
pub mod sample_ratio;

/// The guards of a release together.
pub mod guards;

/// Whether the primary is the one that fails.
pub mod primary_watch;

/// What the certificate leaves out of workers that are gone.
pub mod gone_workers;

/// When a step is proven.
pub mod certificate;

/// How far each worker has come, and so which slots are closed.
mod watermarks;

/// Slots that are not complete yet, gathered from all workers.
pub mod slots;

/// Where the versions' requests went.
pub mod destinations;

/// The newest counts of a step, for threshold checks.
pub mod window;

/// Requests a second.
mod rate;

/// Which reports have come.
pub mod received;

/// report -> fold.
pub mod evidence;
