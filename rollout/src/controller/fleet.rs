//! The workers the agent knows: who they are, what they have in force, which of their reports were folded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Upstream};
use crate::base::time::Millis;
use crate::controller::reached::WorkerDestinations;
use crate::judgement::received::Received;
use crate::routing::table::{Epoch, Version};
use crate::worker::connection::BACK_WITHIN;
use crate::worker::messages::{Hello, Incarnation, Protocol, Sampled, Trip};
use crate::worker::tally::Stratum;

/// A worker that went away is expected back for this long.
pub const EXPECTED_FOR: Millis = Millis::from_secs(600);
/// Most incarnations remembered; past it the one that was silent longest is forgotten.
const MAX_WORKERS: usize = 20_000;

/// One stream to a worker, numbered by the shell; never used twice in one life of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conn(pub u64);

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
    pub default_upstreams: BTreeMap<CanaryId, Upstream>,
    /// Entries it has confirmed.
    pub adopted: BTreeMap<CanaryId, Epoch>,
    /// Reports folded.
    pub received: Received,
    /// Its stream, while it has one.
    pub conn: Option<Conn>,
    /// When it last sent something that was stored, or went away.
    pub last_seen_at: Millis,
    /// What the split placed.
    pub placed: BTreeMap<CanaryId, Placed>,
    /// Where its requests went.
    #[serde(default)]
    pub reached: BTreeMap<CanaryId, WorkerDestinations>,
    /// Fuses that are tripped, as far as it said.
    #[serde(default)]
    pub tripped: BTreeMap<CanaryId, Trip>,
}

impl Peer {
    /// Where its routes send a service's requests when the filter sets no header.
    pub fn default_upstream(&self, service: &CanaryId) -> String {
        let configured = self.default_upstreams.get(service).map(ToString::to_string);
        configured.unwrap_or_else(|| format!("{}-primary", service.name()))
    }

    /// An entry is in force; a fuse that had tripped under an earlier one is armed again.
    pub fn adopt(&mut self, canary: CanaryId, epoch: Epoch) {
        if self.tripped.get(&canary).is_some_and(|trip| trip.epoch < epoch) {
            self.tripped.remove(&canary);
        }
        self.adopted.insert(canary, epoch);
    }

    /// A fuse has tripped; returns whether that is news. The worker may have adopted a later entry since.
    pub fn trip(&mut self, trip: &Trip) -> bool {
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
        let adopted = self.adopted.get(canary).copied().unwrap_or_default();
        self.placed.get(canary).copied().filter(|placed| placed.epoch == adopted).unwrap_or_default()
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    workers: BTreeMap<Incarnation, Peer>,
    conns: BTreeMap<Conn, Incarnation>,
}

impl Fleet {
    /// A worker said Hello on a new stream; an older stream of the same incarnation is returned, to be closed.
    pub fn connect(&mut self, conn: Conn, hello: Hello, protocol: Protocol, now: Millis) -> Option<Conn> {
        let old = self.workers.get(&hello.incarnation);
        let kept = |peer: &Peer| (peer.received.clone(), peer.placed.clone(), peer.reached.clone());
        let (received, placed, reached) = old.map(kept).unwrap_or_default();
        // What it does not name any more is armed; what it does is news only if it was not known.
        let mut tripped = old.map(|peer| peer.tripped.clone()).unwrap_or_default();
        tripped.retain(|_, trip| hello.trips.contains(trip));
        let stale = old.and_then(|peer| peer.conn);
        if let Some(stale) = stale {
            self.conns.remove(&stale);
        }
        let peer = Peer {
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
        };
        self.workers.insert(hello.incarnation, peer);
        self.conns.insert(conn, hello.incarnation);
        self.forget_one();
        stale
    }

    /// A stream ended.
    pub fn disconnect(&mut self, conn: Conn, now: Millis) {
        if let Some(peer) = self.conns.remove(&conn).and_then(|incarnation| self.workers.get_mut(&incarnation)) {
            peer.conn = None;
            peer.last_seen_at = now;
        }
    }

    /// The agent restarted: every stream it knew is gone. The workers are expected back from now on, however long ago
    /// the agent last saw them: it was the agent that was away.
    pub fn disconnect_all(&mut self, now: Millis) {
        self.conns.clear();
        for peer in self.workers.values_mut().filter(|peer| peer.conn.is_some()) {
            peer.conn = None;
            peer.last_seen_at = now;
        }
    }

    /// The worker on a stream.
    pub fn on(&mut self, conn: Conn) -> Option<&mut Peer> {
        self.workers.get_mut(self.conns.get(&conn)?)
    }

