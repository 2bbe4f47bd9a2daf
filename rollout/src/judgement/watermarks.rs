//! How far each worker has come in a release's slots, and with that which slots are closed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::routing::table::Epoch;
use crate::worker::messages::Incarnation;
use crate::worker::tally::Slot;

/// A worker that has not said for this long where it is keeps no slot open.
const WATERMARK_HOLDS: Millis = Millis(1_000);

/// Where a worker is: ordered as in time.
type Place = (Epoch, Slot);

/// The workers that have said of late where they are. No question costs a walk over all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub(super) struct Watermarks {
    workers: BTreeMap<Incarnation, (Place, Millis)>,
    /// Whether any has ever said so.
    has_heard: bool,
    /// How many workers are at each place.
    #[serde(skip)]
    places: BTreeMap<Place, usize>,
    /// The workers by when they said so last.
    #[serde(skip)]
    by_age: BTreeSet<(Millis, Incarnation)>,
}

/// What a snapshot has of them.
#[derive(Deserialize)]
struct Stored {
    workers: BTreeMap<Incarnation, (Place, Millis)>,
    has_heard: bool,
}

impl From<Stored> for Watermarks {
    fn from(Stored { workers, has_heard }: Stored) -> Self {
        let mut watermarks = Self::default();
        workers.into_iter().for_each(|(worker, (place, at))| watermarks.note(worker, place, at));
        Self { has_heard, ..watermarks }
    }
}

impl Watermarks {
    /// A worker says where it is.
    pub(super) fn note(&mut self, worker: Incarnation, place: Place, now: Millis) {
        self.forget(worker);
        self.workers.insert(worker, (place, now));
        *self.places.entry(place).or_default() += 1;
        self.by_age.insert((now, worker));
        self.has_heard = true;
    }

    /// Waits no longer for workers that have been silent for too long.
    pub(super) fn pass(&mut self, now: Millis) {
        while let Some((at, worker)) = self.by_age.first().copied()
            && now.since(at) > WATERMARK_HOLDS
        {
            self.forget(worker);
        }
    }

    /// Whether every worker has gone past a place; of those that are waited for by the last [`Watermarks::pass`].
    pub(super) fn is_closed(&self, place: Place) -> bool {
        // With no worker left to wait for, nothing more will come.
        self.places.first_key_value().map_or(self.has_heard, |(first, _)| place < *first)
    }

    fn forget(&mut self, worker: Incarnation) {
        let Some((place, at)) = self.workers.remove(&worker) else { return };
        self.by_age.remove(&(at, worker));
        if let Some(count) = self.places.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slot_is_closed_when_every_worker_heard_of_late_is_past_it(
            notes in prop::collection::vec((0..5u64, 0..4u64, 0..6u32, 0..700u64), 1..40),
        ) {
            let (mut watermarks, mut now, mut last) = (Watermarks::default(), Millis(5_000), BTreeMap::new());
            for (worker, epoch, slot, later) in notes {
                now = now.plus(Millis(later));
                let place = (Epoch(epoch), Slot(slot));
                watermarks.note(Incarnation(worker), place, now);
                last.insert(worker, (place, now));
                now = now.plus(Millis(later));
                watermarks.pass(now);
                let stored = serde_json::to_vec(&watermarks).unwrap();
                prop_assert_eq!(&serde_json::from_slice::<Watermarks>(&stored).unwrap(), &watermarks);
                let waited_for = || last.values().filter(|(_, at)| now.since(*at) <= WATERMARK_HOLDS);
                for slot in 0..6 {
                    let place = (Epoch(2), Slot(slot));
                    prop_assert_eq!(watermarks.is_closed(place), waited_for().all(|(at, _)| place < *at));
                }
            }
        }
    }

    #[test]
    fn nothing_is_closed_before_anybody_has_spoken() {
        assert!(!Watermarks::default().is_closed((Epoch(1), Slot(0))));
    }
}
