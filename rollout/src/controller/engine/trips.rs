//! Workers whose fuse has tripped: noted, held for, and armed again if the guards leave the release alone.

use super::Controller;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::Output;
use crate::controller::fleet::Conn;
use crate::controller::notify;
use crate::release::phase::{Note, Phase};
use crate::worker::messages::Trip;

impl Controller {
    /// A worker says that fuses of its have tripped. Saying it twice changes nothing.
    pub(super) fn note_trips(&mut self, conn: Conn, trips: &[Trip], now: Millis, out: &mut Output) {
        for trip in trips {
            let (Some(peer), Some(canary)) = (self.fleet.on(conn), self.canaries.get_mut(&trip.canary)) else {
                continue;
            };
            let is_news = peer.trip(trip);
            // Guards may cut on what the workers said just before: why one of them had stopped already is told then, too.
            let is_told = canary.phase.run().is_some() || matches!(canary.phase, Phase::Failed(..));
            let is_of_release = trip.epoch >= canary.evidence.since() && is_told;
            if is_news && is_of_release {
                let Trip { test, events, trials, .. } = *trip;
                let note = Note::FuseTripped { node: peer.node.clone(), test, events, trials };
                out.stored.extend(notify::noted(canary, note, now));
            }
            // A later entry arms it anyway, once the worker has heard of it.
            if trip.epoch >= canary.epoch && canary.is_splitting() {
                canary.rearming.plan(now);
            }
        }
    }

    /// Arms the fuses of every release for which it is time, by an entry that says the same under a greater epoch. A
    /// release that was cut meanwhile has nothing to arm, nor has one whose tripped workers are gone.
    pub(super) fn rearm_due(&mut self, now: Millis, out: &mut Output) {
        let is_due = |canary: &&mut Canary| canary.rearming.due().is_some_and(|due| due <= now);
        let mut armed: Vec<CanaryId> = Vec::new();
        for canary in self.canaries.values_mut().filter(is_due) {
            let id = canary.plan.id.clone();
            let is_armed = canary.is_splitting() && self.fleet.tripped(&id, now).is_some();
            canary.rearming.done(is_armed);
            if is_armed {
                canary.continue_above(canary.epoch);
                out.stored.extend(notify::noted(canary, Note::Rearmed, now));
                armed.push(id);
            }
        }
        armed.iter().for_each(|id| self.push(id, false, out));
    }
}
