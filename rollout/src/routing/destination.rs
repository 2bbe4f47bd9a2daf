//! Where a request went: the cluster that the proxy's route chose, and the host in it, as the proxy names them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name of a cluster that is told apart, in bytes.
pub const MAX_CLUSTER_BYTES: usize = 256;
/// Longest address that is told apart, in bytes: of a socket, a pipe or another listener.
pub const MAX_ADDRESS_BYTES: usize = 128;

/// One host in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    cluster: String,
    address: String,
}

/// A part of a destination that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is {bytes} bytes long; 1 to {most} are allowed")]
pub struct BadLength {
    bytes: usize,
    most: usize,
}

impl Destination {
    /// As a proxy says it, cut to the length that is told apart; `None` where it does not say both.
    pub fn clipped(cluster: &[u8], address: &[u8]) -> Option<Self> {
        let part = |bytes: &[u8], most: usize| {
            let mut text = String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned();
            text.truncate(text.floor_char_boundary(most));
            (!text.is_empty()).then_some(text)
        };
        Some(Self { cluster: part(cluster, MAX_CLUSTER_BYTES)?, address: part(address, MAX_ADDRESS_BYTES)? })
    }

    /// As another end says it.
    ///
    /// # Errors
    /// When a part is empty or too long: which, and its length.
    pub fn parse(cluster: String, address: String) -> Result<Self, (&'static str, BadLength)> {
        let check = |field, text: &str, most| {
            let bytes = text.len();
            if (1..=most).contains(&bytes) { Ok(()) } else { Err((field, BadLength { bytes, most })) }
        };
        check("cluster", &cluster, MAX_CLUSTER_BYTES)?;
        check("address", &address, MAX_ADDRESS_BYTES)?;
        Ok(Self { cluster, address })
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The host's address.
    pub fn address(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_is_always_short_enough_for_the_agent() {
        for (cluster, address) in [
            (&b"web"[..], &b"10.0.0.1:80"[..]),
            (&[b'x'; 5_000], &[0xff; 5_000]),
            ("ä".repeat(400).as_bytes(), "\u{1f426}".repeat(99).as_bytes()),
        ] {
            let said = Destination::clipped(cluster, address).unwrap();
            assert_eq!(Destination::parse(said.cluster.clone(), said.address.clone()), Ok(said));
        }
        for (cluster, address) in [("", "10.0.0.1:80"), ("web", "")] {
            assert_eq!(Destination::clipped(cluster.as_bytes(), address.as_bytes()), None);
            assert!(Destination::parse(cluster.into(), address.into()).is_err());
        }
        let long = Destination::parse("x".repeat(257), "a".into()).unwrap_err();
        assert_eq!((long.0, long.1.to_string()), ("cluster", "is 257 bytes long; 1 to 256 are allowed".into()));
    }
}
