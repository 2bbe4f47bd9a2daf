//! What the fleet is asked after every report, kept as it changes: no answer may cost a walk over all workers.

use std::collections::{BTreeMap, BTreeSet};

use super::peer::Peer;
use crate::base::names::{CanaryId, Upstream};
use crate::base::time::Millis;
use crate::routing::table::Epoch;
use crate::worker::messages::Incarnation;

/// Derived from the workers alone, so it is not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Workers with a stream.
    pub(super) live: usize,
    /// How many of them each proxy has; one without a name is none.
    live_of_node: BTreeMap<String, usize>,
    /// Workers without a stream, by when they were seen last.
    pub(super) away: BTreeSet<(Millis, Incarnation)>,
    /// Of workers with a stream: how many have confirmed which entry of a canary.
    confirmed: BTreeMap<CanaryId, BTreeMap<Epoch, usize>>,
    /// Workers that say where a service's requests go without a decision header.
    defaults: BTreeMap<CanaryId, BTreeMap<Upstream, BTreeSet<Incarnation>>>,
    /// Workers whose fuse for a canary is tripped.
    tripped: BTreeMap<CanaryId, BTreeSet<Incarnation>>,
}

impl Index {
    pub(super) fn of(workers: &BTreeMap<Incarnation, Peer>) -> Self {
        let mut index = Self::default();
        workers.iter().for_each(|(incarnation, peer)| index.add(*incarnation, peer));
        index
    }

    /// A worker is known from now on.
    pub(super) fn add(&mut self, incarnation: Incarnation, peer: &Peer) {
        self.arrive(incarnation, peer);
        for (service, upstream) in &peer.default_upstreams {
            let of_service = self.defaults.entry(service.clone()).or_default();
            of_service.entry(upstream.clone()).or_default().insert(incarnation);
        }
        for canary in peer.tripped.keys() {
            self.tripped.entry(canary.clone()).or_default().insert(incarnation);
        }
    }

    /// A worker is not known any more, or is about to be known anew.
    pub(super) fn remove(&mut self, incarnation: Incarnation, peer: &Peer) {
        self.leave(incarnation, peer);
        for (service, upstream) in &peer.default_upstreams {
            let Some(of_service) = self.defaults.get_mut(service) else { continue };
            take_out(of_service, upstream, incarnation);
            if of_service.is_empty() {
                self.defaults.remove(service);
            }
        }
        for canary in peer.tripped.keys() {
            take_out(&mut self.tripped, canary, incarnation);
        }
    }

    /// A worker stands here as what it is now: with a stream or without one.
    pub(super) fn arrive(&mut self, incarnation: Incarnation, peer: &Peer) {
        if !peer.is_live() {
            self.away.insert((peer.last_seen_at, incarnation));
            return;
        }
        self.live += 1;
        if !peer.node.is_empty() {
            *self.live_of_node.entry(peer.node.clone()).or_default() += 1;
        }
        peer.adopted.iter().for_each(|(canary, epoch)| self.confirm(canary, *epoch));
    }

    /// The opposite of [`Index::arrive`], before a change.
    pub(super) fn leave(&mut self, incarnation: Incarnation, peer: &Peer) {
        if !peer.is_live() {
            self.away.remove(&(peer.last_seen_at, incarnation));
            return;
        }
        self.live -= 1;
        count_down(&mut self.live_of_node, &peer.node);
        peer.adopted.iter().for_each(|(canary, epoch)| self.unconfirm(canary, *epoch));
    }

    /// A live worker has confirmed an entry, after `before`.
    pub(super) fn adopt(&mut self, canary: &CanaryId, before: Option<Epoch>, epoch: Epoch) {
        before.into_iter().for_each(|before| self.unconfirm(canary, before));
        self.confirm(canary, epoch);
    }

    fn confirm(&mut self, canary: &CanaryId, epoch: Epoch) {
        *self.confirmed.entry(canary.clone()).or_default().entry(epoch).or_default() += 1;
    }

    fn unconfirm(&mut self, canary: &CanaryId, epoch: Epoch) {
        let Some(epochs) = self.confirmed.get_mut(canary) else { return };
        count_down(epochs, &epoch);
        if epochs.is_empty() {
            self.confirmed.remove(canary);
        }
    }

    /// A worker's fuse for a canary is tripped, or armed again.
    pub(super) fn set_tripped(&mut self, incarnation: Incarnation, canary: &CanaryId, is_tripped: bool) {
        if is_tripped {
            self.tripped.entry(canary.clone()).or_default().insert(incarnation);
        } else {
            take_out(&mut self.tripped, canary, incarnation);
        }
    }

    /// Whether a proxy has a worker with a stream.
    pub(super) fn is_back(&self, node: &str) -> bool {
        self.live_of_node.contains_key(node)
    }

    /// Live workers that have confirmed `epoch` or a later one.
    pub(super) fn up_to_date(&self, canary: &CanaryId, epoch: Epoch) -> usize {
        self.confirmed.get(canary).map_or(0, |epochs| epochs.range(epoch..).map(|(_, count)| count).sum())
    }

    /// Workers that say that a service's requests go to `upstream` by default.
    pub(super) fn serving(&self, service: &CanaryId, upstream: &Upstream) -> impl Iterator<Item = Incarnation> {
        self.defaults.get(service).and_then(|of_service| of_service.get(upstream)).into_iter().flatten().copied()
    }

    /// How many workers say something of a service's default.
    pub(super) fn saying(&self, service: &CanaryId) -> usize {
        self.defaults.get(service).map_or(0, |of_service| of_service.values().map(BTreeSet::len).sum())
    }

    /// Workers whose fuse for a canary is tripped.
    pub(super) fn tripped(&self, canary: &CanaryId) -> impl Iterator<Item = Incarnation> {
        self.tripped.get(canary).into_iter().flatten().copied()
    }
}

fn take_out<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<Incarnation>>, key: &K, incarnation: Incarnation) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(&incarnation);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

fn count_down<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