    /// Which worker is on a stream.
    pub fn incarnation(&self, conn: Conn) -> Option<Incarnation> {
        self.conns.get(&conn).copied()
    }

    /// One worker.
    pub fn worker(&self, incarnation: Incarnation) -> Option<&Peer> {
        self.workers.get(&incarnation)
    }

    /// The same workers, as far as they concern one canary of a service.
    pub fn only(&self, canary: &CanaryId, service: &CanaryId) -> Self {
        let mut fleet = self.clone();
        for peer in fleet.workers.values_mut() {
            peer.default_upstreams.retain(|id, _| id == service);
            peer.adopted.retain(|id, _| id == canary);
            peer.placed.retain(|id, _| id == canary);
            peer.reached.retain(|id, _| id == canary);
            peer.tripped.retain(|id, _| id == canary);
        }
        fleet
    }

    /// Every worker remembered.
    pub fn workers(&self) -> impl Iterator<Item = (Incarnation, &Peer)> {
        self.workers.iter().map(|(incarnation, peer)| (*incarnation, peer))
    }

    /// Workers with a stream.
    pub fn live(&self) -> impl Iterator<Item = &Peer> {
        self.workers.values().filter(|peer| peer.conn.is_some())
    }

    /// A live or expected worker whose routes serve `upstream` by default.
    pub fn serving_by_default(&self, service: &CanaryId, upstream: &Upstream, now: Millis) -> Option<&Peer> {
        self.speaking(now).find(|peer| peer.default_upstream(service) == upstream.as_str())
    }

    /// The workers whose routes are known: those that are live or expected back. A worker that is away is not expected once
    /// its proxy is back with others: they say what its routes are now.
    fn speaking(&self, now: Millis) -> impl Iterator<Item = &Peer> {
        let back: BTreeSet<&str> = self.live().map(|peer| peer.node.as_str()).filter(|node| !node.is_empty()).collect();
        let is_expected =
            move |peer: &Peer| now.since(peer.last_seen_at) <= EXPECTED_FOR && !back.contains(peer.node.as_str());
        self.workers.values().filter(move |peer| peer.conn.is_some() || is_expected(peer))
    }

    /// When the next of the workers that are away after `now` is not expected any more.
    pub fn next_given_up(&self, now: Millis) -> Option<Millis> {
        let away = self.workers.values().filter(|peer| peer.conn.is_none());
        away.map(|peer| peer.last_seen_at.plus(EXPECTED_FOR).plus(Millis(1))).filter(|at| *at > now).min()
    }

    /// Workers that are live or expected back.
    pub fn expected(&self, now: Millis) -> usize {
        let is_away = |peer: &Peer| peer.conn.is_none() && now.since(peer.last_seen_at) > EXPECTED_FOR;
        self.workers.values().filter(|peer| !is_away(peer)).count()
    }

    /// A worker whose fuse for a canary is tripped, live or only just away: a stream that broke is no fuse that was armed.
    pub fn tripped(&self, canary: &CanaryId, now: Millis) -> Option<&Peer> {
        let is_known = |peer: &&Peer| peer.conn.is_some() || now.since(peer.last_seen_at) < BACK_WITHIN;
        self.workers.values().filter(is_known).find(|peer| peer.tripped.contains_key(canary))
    }

    /// Live workers that have not confirmed an epoch.
    pub fn behind(&self, canary: &CanaryId, epoch: Epoch) -> usize {
        self.live().filter(|peer| peer.adopted.get(canary).is_none_or(|adopted| *adopted < epoch)).count()
    }

    /// Workers that may still route by an entry before `epoch`: live ones that have not confirmed it, and those that went
    /// away less than `within` ago.
    pub fn unconfirmed(&self, canary: &CanaryId, epoch: Epoch, within: Millis, now: Millis) -> usize {
        let away = self.workers.values().filter(|peer| peer.conn.is_none() && now.since(peer.last_seen_at) < within);
        let unconfirmed = away.filter(|peer| peer.adopted.get(canary).is_none_or(|adopted| *adopted < epoch));
        self.behind(canary, epoch) + unconfirmed.count()
    }

    /// Workers that went away at `since` or later and have not come back.
    pub fn lost_since(&self, since: Millis) -> usize {
        self.workers.values().filter(|peer| peer.conn.is_none() && peer.last_seen_at >= since).count()
    }

    fn forget_one(&mut self) {
        if self.workers.len() <= MAX_WORKERS {
            return;
        }
        let gone = self.workers.iter().filter(|(_, peer)| peer.conn.is_none());
        if let Some(longest) = gone.min_by_key(|(_, peer)| peer.last_seen_at).map(|(incarnation, _)| *incarnation) {
            self.workers.remove(&longest);
        }
    }
}
