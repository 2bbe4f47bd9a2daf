//! The fuses of one worker: which canary has one, what its requests say to it, which are tripped, what is still to be said.

use std::collections::BTreeMap;

use crate::routing::route::Placement;
use crate::routing::table::{CanaryIndex, Entry, Epoch, Split, Version};
use crate::worker::fuse::{Begun, Fuse, FuseTest, FuseTrip};
use crate::worker::in_flight::FuseTrial;
use crate::worker::messages::{MAX_TRIPS, Trip};
use crate::worker::tally::Stratum;

/// All of them, by the canary's index.
#[derive(Debug, Default)]
pub(super) struct Fuses {
    held: BTreeMap<CanaryIndex, Held>,
    /// The ordinal that the next fuse of a canary goes on from, where it had one. Requests of an aborted release may
    /// be open for long: if ordinals began again, they would be taken for the next release's.
    next: BTreeMap<CanaryIndex, Begun>,
    /// Trips that no report holds yet.
    unreported: BTreeMap<CanaryIndex, Trip>,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    fuse: Fuse,
    trip: Option<Trip>,
}

impl Fuses {
    /// An entry comes into force: a tripped fuse is armed again. Entries of one release share one alpha; they are
    /// known by their salt, which holds the release's number.
    pub(super) fn adopt(&mut self, index: CanaryIndex, entry: &Entry) {
        let old = self.held.remove(&index);
        if let Some(held) = &old {
            self.next.insert(index, held.fuse.begun());
        }
        let Some(plan) = split_of(entry).and_then(|split| split.fuse) else {
            return;
        };
        let salt = |entry| split_of(entry).map(|split| &split.salt);
        let fuse = match old {
            Some(Held { entry: before, mut fuse, .. }) if salt(&before) == salt(entry) => {
                fuse.rearm(&plan, weight_of(entry));
                fuse
            }
            _ => Fuse::new(&plan, weight_of(entry), self.next.get(&index).copied().unwrap_or_default()),
        };
        self.held.insert(index, Held { entry: entry.clone(), fuse, trip: None });
    }

    /// Whether the canary gets nothing more under the entry in force.
    pub(super) fn is_tripped(&self, index: CanaryIndex) -> bool {
        self.held.get(&index).is_some_and(|held| held.trip.is_some())
    }

    /// Whether any canary has a fuse.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A trial of one test begins. `oldest` is how many of the canary's trials began before its oldest that may yet turn out
    /// an event.
    pub(super) fn start(&mut self, test: FuseTest, stratum: Stratum<CanaryIndex>, oldest: Option<u64>) -> FuseTrial {
        let Some(held) = self.held.get_mut(&stratum.canary) else { return FuseTrial::NONE };
        let before = held.fuse.begun_of(test);
        let own = held.counts(stratum.placement).then(|| match stratum.version {
            Version::Canary => held.fuse.start(test, oldest.unwrap_or(before)),
            Version::Primary => held.fuse.start_primary(test),
        });
        FuseTrial { before, own }
    }

    /// What is tripped now.
    pub(super) fn tripped(&self) -> impl Iterator<Item = &Trip> {
        self.held.values().filter_map(|held| held.trip.as_ref())
    }

    /// Whether a trip waits to be reported.
    pub(super) fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// Hands over what waits, or as much of it as a report holds.
    pub(super) fn take_unreported(&mut self) -> Vec<Trip> {
        std::iter::from_fn(|| self.unreported.pop_first()).map(|(_, trip)| trip).take(MAX_TRIPS).collect()
    }

    /// A trial turns out to speak against its version.
    pub(super) fn event(&mut self, test: FuseTest, at: Stratum<CanaryIndex>, trial: FuseTrial) {
        let (Some(held), Some(own)) = (self.held.get_mut(&at.canary), trial.own) else { return };
        let tripped = match at.version {
            Version::Canary => held.fuse.event(test, own),
            Version::Primary => {
                held.fuse.primary_event(test, own);
                None
            }
        };
        self.trip(at.canary, tripped);
    }

    /// It is known of a trial whether it speaks against its version: said once of each, after [`Fuses::event`].
    pub(super) fn settled(&mut self, test: FuseTest, at: Stratum<CanaryIndex>, trial: FuseTrial) {
        let (Some(held), Some(own)) = (self.held.get_mut(&at.canary), trial.own) else { return };
        if at.version == Version::Primary {
            let tripped = held.fuse.primary_settled(test, own);
            self.trip(at.canary, tripped);
        }
    }

    fn trip(&mut self, index: CanaryIndex, tripped: Option<FuseTrip>) {
        let (Some(held), Some(tripped)) = (self.held.get_mut(&index), tripped) else { return };
        let (canary, epoch) = (held.entry.canary.clone(), held.entry.epoch);
        let trip = Trip { canary, epoch, test: tripped.test, events: tripped.events, trials: tripped.trials };
        held.trip = Some(trip.clone());
        // Of a static entry the agent knows nothing.
        if epoch > Epoch(0) {
            self.unreported.insert(index, trip);
        }
    }

    /// A trial turns out to be none.
    pub(super) fn void(&mut self, test: FuseTest, at: Stratum<CanaryIndex>, trial: FuseTrial) {
        let held = self.held.get_mut(&at.canary).filter(|_| at.version == Version::Canary);
        if let (Some(held), Some(own)) = (held, trial.own) {
            held.fuse.void(test, own);
        }
    }
}

impl Held {
    /// Beside a split only what it placed counts: whoever sends the others chooses them. A copy, or what rules place,
    /// speaks where there is nothing else.
    fn counts(&self, placement: Placement) -> bool {
        placement.is_split() || weight_of(&self.entry) == 0.0
    }
}

/// The canary's share of the traffic, 0 to 1.
fn weight_of(entry: &Entry) -> f64 {
    split_of(entry).map_or(0.0, |split| split.weight.percent() / 100.0)
}

fn split_of(entry: &Entry) -> Option<&Split> {
    entry.routing.as_ref()?.split.as_ref()
}
