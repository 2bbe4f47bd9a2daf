//! The names and numbers that several messages share.

use rollout::base::names::{CanaryId, Upstream};
use rollout::routing::table::Epoch;

use crate::error::WireError;

pub(crate) fn decode_canary(text: &str) -> Result<CanaryId, WireError> {
    CanaryId::parse(text).map_err(|error| WireError::text("canary", text, error))
}

pub(crate) fn decode_upstream(field: &str, text: &str) -> Result<Upstream, WireError> {
    Upstream::parse(text).map_err(|error| WireError::text(field, text, error))
}

/// An epoch that an agent issued; 0 stands for none.
pub(crate) fn decode_epoch(epoch: u64) -> Result<Epoch, WireError> {
    if epoch == 0 {
        return Err(WireError::number("epoch", epoch, "is not a valid epoch; epochs count from 1"));
    }
    Ok(Epoch(epoch))
}
