//! Which requests are asked where the proxy's routes took them, and what the answers were. Asking costs three calls to the
//! host, so few are: enough to notice a route that ignores the decision, before a step can be proven.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draws, Worker};
use crate::routing::destination::Destination;
use crate::routing::route::Placement;
use crate::routing::table::{CanaryIndex, Epoch, Version};
use crate::worker::in_flight::InFlight;
use crate::worker::messages::{MAX_DESTINATIONS, Sampled};
use crate::worker::tally::Stratum;

/// So many of each version's requests are asked at the beginning of each entry…
const FIRST: u32 = 32;
/// …and one in so many of the others.
const ONE_IN: u64 = 64;

/// What one worker knows of destinations.
#[derive(Debug)]
pub(super) struct Sampling {
    /// Its own: the draws that route must not depend on what is measured.
    draws: Draws,
    /// How many of the first were asked, by the canary's index.
    first: Vec<First>,
    unreported: BTreeMap<Key, Reached>,
}

#[derive(Clone, Copy, Debug, Default)]
struct First {
    epoch: Epoch,
    asked: [u32; 2],
}

type Key = (CanaryIndex, Epoch, Version, Destination);

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    requests: u64,
    is_shared: bool,
}

impl Sampling {
    pub(super) fn new(seed: u64) -> Self {
        Self { draws: Draws(seed ^ 0x5e71_4000_d357_0001), first: Vec::new(), unreported: BTreeMap::new() }
    }

    /// Whether a request that starts there is to be asked.
    pub(super) fn asks(&mut self, at: Stratum<CanaryIndex>) -> bool {
        // Nobody judges what is routed without an agent; a copy is seen in its cluster alone, and what was failed safe goes
        // to the primary by intention.
        if at.epoch == Epoch(0) || matches!(at.placement, Placement::Mirrored | Placement::FailSafe) {
            return false;
        }
        let draw = self.draws.next();
        let index = usize::from(at.canary.0);
        if self.first.len() <= index {
            self.first.resize(index + 1, First::default());
        }
        let Some(first) = self.first.get_mut(index) else { return false };
        if first.epoch != at.epoch {
            *first = First { epoch: at.epoch, ..First::default() };
        }
        let [primary, canary] = &mut first.asked;
        let asked = if at.version == Version::Primary { primary } else { canary };
        let is_first = *asked < FIRST;
        *asked += u32::from(is_first);
        is_first || draw.is_multiple_of(ONE_IN)
    }

    fn note(&mut self, at: Stratum<CanaryIndex>, destination: Destination, is_shared: bool) {
        let key = (at.canary, at.epoch, at.version, destination);
        // Past that a sample is lost, whatever it would say; the next report makes room.
        if self.unreported.len() < MAX_DESTINATIONS || self.unreported.contains_key(&key) {
            let reached = self.unreported.entry(key).or_default();
            reached.requests = reached.requests.saturating_add(1);
            reached.is_shared = is_shared;
        }
    }
}

impl Worker {
    /// Where a request went that is asked (see [`InFlight::is_sampled`]), as the proxy names cluster and host, and which try
    /// of the router's it was: a further one may go elsewhere on purpose.
    pub fn arrived(&mut self, request: &InFlight, attempts: Option<u64>, cluster: &[u8], address: &[u8]) {
        if attempts == Some(1)
            && let Some(destination) = Destination::clipped(cluster, address)
        {
            let is_shared = is_declared(&self.settings.shared_clusters, &destination);
            self.sampling.note(request.stratum(), destination, is_shared);
        }
    }

    /// What is to be said of destinations since the last report.
    pub(super) fn take_sampled(&mut self) -> Vec<Sampled> {
        let taken = std::mem::take(&mut self.sampling.unreported).into_iter();
        let named = taken.filter_map(|((canary, epoch, version, destination), reached)| {
            let canary = self.canary(canary)?.clone();
            let Reached { requests, is_shared } = reached;
            Some(Sampled { canary, epoch, version, destination, is_shared, requests })
        });
        named.collect()
    }
}

fn is_declared(clusters: &BTreeSet<String>, destination: &Destination) -> bool {
    clusters.contains(destination.cluster())
}
