//! entry -> adopt: what comes into force, and what is worked out once then so that no request has to.

use super::Worker;
use crate::base::names::{CanaryId, Upstream};
use crate::base::time::{Micros, Millis};
use crate::routing::table::{Adoption, CanaryIndex, Entry, Split, Version};
use crate::worker::api::WorkerAction;
use crate::worker::messages::ToAgent;
use crate::worker::tally::Slot;

/// What the engine knows of one entry beside what it says, so that no request has to look it up by a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// When the agent's entry came into force; its slots count from then.
    since: Option<Micros>,
    /// Whether the routes send requests to the primary's upstream by default, and to the canary's.
    is_default: [bool; 2],
    warming: Warming,
    /// Whether the primary has answered a gRPC call as such: only then is a call without a status a failure.
    speaks_grpc: bool,
}

/// How warm the canary of one release is, as far as this worker has sent it requests.
#[derive(Clone, Debug, Default)]
struct Warming {
    /// Which release; its entries have one salt.
    salt: String,
    first: Option<Micros>,
    requests: u64,
}

impl Worker {
    /// Puts an entry of the configuration in place.
    pub(super) fn put(&mut self, entry: Entry) {
        let canary = entry.canary.clone();
        self.table.put(entry);
        self.in_force(&canary, None);
    }

    /// An entry from the agent. A stale one is confirmed as well: the agent learns what is in force.
    pub(super) fn adopt(&mut self, entry: Entry, now: Millis) -> Option<WorkerAction> {
        let canary = entry.canary.clone();
        match self.table.adopt(entry) {
            Adoption::Full => {
                self.faults.entries += 1;
                return None;
            }
            Adoption::Stale => {}
            Adoption::Adopted => self.in_force(&canary, Some(Micros(now.0.saturating_mul(1000)))),
        }
        let in_force = self.table.get(&canary)?.epoch;
        Some(WorkerAction::Send(ToAgent::Adopted(canary, in_force)))
    }

    /// What follows from an entry that has come into force; `since` is when, for one of the agent's.
    fn in_force(&mut self, canary: &CanaryId, since: Option<Micros>) {
        let Some(index) = self.table.index_of(canary) else { return };
        if let Some(entry) = self.table.at(index) {
            self.fuses.adopt(index, entry);
        }
        let at = usize::from(index.0);
        if self.standings.len() <= at {
            self.standings.resize(at + 1, Standing::default());
        }
        let is_default = self.defaults_of(index);
        let split = self.table.at(index).and_then(|entry| entry.routing.as_ref()?.split.as_ref());
        if let Some(standing) = self.standings.get_mut(at) {
            (standing.since, standing.is_default) = (since.or(standing.since), is_default);
            if let Some(split) = split.filter(|split| split.salt != standing.warming.salt) {
                standing.warming = Warming { salt: split.salt.clone(), ..Warming::default() };
            }
        }
    }

    /// The primary has answered a gRPC call with a status.
    pub(super) fn note_grpc(&mut self, index: CanaryIndex) {
        if let Some(standing) = self.standings.get_mut(usize::from(index.0)) {
            standing.speaks_grpc = true;
        }
    }

    /// Whether gRPC is spoken here, as far as this worker knows.
    pub(super) fn speaks_grpc(&self, index: CanaryIndex) -> bool {
        self.standing(index).is_some_and(|standing| standing.speaks_grpc)
    }

    /// The canary gets a request: whether it is one of its warm-up.
    pub(super) fn warms_up(&mut self, index: CanaryIndex, now: Micros) -> bool {
        let split = self.table.at(index).and_then(|entry| entry.routing.as_ref()?.split.as_ref());
        let standing = self.standings.get_mut(usize::from(index.0));
        let (Some(split), Some(Standing { warming, .. })) = (split, standing) else { return false };
        let first = *warming.first.get_or_insert(now);
        let before = warming.requests;
        warming.requests = before.saturating_add(1);
        split.measurement.warm_up.covers(now.since(first), before)
    }

    /// Finds out anew which upstreams the routes take by default.
    pub(super) fn resolve_defaults(&mut self) {
        let resolved: Vec<(CanaryIndex, [bool; 2])> =
            self.table.entries().map(|(index, _)| (index, self.defaults_of(index))).collect();
        for (index, is_default) in resolved {
            if let Some(standing) = self.standings.get_mut(usize::from(index.0)) {
                standing.is_default = is_default;
            }
        }
    }

    fn defaults_of(&self, index: CanaryIndex) -> [bool; 2] {
        let Some((entry, routing)) = self.table.at(index).and_then(|entry| Some((entry, entry.routing.as_ref()?)))
        else {
            return [false; 2];
        };
        let service = routing.scope.service(&entry.canary);
        let is_default = |upstream: &Upstream| match self.settings.default_upstreams.get(service) {
            Some(default) => default == upstream,
            None => upstream.as_str().strip_suffix("-primary") == Some(service.name()),
        };
        [is_default(&routing.primary), routing.split.as_ref().is_some_and(|split| is_default(&split.canary))]
    }

    pub(super) fn is_default(&self, index: CanaryIndex, version: Version) -> bool {
        let [primary, canary] = self.standing(index).map_or([false; 2], |standing| standing.is_default);
        match version {
            Version::Primary => primary,
            Version::Canary => canary,
        }
    }

    fn standing(&self, index: CanaryIndex) -> Option<&Standing> {
        self.standings.get(usize::from(index.0))
    }

    pub(super) fn slot_of(&self, index: CanaryIndex, split: &Split, now: Micros) -> Slot {
        let Some(since) = self.standing(index).and_then(|standing| standing.since) else { return Slot(0) };
        let passed = now.since(since).0 / split.slot.0.max(1).saturating_mul(1000);
        Slot(u32::try_from(passed).unwrap_or(u32::MAX).min(Slot::MERGED.0 - 1))
    }
}
