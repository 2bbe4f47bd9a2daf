//! What is known of one worker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Conn;
use crate::base::names::{CanaryId, Upstream};
use crate::base::time::Millis;
use crate::controller::reached::WorkerDestinations;
use crate::judgement::received::Received;
use crate::routing::table::{Epoch, Version};
use crate::worker::messages::{Hello, Protocol, Sampled, Trip};
use crate::worker::tally::Stratum;

/// Requests that one worker began and the split placed, not the match rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The latest epoch that it reported.
    pub epoch: Epoch,
    /// Under that one, to the primary.
    pub primary: u64,
    /// Under that one, to the canary.
    pub canary: u64,
    /// Under earlier ones, to either.
    pub before: u64,
}

impl Placed {
    fn add(&mut self, epoch: Epoch, version: Version, started: u64) {
        if epoch > self.epoch {
            *self = Self { epoch, before: self.total(), ..Self::default() };
        }
        let count = match version {
            _ if epoch < self.epoch => &mut self.before,
            Version::Primary => &mut self.primary,
            Version::Canary => &mut self.canary,
        };
        *count = count.saturating_add(started);
    }

    /// Since the worker was first seen.
    pub const fn total(&self) -> u64 {
        self.primary.saturating_add(self.canary).saturating_add(self.before)
    }
}

/// What is known of one worker incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Envoy's `node.id`.
    pub node: String,
    /// Envoy's `node.cluster`.
    pub cluster: String,
    /// The filter's build version.
    pub filter_version: String,
    /// What both ends speak.
    pub protocol: Protocol,
    /// Where its routes send requests without a decision header, where that is not `<name>-primary`.
    pub(super) default_upstreams: BTreeMap<CanaryId, Upstream>,
    /// Entries it has confirmed.
    pub(super) adopted: BTreeMap<CanaryId, Epoch>,
    /// Reports folded.
    pub received: Received,
    /// Its stream, while it has one.
    pub(super) conn: Option<Conn>,
    /// When it last sent something that was stored, or went away.
    pub(super) last_seen_at: Millis,
    /// What the split placed.
    pub placed: BTreeMap<CanaryId, Placed>,
    /// Where its requests went.
    #[serde(default)]
    pub reached: BTreeMap<CanaryId, WorkerDestinations>,
    /// Fuses that are tripped, as far as it said.
    #[serde(default)]
    pub(super) tripped: BTreeMap<CanaryId, Trip>,
}

impl Peer {
    /// A worker that said Hello, as which `old` was known before.
    pub(super) fn new(conn: Conn, hello: Hello, protocol: Protocol, old: Option<Self>, now: Millis) -> Self {
        let (received, placed, reached, mut tripped) =
            old.map(|old| (old.received, old.placed, old.reached, old.tripped)).unwrap_or_default();
        // What it does not name any more is armed; what it does is news only if it was not known.
        tripped.retain(|_, trip| hello.trips.contains(trip));
        Self {
            node: hello.node,
            cluster: hello.cluster,
            filter_version: hello.filter_version,
            protocol,
            default_upstreams: hello.default_upstreams.into_iter().collect(),
            adopted: hello.adopted.into_iter().collect(),
            received,
            conn: Some(conn),
            last_seen_at: now,
            placed,
            reached,
            tripped,
        }
    }

    /// Its stream has ended.
    pub(super) const fn went(&mut self, now: Millis) {
        (self.conn, self.last_seen_at) = (None, now);
    }

    /// Keeps what concerns one canary of a service.
    pub(super) fn retain(&mut self, canary: &CanaryId, service: &CanaryId) {
        self.default_upstreams.retain(|id, _| id == service);
        self.adopted.retain(|id, _| id == canary);
        self.placed.retain(|id, _| id == canary);
        self.reached.retain(|id, _| id == canary);
        self.tripped.retain(|id, _| id == canary);
    }

    /// Whether it says where a service's requests go without a decision header.
    pub(super) fn says(&self, service: &CanaryId) -> bool {
        self.default_upstreams.contains_key(service)
    }

    /// Whether it has confirmed an entry of this epoch or a later one.
    pub(super) fn has_adopted(&self, canary: &CanaryId, epoch: Epoch) -> bool {
        self.adopted.get(canary).is_some_and(|adopted| *adopted >= epoch)
    }

    /// Where its routes send a service's requests when the filter sets no header.
    pub fn default_upstream(&self, service: &CanaryId) -> String {
        let configured = self.default_upstreams.get(service).map(ToString::to_string);
        configured.unwrap_or_else(|| format!("{}-primary", service.name()))
    }

    /// Its stream, while it has one.
    pub const fn conn(&self) -> Option<Conn> {
        self.conn
    }

    /// Whether it has a stream.
    pub const fn is_live(&self) -> bool {
        self.conn.is_some()
    }

    /// When it last sent something that was stored, or went away.
    pub const fn last_seen_at(&self) -> Millis {
        self.last_seen_at
    }

    /// The entry of a canary that it has confirmed; 0 for none.
    pub fn adopted(&self, canary: &CanaryId) -> Epoch {
        self.adopted.get(canary).copied().unwrap_or_default()
    }

    /// Fuses that are tripped, as far as it said.
    pub const fn tripped(&self) -> &BTreeMap<CanaryId, Trip> {
        &self.tripped
    }

    /// It has sent something.
    pub fn seen(&mut self, now: Millis) {
        // The index of those that are away knows when they went.
        if self.is_live() {
            self.last_seen_at = now;
        }
    }

    /// An entry is in force; a fuse that had tripped under an earlier one is armed again.
    pub(super) fn adopt(&mut self, canary: &CanaryId, epoch: Epoch) {
        if self.tripped.get(canary).is_some_and(|trip| trip.epoch < epoch) {
            self.tripped.remove(canary);
        }
        self.adopted.insert(canary.clone(), epoch);
    }

    /// A fuse has tripped; returns whether that is news. The worker may have adopted a later entry since.
    pub(super) fn trip(&mut self, trip: &Trip) -> bool {
        let is_past = self.adopted.get(&trip.canary).is_some_and(|epoch| *epoch > trip.epoch);
        if is_past {
            return true;
        }
        self.tripped.insert(trip.canary.clone(), trip.clone()).as_ref() != Some(trip)
    }

    /// Counts requests that the split placed.
    pub fn place(&mut self, stratum: &Stratum<CanaryId>, started: u64) {
        self.placed.entry(stratum.canary.clone()).or_default().add(stratum.epoch, stratum.version, started);
    }

    /// Notes where requests went.
    pub fn arrived(&mut self, sampled: &Sampled) {
        self.reached.entry(sampled.canary.clone()).or_default().fold(sampled);
    }

    /// What the split placed under the entry that the worker has in force.
    pub fn placed_now(&self, canary: &CanaryId) -> Placed {
        let adopted = self.adopted(canary);
        self.placed.get(canary).copied().filter(|placed| placed.epoch == adopted).unwrap_or_default()
    }
}
