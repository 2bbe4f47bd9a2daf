//! A worker's introduction, and the small messages that share its parts.

use rollout::base::names::CanaryId;
use rollout::routing::table::Epoch;
use rollout::worker::messages::{Hello, Incarnation, Protocol};

use crate::error::{WireError, at_most, bounded, each};
use crate::fuse::{decode_trips, encode_trips};
use crate::limits::{MAX_CANARIES, MAX_TEXT_BYTES};
use crate::names::{decode_canary, decode_epoch, decode_upstream};
use crate::v1;

pub(crate) fn encode_hello(hello: &Hello) -> v1::Hello {
    let adopted = hello.adopted.iter();
    let defaults = hello.default_upstreams.iter();
    v1::Hello {
        protocol: Some(encode_protocol(hello.protocol)),
        incarnation: hello.incarnation.0,
        node: hello.node.clone(),
        cluster: hello.cluster.clone(),
        filter_version: hello.filter_version.clone(),
        adopted: adopted.map(|(canary, epoch)| encode_adopted(canary, *epoch)).collect(),
        default_upstreams: defaults
            .map(|(canary, upstream)| v1::DefaultUpstream {
                canary: canary.as_str().into(),
                upstream: upstream.as_str().into(),
            })
            .collect(),
        trips: encode_trips(&hello.trips),
    }
}

pub(crate) fn decode_hello(hello: v1::Hello) -> Result<Hello, WireError> {
    at_most("adopted", hello.adopted.len(), MAX_CANARIES)?;
    at_most("default_upstreams", hello.default_upstreams.len(), MAX_CANARIES)?;
    Ok(Hello {
        protocol: decode_protocol(hello.protocol)?,
        incarnation: Incarnation(hello.incarnation),
        node: bounded("node", hello.node, MAX_TEXT_BYTES)?,
        cluster: bounded("cluster", hello.cluster, MAX_TEXT_BYTES)?,
        filter_version: bounded("filter_version", hello.filter_version, MAX_TEXT_BYTES)?,
        adopted: each("adopted", hello.adopted, |adopted| decode_adopted(&adopted))?,
        default_upstreams: each("default_upstreams", hello.default_upstreams, |default| {
            Ok((decode_canary(&default.canary)?, decode_upstream("upstream", &default.upstream)?))
        })?,
        trips: decode_trips(hello.trips, MAX_CANARIES)?,
    })
}

pub(crate) fn encode_adopted(canary: &CanaryId, epoch: Epoch) -> v1::Adopted {
    v1::Adopted { canary: canary.as_str().into(), epoch: epoch.0 }
}

pub(crate) fn decode_adopted(adopted: &v1::Adopted) -> Result<(CanaryId, Epoch), WireError> {
    Ok((decode_canary(&adopted.canary)?, decode_epoch(adopted.epoch)?))
}

pub(crate) const fn encode_protocol(protocol: Protocol) -> v1::Protocol {
    v1::Protocol { major: protocol.major, minor: protocol.minor }
}

pub(crate) fn decode_protocol(protocol: Option<v1::Protocol>) -> Result<Protocol, WireError> {
    let v1::Protocol { major, minor } = protocol.ok_or_else(|| WireError::missing("protocol"))?;
    Ok(Protocol { major, minor })
}
