//! Where requests went, of those that a worker asked.

use rollout::routing::destination::Destination;
use rollout::worker::messages::Sampled;

use crate::error::{WireError, at_most, each};
use crate::limits::{MAX_COUNT, MAX_DESTINATIONS};
use crate::names::{decode_canary, decode_epoch, decode_version, encode_version};
use crate::v1;

pub(crate) fn encode_destinations(sampled: &[Sampled]) -> Vec<v1::Sampled> {
    let encoded = sampled.iter().map(|sampled| v1::Sampled {
        canary: sampled.canary.as_str().into(),
        epoch: sampled.epoch.0,
        version: encode_version(sampled.version).into(),
        cluster: sampled.destination.cluster().into(),
        address: sampled.destination.address().into(),
        shared: sampled.is_shared,
        requests: sampled.requests.min(MAX_COUNT),
    });
    encoded.collect()
}

pub(crate) fn decode_destinations(sampled: Vec<v1::Sampled>) -> Result<Vec<Sampled>, WireError> {
    at_most("destinations", sampled.len(), MAX_DESTINATIONS)?;
    each("destinations", sampled, decode_sampled)
}

fn decode_sampled(sampled: v1::Sampled) -> Result<Sampled, WireError> {
    if sampled.requests == 0 || sampled.requests > MAX_COUNT {
        return Err(WireError::number("requests", sampled.requests, "is outside 1 to 2^48"));
    }
    let v1::Sampled { canary, epoch, version, cluster, address, shared, requests } = sampled;
    let destination =
        Destination::parse(cluster, address).map_err(|(field, error)| WireError::number(field, "the name", error))?;
    Ok(Sampled {
        canary: decode_canary(&canary)?,
        epoch: decode_epoch(epoch)?,
        version: decode_version(version)?,
        destination,
        is_shared: shared,
        requests,
    })
}
