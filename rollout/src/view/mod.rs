//! What people and programs read of the controller's state. It decides nothing and changes nothing.

/// Where requests went.
pub mod destinations;

/// What the API shows of canaries and workers.
pub mod status;

/// The one line that a person reads first.
pub mod headline;

/// Every number behind it.
pub mod explanation;
