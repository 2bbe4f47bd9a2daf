//! The fuses of one worker: which canary has one, what its requests say to it, which are tripped, what is still to be said.

use std::collections::BTreeMap;

use crate::routing::outcome::Outcome;
use crate::routing::table::{CanaryIndex, Entry, Epoch, Split, Version};
use crate::worker::fuse::{Fuse, FuseTest, UNCOUNTED};
use crate::worker::messages::{MAX_TRIPS, Trip};
use crate::worker::tally::Stratum;

/// All of them, by the canary's index.
#[derive(Debug, Default)]
pub(super) struct Fuses {
    held: BTreeMap<CanaryIndex, Held>,
    /// The ordinal that the next fuse of a canary goes on from, where it had one. Requests of an aborted release may
    /// be open for long: if ordinals began again, they would be taken for the next release's.
    next: BTreeMap<CanaryIndex, [u64; 2]>,
    /// Trips that no report holds yet.
    unreported: BTreeMap<CanaryIndex, Trip>,
}

/// The first request's ordinal.
const FIRST: u64 = 1;

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
                fuse.rearm(&plan);
                fuse
            }
            _ => Fuse::new(&plan, self.next.get(&index).copied().unwrap_or([FIRST; 2])),
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

    /// A trial of one test begins; returns its ordinal, [`UNCOUNTED`] where nothing is counted. `oldest` is the ordinal of the
    /// canary's oldest trial that may yet turn out an event.
    pub(super) fn start(&mut self, test: FuseTest, stratum: Stratum<CanaryIndex>, oldest: Option<u64>) -> u64 {
        let Some(Held { fuse, .. }) = self.held.get_mut(&stratum.canary) else { return UNCOUNTED };
        let begun = fuse.begun_of(test);
        match stratum.version {
            Version::Canary => fuse.start(test, oldest.unwrap_or(begun)),
            Version::Primary => begun,
        }
    }

    /// A request has ended.
    pub(super) fn ended(&mut self, at: Stratum<CanaryIndex>, ordinal: u64, outcome: Outcome) {
        match outcome {
            Outcome::Void => self.void(FuseTest::Failed, at, ordinal),
            Outcome::Failure(_) => self.event(FuseTest::Failed, at, ordinal),
            // A client that left removes no trial.
            Outcome::Success | Outcome::Abandoned => {}
        }
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

    /// A trial turns out to speak against the canary.
    pub(super) fn event(&mut self, test: FuseTest, at: Stratum<CanaryIndex>, ordinal: u64) {
        let Some(held) = self.held.get_mut(&at.canary).filter(|_| at.version == Version::Canary) else { return };
        let Some(tripped) = held.fuse.event(test, ordinal) else { return };
        let (canary, epoch) = (held.entry.canary.clone(), held.entry.epoch);
        let trip = Trip { canary, epoch, test: tripped.test, events: tripped.events, trials: tripped.trials };
        held.trip = Some(trip.clone());
        // Of a static entry the agent knows nothing.
        if epoch > Epoch(0) {
            self.unreported.insert(at.canary, trip);
        }
    }

    /// A trial turns out to be none.
    pub(super) fn void(&mut self, test: FuseTest, at: Stratum<CanaryIndex>, ordinal: u64) {
        if let Some(held) = self.held.get_mut(&at.canary).filter(|_| at.version == Version::Canary) {
            held.fuse.void(test, ordinal);
        }
    }
}

fn split_of(entry: &Entry) -> Option<&Split> {
    entry.routing.as_ref()?.split.as_ref()
}
