//! A worker says Hello: it hears what is in force, and may know of a cut that the journal lost.

use super::{Controller, MAX_FOREIGN_EPOCH, MAX_REMEMBERED};
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::events::{Command, Output};
use crate::controller::fleet::Conn;
use crate::release::machine::Input;
use crate::release::phase::{Cause, Phase};
use crate::routing::table::{Entry, Epoch};
use crate::worker::messages::{Hello, PROTOCOL, ToWorker};

impl Controller {
    pub(super) fn connect(&mut self, conn: Conn, hello: Hello, now: Millis, out: &mut Output) {
        let Ok(protocol) = PROTOCOL.agree(hello.protocol) else {
            return out.urgent.push(Command::Close(conn));
        };
        let (node, adopted, trips) = (hello.node.clone(), hello.adopted.clone(), hello.trips.clone());
        let stale = self.fleet.connect(conn, hello, protocol, now);
        out.urgent.extend(stale.map(Command::Close));
        out.urgent.push(Command::Send(conn, ToWorker::Welcome(protocol)));
        for (id, epoch) in adopted.into_iter().filter(|(_, epoch)| *epoch < MAX_FOREIGN_EPOCH) {
            self.catch_up(conn, &id, epoch, &node, now, out);
        }
        self.note_trips(conn, &trips, now, out);
        for canary in self.canaries.values() {
            let send = |entry| Command::Send(conn, ToWorker::Entry(Box::new(entry)));
            // A cut must reach a worker that comes back even while nothing can be stored.
            out.urgent.extend(canary.abort_entry().cloned().map(send));
            let entry = canary.entry();
            if canary.abort_entry().is_none_or(|cut| cut.epoch != entry.epoch) {
                out.stored.push(send(entry));
            }
        }
    }

    /// A worker holds an entry; if it is later than ours, our journal has lost something.
    fn catch_up(&mut self, conn: Conn, id: &CanaryId, epoch: Epoch, node: &str, now: Millis, out: &mut Output) {
        let Some(canary) = self.canaries.get_mut(id) else {
            if self.remembered.len() >= MAX_REMEMBERED && !self.remembered.contains_key(id) {
                return;
            }
            let known = self.remembered.entry(id.clone()).or_default();
            known.epoch = epoch.next().max(known.epoch);
            let entry = Entry { canary: id.clone(), epoch: known.epoch, routing: None };
            return out.stored.push(Command::Send(conn, ToWorker::Entry(Box::new(entry))));
        };
        if !canary.has_lost(epoch) {
            return;
        }
        canary.continue_above(epoch);
        let is_abort = matches!(canary.phase, Phase::Failed(..));
        // Refused where there is nothing to cut; the worker must hear what is in force all the same.
        if self.input(id, Input::Abort(Cause::LostAbort { node: node.to_owned() }), now, out).is_err() {
            self.push(id, is_abort, out);
        }
    }
}
