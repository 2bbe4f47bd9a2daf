//! The messages between worker and agent, as domain types; `proto` has their form on the wire.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::names::{CanaryId, Upstream};
use crate::routing::destination::Destination;
use crate::routing::table::{Entry, Epoch, Version};
use crate::worker::fuse::FuseTest;
use crate::worker::tally::{Counts, Slot, Stratum};

/// The newest protocol this build speaks.
pub const PROTOCOL: Protocol = Protocol { major: 3, minor: 2 };

/// Most strata in one report, so that every report fits one message; the rest follows in the next.
pub const MAX_STRATA: usize = 128;
/// Most trips in one report; the rest follows as well.
pub const MAX_TRIPS: usize = 256;

/// Most destinations in one report.
pub const MAX_DESTINATIONS: usize = 64;

/// A version of the stream's protocol. A peer one minor back works, every other is refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Raised when old messages can no longer be understood.
    pub major: u32,
    /// Raised when messages gain meaning that the other side may ignore.
    pub minor: u32,
}

/// Two ends that have no protocol in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "filter speaks protocol {theirs}, this agent speaks {ours} and one minor version back: upgrade the older of the two"
)]
pub struct ProtocolError {
    /// Ours.
    pub ours: Protocol,
    /// The peer's.
    pub theirs: Protocol,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Protocol {
    /// Whether a peer that speaks this is told that a report is received, before it is stored.
    pub const fn tells_received(self) -> bool {
        self.minor >= 2
    }

    /// What both ends speak: the older of two that are at most one minor apart.
    ///
    /// # Errors
    /// When majors differ or minors are further apart.
    pub fn agree(self, theirs: Self) -> Result<Self, ProtocolError> {
        if self.major != theirs.major || self.minor.abs_diff(theirs.minor) > 1 {
            return Err(ProtocolError { ours: self, theirs });
        }
        Ok(Self { minor: self.minor.min(theirs.minor), ..self })
    }
}

/// One life of one worker VM: a random number it drew at birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A worker's first message on a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its incarnation; unique over the fleet.
    pub incarnation: Incarnation,
    /// Envoy's `node.id`.
    pub node: String,
    /// Envoy's `node.cluster`.
    pub cluster: String,
    /// The filter's build version.
    pub filter_version: String,
    /// Entries in force, so that an agent that lost its memory continues above them.
    pub adopted: Vec<(CanaryId, Epoch)>,
    /// Where the routes send a canary's requests when the filter sets no header; absent means `<name>-primary`.
    pub default_upstreams: Vec<(CanaryId, Upstream)>,
    /// Fuses that are tripped now, so that an agent that lost its memory knows.
    #[serde(default)]
    pub trips: Vec<Trip>,
}

impl Hello {
    /// An entry in force whose epoch no agent can have issued; see [`Epoch::bound_at`]. To go on above it would be to
    /// follow a forger, and no entry below it would be adopted: such a worker cannot be steered.
    pub fn beyond(&self, bound: Epoch) -> Option<(&CanaryId, Epoch)> {
        self.adopted.iter().find(|(_, epoch)| *epoch >= bound).map(|(canary, epoch)| (canary, *epoch))
    }
}

/// A numbered delta of one worker's counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// 1, 2, 3, … within an incarnation.
    pub number: u64,
    /// What was counted since the report before.
    pub strata: Vec<(Stratum<CanaryId>, Counts)>,
    /// Where the worker is in the slots of each canary with a split.
    pub watermarks: Vec<Watermark>,
    /// Fuses that tripped since the report before.
    #[serde(default)]
    pub trips: Vec<Trip>,
    /// Where requests went, of those that were asked since the report before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Sampled>,
}

impl Report {
    /// The canaries that it names, some of them more than once.
    pub fn canaries(&self) -> impl Iterator<Item = &CanaryId> {
        let strata = self.strata.iter().map(|(stratum, _)| &stratum.canary);
        let watermarks = self.watermarks.iter().map(|watermark| &watermark.canary);
        let trips = self.trips.iter().map(|trip| &trip.canary);
        strata.chain(watermarks).chain(trips).chain(self.destinations.iter().map(|sampled| &sampled.canary))
    }
}

/// Requests of one version that went to one place, of those that were asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// Whose.
    pub canary: CanaryId,
    /// The entry under which they started.
    pub epoch: Epoch,
    /// Which version the filter chose.
    pub version: Version,
    /// Where they went.
    pub destination: Destination,
    /// Whether the filter's configuration declares that both versions share that cluster.
    pub is_shared: bool,
    /// How many.
    pub requests: u64,
}

/// A fuse has tripped: the worker sends nothing to this canary until it adopts an entry of a greater epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// Whose.
    pub canary: CanaryId,
    /// Under which entry.
    pub epoch: Epoch,
    /// By which test.
    pub test: FuseTest,
    /// Requests that spoke against the canary…
    pub events: u64,
    /// …among this many.
    pub trials: u64,
}

/// All requests of a worker that started under `epoch` before `slot` have been reported as started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Of which canary.
    pub canary: CanaryId,
    /// Under which entry.
    pub epoch: Epoch,
    /// The slot in which it is now.
    pub slot: Slot,
}

/// What a worker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// First of all.
    Hello(Hello),
    /// What was counted.
    Report(Report),
    /// An entry is in force.
    Adopted(CanaryId, Epoch),
    /// Nothing to report; answered by [`ToWorker::Beat`].
    Beat,
}

/// What the agent sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// The answer to Hello: the protocol both speak.
    Welcome(Protocol),
    /// The report of this number is counted, and all before it: the next one may leave. Not told before protocol 3.2.
    Received(u64),
    /// The report of this number is stored, and all before it: no crash of the agent forgets them.
    Stored(u64),
    /// Route a canary so from now on.
    Entry(Box<Entry>),
    /// The agent lives.
    Beat,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn protocol(major: u32, minor: u32) -> Protocol {
        Protocol { major, minor }
    }

    #[test]
    fn one_minor_apart_works_and_all_else_is_refused_by_name() {
        let ours = protocol(1, 3);
        assert_eq!(ours.agree(protocol(1, 3)), Ok(protocol(1, 3)));
        assert_eq!(ours.agree(protocol(1, 2)), Ok(protocol(1, 2)));
        assert_eq!(ours.agree(protocol(1, 4)), Ok(protocol(1, 3)));
        for theirs in [protocol(1, 1), protocol(1, 5), protocol(2, 3), protocol(0, 3)] {
            let refusal = ours.agree(theirs).unwrap_err().to_string();
            assert!(refusal.contains(&format!("protocol {theirs}")) && refusal.contains("1.3"), "{refusal}");
        }
    }
}
