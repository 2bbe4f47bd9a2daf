//! The names and numbers that several messages share.

use rollout::base::names::{CanaryId, Upstream};
use rollout::routing::table::{Epoch, Version};

use crate::error::WireError;
use crate::v1;

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

pub(crate) const fn encode_version(version: Version) -> v1::Version {
    match version {
        Version::Primary => v1::Version::Primary,
        Version::Canary => v1::Version::Canary,
    }
}

pub(crate) fn decode_version(version: i32) -> Result<Version, WireError> {
    match v1::Version::try_from(version) {
        Ok(v1::Version::Primary) => Ok(Version::Primary),
        Ok(v1::Version::Canary) => Ok(Version::Canary),
        Ok(v1::Version::Unspecified) | Err(_) => Err(unknown("version", version)),
    }
}

/// A value of an enumeration that was never defined, or not set.
pub(crate) fn unknown(field: &str, value: i32) -> WireError {
    WireError::number(field, value, "is not a value this build knows")
}
