//! What shows how a canary does: workers' reports, ticks, and answers from outside. Each look becomes a fact for the state
//! machine.

use std::collections::{BTreeMap, BTreeSet};

use super::Controller;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Command, Output, WorkerEvent};
use crate::controller::fleet::Conn;
use crate::controller::notify;
use crate::judgement::primary_watch::PrimaryNews;
use crate::release::inquiry::{CallId, Callee, Reply};
use crate::release::machine::{FINALISE_WITHIN, Fact};
use crate::release::phase::{Cause, Phase};
use crate::release::threshold_checks::check;
use crate::routing::table::Epoch;
use crate::worker::messages::{Report, ToWorker};
use crate::worker::tally::{Counts, Stratum};

/// What the reports of a batch counted, all workers together.
type Sums<'a> = BTreeMap<Stratum<&'a CanaryId>, Counts>;

impl Controller {
    /// What of this counts, in order: all but reports that came before, and those on streams of no known worker.
    pub fn counting<'a>(&self, events: &'a [(Conn, WorkerEvent)]) -> Vec<&'a (Conn, WorkerEvent)> {
        let mut received = BTreeMap::new();
        let counts = |(conn, event): &&(Conn, WorkerEvent)| {
            let Some(worker) = self.fleet.incarnation(*conn) else { return false };
            let mut is_new = |report: &Report| {
                let of_worker = || self.fleet.worker(worker).map(|peer| peer.received.clone()).unwrap_or_default();
                received.entry(worker).or_insert_with(of_worker).note(report.number)
            };
            match event {
                WorkerEvent::Reported(report) => is_new(report),
                WorkerEvent::Adopted(..) => true,
            }
        };
        events.iter().filter(counts).collect()
    }

    /// Workers spoke. Their counts are summed before they are folded, so a batch costs about what one report costs.
    pub(super) fn heard(&mut self, events: &[(Conn, WorkerEvent)], now: Millis, out: &mut Output) {
        let mut sums = BTreeMap::new();
        let mut astray = BTreeSet::new();
        for (conn, event) in events {
            match event {
                WorkerEvent::Reported(report) => {
                    if self.reported(*conn, report, &mut sums, now, out) {
                        astray.extend(report.destinations.iter().map(|sampled| &sampled.canary));
                    }
                }
                WorkerEvent::Adopted(canary, epoch) => self.adopted(*conn, canary, *epoch, now),
            }
        }
        self.fold(&sums, now);
        self.look(&sums, now, out);
        for id in astray {
            self.canaries.get_mut(id).into_iter().for_each(|canary| canary.plan_step_anew(now));
        }
    }

    /// A worker reported. Whatever it brings, and however often, it is acknowledged when it is stored. Returns whether it
    /// was not counted before.
    fn reported<'a>(
        &mut self,
        conn: Conn,
        report: &'a Report,
        sums: &mut Sums<'a>,
        now: Millis,
        out: &mut Output,
    ) -> bool {
        let Some(is_new) = self.count(conn, report, sums, now) else { return false };
        if is_new {
            // Trips before looks: a guard that aborts on this report ends what the trip is to be noted for.
            self.note_trips(conn, &report.trips, now, out);
        }
        if self.fleet.on(conn).is_some_and(|peer| peer.protocol.tells_received()) {
            out.urgent.push(Command::Send(conn, ToWorker::Received(report.number)));
        }
        out.stored.push(Command::Send(conn, ToWorker::Stored(report.number)));
        is_new
    }

    /// Counts a report once: in the batch's sums, and for its worker. `None` where no worker is known on this stream, `false`
    /// where it was counted before.
    fn count<'a>(&mut self, conn: Conn, report: &'a Report, sums: &mut Sums<'a>, now: Millis) -> Option<bool> {
        let worker = self.fleet.incarnation(conn)?;
        let peer = self.fleet.on(conn)?;
        peer.seen(now);
        if !peer.received.note(report.number) {
            return Some(false);
        }
        for (stratum, counts) in &report.strata {
            let Some(canary) = self.canaries.get_mut(&stratum.canary) else {
                self.unknown_strata = self.unknown_strata.saturating_add(1);
                continue;
            };
            sums.entry(stratum.by_ref()).or_default().merge(counts);
            canary.evidence.of_worker(worker, stratum, counts, now);
            if stratum.placement.is_split() {
                peer.place(stratum, counts.started);
            }
        }
        for sampled in &report.destinations {
            if let Some(canary) = self.canaries.get_mut(&sampled.canary) {
                canary.evidence.sampled(sampled);
                peer.arrived(sampled);
            }
        }
        for watermark in &report.watermarks {
            if let Some(canary) = self.canaries.get_mut(&watermark.canary) {
                canary.evidence.watermark(worker, watermark, now);
            }
        }
        Some(true)
    }

    fn fold(&mut self, sums: &Sums<'_>, now: Millis) {
        for (stratum, counts) in sums {
            if let Some(canary) = self.canaries.get_mut(stratum.canary) {
                canary.evidence.fold(stratum, counts, now);
            }
        }
    }

    /// Steps whose requests went astray begin anew once they have done so no more for a while.
    pub(super) fn begin_steps_anew(&mut self, now: Millis, out: &mut Output) {
        let due = |canary: &mut Canary| canary.take_anew_due(now).then(|| canary.plan.id.clone());
        let ids: Vec<CanaryId> = self.canaries.values_mut().filter_map(due).collect();
        ids.iter().for_each(|id| self.apply(id, Fact::RoutesCorrected, now, out));
    }

    /// Looks at the guards of every canary that was reported on, and then at what its requests prove.
    fn look(&mut self, sums: &Sums<'_>, now: Millis, out: &mut Output) {
        let ids: BTreeSet<&CanaryId> = sums.keys().map(|stratum| stratum.canary).collect();
        for id in ids {
            self.look_at_primary(id, now, out);
            let running = self.canaries.get_mut(id).filter(|canary| canary.phase.run().is_some());
            if let Some(verdict) = running.and_then(|canary| canary.look(now).cloned()) {
                self.apply(id, Fact::GuardTripped(verdict), now, out);
            }
            self.certify(id, now, out);
        }
    }

    /// Looks whether the primary is the one that fails, while a release is in progress.
    fn look_at_primary(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        let running = self.canaries.get_mut(id).filter(|canary| canary.phase.run().is_some());
        let fact = running.and_then(|canary| canary.look_at_primary(now)).map(|(news, verdict)| match news {
            PrimaryNews::Fails => Fact::PrimaryFails(verdict.clone()),
            PrimaryNews::Recovered => Fact::PrimaryRecovered(verdict.clone()),
        });
        fact.into_iter().for_each(|fact| self.apply(id, fact, now, out));
    }

    /// Looks at what a step's requests prove, where that advances the release; `false` where it does not.
    pub(super) fn certify(&mut self, id: &CanaryId, now: Millis, out: &mut Output) -> bool {
        let verdict = self.canaries.get_mut(id).and_then(|canary| canary.certify(now).cloned());
        let is_looked_at = verdict.is_some();
        if let Some(verdict) = verdict {
            self.apply(id, Fact::Certified(verdict), now, out);
        }
        is_looked_at
    }

    /// An answer from outside; what it allows happens at once.
    pub(super) fn replied(&mut self, id: &CanaryId, call: CallId, reply: Reply, now: Millis, out: &mut Output) {
        if let Some(canary) = self.canaries.get_mut(id).filter(|canary| canary.releases == call.release.0) {
            canary.keep_reply(call, &reply, now);
            if let Callee::Rollback(hook) = call.callee {
                if let Some(name) = canary.rollback_answered(hook, call.round, &reply) {
                    self.abort(id, Cause::Rollback { name }, now, out);
                }
                return;
            }
            self.apply(id, Fact::Replied { round: call.round, callee: call.callee, reply }, now, out);
            self.check_due(Some(id), now, out);
        }
    }

    /// Looks at every canary for which it is time, or at one alone: the records of others know nothing of its events.
    pub(super) fn check_due(&mut self, only: Option<&CanaryId>, now: Millis, out: &mut Output) {
        let is_late = |canary: &Canary| canary.deadline().filter(|(at, _)| *at <= now);
        let is_due = |canary: &&Canary| {
            let looks = canary.phase.check_at().is_some_and(|check_at| check_at <= now);
            (looks || is_late(canary).is_some()) && only.is_none_or(|id| *id == canary.plan.id)
        };
        let ids: Vec<CanaryId> = self.canaries.values().filter(is_due).map(|canary| canary.plan.id.clone()).collect();
        for id in ids {
            let Some(canary) = self.canaries.get(&id) else { continue };
            if let Some((_, after)) = is_late(canary) {
                let cause = Cause::Deadline { phase: canary.phase.name().into(), after };
                self.abort(&id, cause, now, out);
                continue;
            }
            if self.certify(&id, now, out) {
                continue;
            }
            let verdict = self.canaries.get(&id).map(|canary| check(&canary.plan, &canary.evidence, now));
            if let Some(verdict) = verdict {
                self.apply(&id, Fact::Checked(verdict), now, out);
            }
        }
    }

    /// Asks the rollback hooks of every release for which it is time, whatever phase it is in.
    pub(super) fn ask_rollback_hooks(&mut self, now: Millis, out: &mut Output) {
        for canary in self.canaries.values_mut() {
            let asked = canary.ask_rollback(now);
            out.stored.extend(notify::calls(canary, &asked));
        }
    }

    /// Ends Finalising where every worker that may still route has confirmed the entry, or the deadline is over; after an
    /// event about some canaries only of those.
    pub(super) fn complete_finalising(&mut self, only: Option<&BTreeSet<CanaryId>>, now: Millis, out: &mut Output) {
        let finalising: Vec<(CanaryId, Epoch, Millis)> = self
            .canaries
            .values()
            .filter(|canary| only.is_none_or(|ids| ids.contains(&canary.plan.id)))
            .filter_map(|canary| match &canary.phase {
                Phase::Finalising(finalising) => Some((canary.plan.id.clone(), canary.epoch, finalising.deadline)),
                _ => None,
            })
            .collect();
        for (id, epoch, deadline) in finalising {
            let missing = self.fleet.unconfirmed(&id, epoch, FINALISE_WITHIN, now);
            if missing == 0 || now >= deadline {
                self.apply(&id, Fact::RoutingConfirmed { missing }, now, out);
            }
        }
    }
}
