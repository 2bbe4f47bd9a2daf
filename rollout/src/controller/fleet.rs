//! The workers the agent knows: who they are, what they have in force, which of their reports were folded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Upstream};
use crate::base::time::Millis;
use crate::routing::table::Epoch;
use crate::worker::connection::BACK_WITHIN;
use crate::worker::messages::{Hello, Incarnation, Protocol, Trip};

mod peer;

mod index;

use self::index::Index;
pub use self::peer::{Peer, Placed};

/// A worker that went away is expected back for this long.
pub const EXPECTED_FOR: Millis = Millis::from_secs(600);
/// Most incarnations remembered; past it the one that was silent longest is forgotten.
const MAX_WORKERS: usize = 20_000;

/// One stream to a worker, numbered by the shell; never used twice in one life of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conn(pub u64);

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Fleet {
    workers: BTreeMap<Incarnation, Peer>,
    conns: BTreeMap<Conn, Incarnation>,
    #[serde(skip)]
    index: Index,
}

/// What a snapshot has of it.
#[derive(Deserialize)]
struct Stored {
    workers: BTreeMap<Incarnation, Peer>,
    conns: BTreeMap<Conn, Incarnation>,
}

impl From<Stored> for Fleet {
    fn from(Stored { workers, conns }: Stored) -> Self {
        let index = Index::of(&workers);
        Self { workers, conns, index }
    }
}

impl Fleet {
    /// A worker said Hello on a new stream; an older stream of the same incarnation is returned, to be closed.
    pub fn connect(&mut self, conn: Conn, hello: Hello, protocol: Protocol, now: Millis) -> Option<Conn> {
        let incarnation = hello.incarnation;
        let old = self.workers.remove(&incarnation);
        old.iter().for_each(|old| self.index.remove(incarnation, old));
        let stale = old.as_ref().and_then(Peer::conn);
        stale.iter().for_each(|stale| {
            self.conns.remove(stale);
        });
        let peer = Peer::new(conn, hello, protocol, old, now);
        self.index.add(incarnation, &peer);
        self.workers.insert(incarnation, peer);
        self.conns.insert(conn, incarnation);
        self.forget_one();
        stale
    }

    /// A stream ended.
    pub fn disconnect(&mut self, conn: Conn, now: Millis) {
        if let Some(incarnation) = self.conns.remove(&conn)
            && let Some(peer) = self.workers.get_mut(&incarnation)
        {
            self.index.leave(incarnation, peer);
            peer.went(now);
            self.index.arrive(incarnation, peer);
        }
    }

