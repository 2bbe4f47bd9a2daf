//! Workers come, say what they have in force and whose fuse has tripped, and learn what is in force here.

use super::{Controller, MAX_REMEMBERED};
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::{Canary, Lost};
use crate::controller::events::{Command, Output};
use crate::controller::fleet::Conn;
use crate::controller::notify;
use crate::release::machine::Fact;
use crate::release::phase::{Cause, Note, Phase};
use crate::routing::table::{Entry, Epoch};
use crate::worker::messages::{Hello, PROTOCOL, ToWorker, Trip};

impl Controller {
    /// A worker says Hello. It is sent what is in force, and may know of an abort that the journal lost.
    pub(super) fn connect(&mut self, conn: Conn, hello: Hello, now: Millis, out: &mut Output) {
        let is_steerable = hello.beyond(Epoch::bound_at(now)).is_none();
        let Some(protocol) = PROTOCOL.agree(hello.protocol).ok().filter(|_| is_steerable) else {
            return out.urgent.push(Command::Close(conn));
        };
        let is_known = self.fleet.worker(hello.incarnation).is_some();
        let (node, adopted, trips) = (hello.node.clone(), hello.adopted.clone(), hello.trips.clone());
        for canary in self.canaries.values_mut() {
            canary.evidence.gone_workers.returned(hello.incarnation);
        }
        let stale = self.fleet.connect(conn, hello, protocol, now);
        out.urgent.extend(stale.map(Command::Close));
        out.urgent.push(Command::Send(conn, ToWorker::Welcome(protocol)));
        for (id, epoch) in adopted {
            self.catch_up(conn, &id, epoch, (&node, is_known), now, out);
        }
        self.note_trips(conn, &trips, now, out);
        self.look_at_roles(now, out);
        for canary in self.canaries.values() {
            let send = |entry| Command::Send(conn, ToWorker::Entry(Box::new(entry)));
            // The entry of an abort must reach a worker that comes back even while nothing can be stored.
            out.urgent.extend(canary.abort_entry().cloned().map(send));
            let entry = canary.entry();
            let is_issued = entry.epoch > Epoch::default();
            if is_issued && canary.abort_entry().is_none_or(|abort| abort.epoch != entry.epoch) {
                out.stored.push(send(entry));
            }
        }
    }

    /// A worker's stream has ended: it may come back, or be gone.
    pub(super) fn disconnect(&mut self, conn: Conn, now: Millis) {
        if let Some(worker) = self.fleet.incarnation(conn) {
            self.canaries.values_mut().for_each(|canary| canary.evidence.gone_workers.left(worker, now));
        }
        self.fleet.disconnect(conn, now);
    }

    /// What its proxy serves by default may contradict roles that no release has proven yet, or agree with a manifest that
    /// waits for that.
    pub(super) fn look_at_roles(&mut self, now: Millis, out: &mut Output) {
        let is_open =
            |canary: &&Canary| canary.phase.run().is_none() && (canary.is_fresh() || canary.next_plan.is_some());
        let ids: Vec<CanaryId> = self.canaries.values().filter(is_open).map(|canary| canary.plan.id.clone()).collect();
        for id in ids {
            self.follow_next_plan(&id, now, out);
            self.issue_entry(&id, false, now, out);
        }
    }

    /// A worker holds an entry; if it is later than ours, our journal has lost something. `is_known` says whether the
    /// journal knows the worker from before: only then was it this agent that sent it the entry, as far as one can tell.
    fn catch_up(
        &mut self,
        conn: Conn,
        id: &CanaryId,
        epoch: Epoch,
        (node, is_known): (&str, bool),
        now: Millis,
        out: &mut Output,
    ) {
        let Some(canary) = self.canaries.get_mut(id) else {
            if self.remembered.len() >= MAX_REMEMBERED && !self.remembered.contains_key(id) {
                return;
            }
            let known = self.remembered.entry(id.clone()).or_default();
            known.epoch = epoch.next().max(known.epoch);
            let entry = Entry { canary: id.clone(), epoch: known.epoch, routing: None };
            return out.stored.push(Command::Send(conn, ToWorker::Entry(Box::new(entry))));
        };
        let Some(lost) = canary.lost(epoch, is_known) else { return };
        let is_failed = matches!(canary.phase, Phase::Failed(..));
        if canary.phase.run().is_none() {
            canary.continue_above(epoch);
            // Another life of the agent counted their starts.
            canary.evidence.count_from(epoch.next());
            return self.issue_entry(id, is_failed, now, out);
        }
        let workers = self.fleet.expected(now);
        canary.take_over(epoch, workers, now);
        let node = node.to_owned();
        let is_aborted = match lost {
            Lost::Abort if is_known => self.abort(id, Cause::LostAbort { node }, now, out),
            Lost::Abort => {
                self.apply(id, Fact::AbortClaimed { node, epoch }, now, out);
                false
            }
            Lost::Journal => {
                out.stored.extend(notify::record(canary, Note::JournalBehind { node, epoch }, now));
                false
            }
        };
        // Where there is nothing to abort, the worker must learn what is in force all the same.
        if !is_aborted {
            self.issue_entry(id, false, now, out);
        }
    }

    /// A worker has an entry in force.
    pub(super) fn adopted(&mut self, conn: Conn, canary: &CanaryId, epoch: Epoch, now: Millis) {
        if self.canaries.contains_key(canary) || self.remembered.contains_key(canary) {
            self.fleet.adopt(conn, canary, epoch, now);
        }
    }

    /// A worker says that fuses of its have tripped. Saying it twice changes nothing.
    pub(super) fn note_trips(&mut self, conn: Conn, trips: &[Trip], now: Millis, out: &mut Output) {
        for trip in trips {
            let Some(canary) = self.canaries.get_mut(&trip.canary) else { continue };
            let Some((peer, is_news)) = self.fleet.trip(conn, trip) else { return };
            // Guards may abort on what the workers said just before: why one of them had stopped already is noted then, too.
            let is_noted = canary.phase.run().is_some() || matches!(canary.phase, Phase::Failed(..));
            let is_of_release = trip.epoch >= canary.evidence.since() && is_noted;
            if is_news && is_of_release {
                let Trip { test, events, trials, .. } = *trip;
                let note = Note::FuseTripped { node: peer.node.clone(), test, events, trials };
                out.stored.extend(notify::record(canary, note, now));
            }
            // A later entry arms it anyway, once the worker has adopted it.
            if trip.epoch >= canary.epoch && canary.is_splitting() {
                canary.rearming.plan(now);
            }
        }
    }

    /// Arms the fuses of every release for which it is time, by an entry that says the same under a greater epoch. A
    /// release that was aborted meanwhile has nothing to arm, nor has one whose tripped workers are gone.
    pub(super) fn rearm_due(&mut self, now: Millis, out: &mut Output) {
        let is_due = |canary: &&mut Canary| canary.rearming.due().is_some_and(|due| due <= now);
        let mut armed: Vec<CanaryId> = Vec::new();
        for canary in self.canaries.values_mut().filter(is_due) {
            let id = canary.plan.id.clone();
            let is_armed = canary.is_splitting() && self.fleet.tripped(&id, now).is_some();
            canary.rearming.done(is_armed);
            if is_armed {
                canary.continue_above(canary.epoch);
                out.stored.extend(notify::record(canary, Note::Rearmed, now));
                armed.push(id);
            }
        }
        armed.iter().for_each(|id| self.issue_entry(id, false, now, out));
    }
}