    /// The agent restarted: every stream it knew is gone. The workers are expected back from now on, however long ago
    /// the agent last saw them: it was the agent that was away.
    pub fn disconnect_all(&mut self, now: Millis) {
        let conns: Vec<Conn> = self.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.disconnect(conn, now));
    }

    /// The worker on a stream.
    pub fn on(&mut self, conn: Conn) -> Option<&mut Peer> {
        self.workers.get_mut(self.conns.get(&conn)?)
    }

    /// The worker on a stream has an entry in force; a fuse that had tripped under an earlier one is armed again.
    pub fn adopt(&mut self, conn: Conn, canary: &CanaryId, epoch: Epoch, now: Millis) {
        let Some(incarnation) = self.incarnation(conn) else { return };
        let Some(peer) = self.workers.get_mut(&incarnation) else { return };
        peer.seen(now);
        self.index.adopt(canary, peer.adopted.get(canary).copied(), epoch);
        peer.adopt(canary, epoch);
        self.index.set_tripped(incarnation, canary, peer.tripped().contains_key(canary));
    }

    /// A fuse of the worker on a stream has tripped; returns the worker, and whether that is news.
    pub fn trip(&mut self, conn: Conn, trip: &Trip) -> Option<(&Peer, bool)> {
        let incarnation = self.incarnation(conn)?;
        let peer = self.workers.get_mut(&incarnation)?;
        let is_news = peer.trip(trip);
        self.index.set_tripped(incarnation, &trip.canary, peer.tripped().contains_key(&trip.canary));
        Some((peer, is_news))
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
        let mut workers = self.workers.clone();
        workers.values_mut().for_each(|peer| peer.retain(canary, service));
        Stored { workers, conns: self.conns.clone() }.into()
    }

    /// Every worker remembered.
    pub fn workers(&self) -> impl Iterator<Item = (Incarnation, &Peer)> {
        self.workers.iter().map(|(incarnation, peer)| (*incarnation, peer))
    }

    /// Workers with a stream.
    pub fn live(&self) -> impl Iterator<Item = &Peer> {
        self.conns.values().filter_map(|incarnation| self.workers.get(incarnation))
    }

    /// How many those are.
    pub const fn live_count(&self) -> usize {
        self.index.live
    }

    /// A live or expected worker whose routes serve `upstream` by default.
    pub fn serving_by_default(&self, service: &CanaryId, upstream: &Upstream, now: Millis) -> Option<&Peer> {
        let of = |incarnation: Incarnation| self.workers.get(&incarnation);
        let mut saying = self.index.serving(service, upstream).filter_map(of);
        saying.find(|peer| self.speaks(peer, now)).or_else(|| {
            let is_implied = upstream.as_str().strip_suffix("-primary") == Some(service.name());
            // Where every worker says something, no walk would find one that does not.
            let may_be_silent = is_implied && self.index.saying(service) < self.workers.len();
            if may_be_silent { self.speaking(now).find(|peer| !peer.says(service)) } else { None }
        })
    }

    /// The workers whose routes are known: those that are live or expected back. A worker that is away is not expected once
    /// its proxy is back with others: they say what its routes are now.
    fn speaking(&self, now: Millis) -> impl Iterator<Item = &Peer> {
        let since = Millis(now.0.saturating_sub(EXPECTED_FOR.0));
        let away = self.index.away.range((since, Incarnation(0))..);
        let away = away.filter_map(|(_, incarnation)| self.workers.get(incarnation));
        self.live().chain(away.filter(|peer| !self.index.is_back(&peer.node)))
    }

    fn speaks(&self, peer: &Peer, now: Millis) -> bool {
        let is_expected = || now.since(peer.last_seen_at()) <= EXPECTED_FOR && !self.index.is_back(&peer.node);
        peer.is_live() || is_expected()
    }

    /// When the next of the workers that are away after `now` is not expected any more.
    pub fn next_given_up(&self, now: Millis) -> Option<Millis> {
        let given_up = |at: Millis| at.plus(EXPECTED_FOR).plus(Millis(1));
        let since = Millis(now.0.saturating_sub(EXPECTED_FOR.0));
        let mut away = self.index.away.range((since, Incarnation(0))..);
        away.find(|(at, _)| given_up(*at) > now).map(|(at, _)| given_up(*at))
    }

    /// Workers that are live or expected back.
    pub fn expected(&self, now: Millis) -> usize {
        let since = Millis(now.0.saturating_sub(EXPECTED_FOR.0));
        self.live_count() + self.index.away.range((since, Incarnation(0))..).count()
    }

    /// A worker whose fuse for a canary is tripped, live or only just away: a stream that broke is no fuse that was armed.
    pub fn tripped(&self, canary: &CanaryId, now: Millis) -> Option<&Peer> {
        let is_known = |peer: &&Peer| peer.is_live() || now.since(peer.last_seen_at()) < BACK_WITHIN;
        self.index.tripped(canary).filter_map(|incarnation| self.workers.get(&incarnation)).find(is_known)
    }

    /// Live workers that have not confirmed an epoch.
    pub fn behind(&self, canary: &CanaryId, epoch: Epoch) -> usize {
        self.live_count() - self.index.up_to_date(canary, epoch)
    }

    /// Workers that may still route by an entry before `epoch`: live ones that have not confirmed it, and those that went
    /// away less than `within` ago.
    pub fn unconfirmed(&self, canary: &CanaryId, epoch: Epoch, within: Millis, now: Millis) -> usize {
        let since = Millis(now.0.saturating_sub(within.0));
        let away = self.index.away.range((since, Incarnation(0))..);
        let away = away.filter(|(at, _)| now.since(*at) < within);
        let away = away.filter_map(|(_, incarnation)| self.workers.get(incarnation));
        self.behind(canary, epoch) + away.filter(|peer| !peer.has_adopted(canary, epoch)).count()
    }

    /// Workers that went away at `since` or later and have not come back.
    pub fn lost_since(&self, since: Millis) -> usize {
        self.index.away.range((since, Incarnation(0))..).count()
    }

    fn forget_one(&mut self) {
        if self.workers.len() <= MAX_WORKERS {
            return;
        }
        if let Some((_, longest)) = self.index.away.first().copied()
            && let Some(peer) = self.workers.remove(&longest)
        {
            self.index.remove(longest, &peer);
        }
    }
}

#[cfg(test)]
mod tests;
