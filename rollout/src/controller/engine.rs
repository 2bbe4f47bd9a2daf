//! Engine 2: all that the agent thinks. It composes fleet, canaries, judge and machine; it decides nothing itself.
//!
//! State = fold of the journalled events: `handle` is deterministic. What it returns is split by what it must wait for.
//! `urgent` commands go out at once: they only reduce canary traffic, end what nobody waits for, or say nothing that a
//! crash could make untrue.
//! `stored` ones wait until the event is on disk, so that nobody acts on what a restart would not remember.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::fleet::{Conn, Fleet};
use crate::controller::notify;
use crate::release::inquiry::{CallId, Reply};
use crate::release::machine::{FINALISE_WITHIN, Input, Refusal, step};
use crate::release::phase::{Cause, Hold, Note, Phase};
use crate::release::plan::Plan;
use crate::release::threshold_checks::check;
use crate::routing::table::Epoch;
use crate::worker::messages::{Report, ToWorker};

pub use crate::controller::events::{Command, Done, Event, Notification, Output, Payload, Refused, Verb};

/// Greatest epoch believed of a worker; no fleet gets there, and one forged Hello must not end all epochs.
const MAX_FOREIGN_EPOCH: Epoch = Epoch(1 << 40);
/// Most canaries that are not managed (any more) whose epochs are remembered.
const MAX_REMEMBERED: usize = 4096;

mod approvals;
mod cancel_calls;
mod default_upstream;
mod handshake;
mod redact;
mod siblings;
mod trips;
mod verbs;

use siblings::Standing;

/// The engine. It serialises whole: a snapshot is a shorter journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Controller {
    canaries: BTreeMap<CanaryId, Canary>,
    fleet: Fleet,
    /// Canaries that are not managed, so that a returning one continues where it was.
    remembered: BTreeMap<CanaryId, Remembered>,
    /// Strata reported for canaries that nobody manages.
    unknown_strata: u64,
    /// When the last event was.
    #[serde(default)]
    last_at: Millis,
    /// In a record: whether the canary's next plan had to wait for its siblings, who are not here.
    #[serde(default)]
    must_wait: Option<bool>,
}

/// What is kept of a canary that is not managed (any more).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// Its entries go on above this.
    epoch: Epoch,
    /// Its releases go on after this: a number used twice would choose the same users again.
    releases: u64,
}

impl Controller {
    /// The one way in. Total and deterministic.
    pub fn handle(&mut self, event: Event, now: Millis) -> Output {
        let mut out = Output::default();
        let about = event.canary().cloned();
        match event {
            Event::Declared(plan) => self.declare(*plan, now, &mut out),
            Event::Withdrawn(id) => self.withdraw(&id, now, &mut out),
            Event::Connected(conn, hello) => self.connect(conn, hello, now, &mut out),
            Event::Disconnected(conn) => self.fleet.disconnect(conn, now),
            Event::Reported(conn, report) => self.fold(conn, &report, now, &mut out),
            Event::Adopted(conn, canary, epoch) => self.adopted(conn, canary, epoch, now),
            Event::Requested(id, verb) => self.ask(&id, verb, now, &mut out),
            Event::Reply { canary, call, reply } => self.reply(&canary, call, reply, now, &mut out),
            Event::Sibling(id, news) => self.sibling(&id, news, now, &mut out),
            Event::Timer => {
                self.check_due(None, now, &mut out);
                self.rearm_due(now, &mut out);
            }
            Event::Restarted { away } => self.restart(away, now, &mut out),
        }
        self.settle(about.as_ref(), now, &mut out);
        self.tell_siblings(now, &mut out);
        if out.frees_lanes {
            self.apply_pending_plans(&mut out);
        }
        if !matches!(out.reply, Some(Err(_))) {
            self.last_at = now;
        }
        out
    }

    /// What happened to an agent that starts again on its journal.
    pub const fn restarted(&self, now: Millis) -> Event {
        Event::Restarted { away: now.since(self.last_at) }
    }

    /// When [`Event::Timer`] is due next.
    pub fn deadline(&self) -> Option<Millis> {
        let due = self.canaries.values().flat_map(|canary| match &canary.phase {
            Phase::Finalising(_, deadline) => [Some(*deadline), None],
            phase => [phase.run().map(|run| run.check_at), canary.deadline().map(|(at, _)| at)],
        });
        due.flatten().chain(self.canaries.values().filter_map(|canary| canary.rearming.due())).min()
    }

    /// A canary by its id.
    pub fn canary(&self, id: &CanaryId) -> Option<&Canary> {
        self.canaries.get(id)
    }

    /// All canaries, by id.
    pub fn canaries(&self) -> impl Iterator<Item = &Canary> {
        self.canaries.values()
    }

    /// The workers.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn declare(&mut self, plan: Plan, now: Millis, out: &mut Output) {
        let id = plan.id.clone();
        let at_once =
            self.canaries.get(&id).is_some_and(|canary| canary.phase.run().is_none() && !self.must_wait(canary, &plan));
        let Some(canary) = self.canaries.get_mut(&id) else {
            let Remembered { epoch, releases } = self.remembered.remove(&id).unwrap_or_default();
            let mut canary = Canary::new(plan, epoch);
            canary.releases = releases;
            let promoted = self.siblings(&canary).find_map(|sibling| sibling.promoted.clone());
            canary.promoted = promoted;
            out.stored.extend(notify::noted(&mut canary, Note::Declared, now));
            self.canaries.insert(id.clone(), canary);
            return self.push(&id, false, out);
        };
        if canary.latest_plan().is_suspended() && !plan.is_suspended() {
            canary.unsuspend(now);
        }
        if canary.plan == plan {
            canary.next_plan = None;
            return self.push(&id, false, out);
        }
        let is_news = canary.next_plan.as_ref() != Some(&plan);
        if at_once {
            canary.follow(plan);
        } else {
            canary.next_plan = Some(plan);
        }
        if is_news {
            out.stored.extend(notify::noted(canary, Note::Changed { at_once }, now));
        }
        self.push(&id, false, out);
    }

    fn withdraw(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        if self.canaries.get(id).is_some_and(|canary| canary.phase.run().is_some()) {
            let _ = self.input(id, Input::Abort(Cause::Withdrawn), now, out);
        }
        let Some(mut canary) = self.canaries.remove(id) else { return };
        out.frees_lanes = true;
        out.stored.extend(canary.withdraw().map(|entry| Command::Push(Box::new(entry))));
        if self.remembered.len() < MAX_REMEMBERED {
            self.remembered.insert(id.clone(), Remembered { epoch: canary.epoch, releases: canary.releases });
        }
    }

    fn fold(&mut self, conn: Conn, report: &Report, now: Millis, out: &mut Output) {
        let worker = self.fleet.incarnation(conn);
        let (Some(worker), Some(peer)) = (worker, self.fleet.on(conn)) else {
            return;
        };
        peer.heard_at = now;
        if peer.received.note(report.number) {
            for (stratum, counts) in &report.strata {
                let Some(canary) = self.canaries.get_mut(&stratum.canary) else {
                    self.unknown_strata = self.unknown_strata.saturating_add(1);
                    continue;
                };
                canary.evidence.fold(stratum, counts, now);
                if stratum.placement.is_split() {
                    peer.place(&stratum.canary, stratum.version, counts.started);
                }
            }
            for watermark in &report.watermarks {
                if let Some(canary) = self.canaries.get_mut(&watermark.canary) {
                    canary.evidence.watermark(worker, watermark, now);
                }
            }
            self.note_trips(conn, &report.trips, now, out);
            self.look(report, now, out);
        }
        out.stored.push(Command::Send(conn, ToWorker::Ack(report.number)));
    }

    /// Looks at the guards of every canary that a report was about, and then at what its requests prove.
    fn look(&mut self, report: &Report, now: Millis, out: &mut Output) {
        let mut ids: Vec<&CanaryId> = report.strata.iter().map(|(stratum, _)| &stratum.canary).collect();
        ids.dedup();
        for id in ids {
            let tripped =
                self.canaries.get_mut(id).filter(|c| c.phase.run().is_some()).and_then(|c| c.look(now).cloned());
            if let Some(verdict) = tripped {
                let _ = self.input(id, Input::Tripped(verdict), now, out);
            }
            self.certify(id, now, out);
        }
    }

    /// Looks at what a step's requests prove, where that advances the release; `false` where it does not.
    fn certify(&mut self, id: &CanaryId, now: Millis, out: &mut Output) -> bool {
        let verdict = self.canaries.get_mut(id).and_then(|canary| canary.certify().cloned());
        let is_looked_at = verdict.is_some();
        if let Some(verdict) = verdict {
            let _ = self.input(id, Input::Looked(verdict), now, out);
        }
        is_looked_at
    }

    /// Why no release may advance, whatever its requests say: the manifest suspends it, a worker's routes send requests to
    /// the canary's upstream by default, or its fuse is tripped.
    fn hold(&self, id: &CanaryId, now: Millis) -> Option<Hold> {
        let canary = self.canaries.get(id)?;
        if canary.latest_plan().is_suspended() {
            return Some(Hold::Suspended);
        }
        let is_begun = canary.phase.run().is_some_and(|run| run.step > 0);
        let upstream = canary.canary();
        let serving = self.fleet.serving_by_default(canary.service(), upstream, now);
        serving
            .map(|peer| Hold::DefaultUpstream { node: peer.node.clone(), upstream: upstream.clone() })
            .or_else(|| self.fleet.tripped(id, now).map(|peer| Hold::Fuse { node: peer.node.clone() }))
            // What the workers said is old, and nobody would send what comes next.
            .or_else(|| (is_begun && self.fleet.live().next().is_none()).then_some(Hold::NoTraffic))
    }

    fn adopted(&mut self, conn: Conn, canary: CanaryId, epoch: Epoch, now: Millis) {
        if let Some(peer) = self.fleet.on(conn)
            && (self.canaries.contains_key(&canary) || self.remembered.contains_key(&canary))
        {
            peer.heard_at = now;
            peer.adopt(canary, epoch);
        }
    }

    /// Runs the machine for one canary and does what follows.
    fn input(&mut self, id: &CanaryId, input: Input, now: Millis, out: &mut Output) -> Result<(), Refusal> {
        let hold = self.hold(id, now);
        let Some(canary) = self.canaries.get_mut(id) else {
            return Ok(());
        };
        let calls_before = cancel_calls::open(canary, &input);
        let taken = step(canary.context(hold.as_ref()), &canary.phase, input, now)?;
        if let Some((release, _)) = taken.phase.latest() {
            canary.releases = canary.releases.max(release.0);
        }
        let is_abort = canary.phase.run().is_some() && matches!(taken.phase, Phase::Failed(..));
        let standing = Standing::of(&canary.phase);
        canary.workers = self.fleet.expected(now);
        let (events, asked) = canary.take(taken, now);
        let told: Vec<Command> = events.iter().flat_map(|event| notify::tell(canary, event)).collect();
        let calls = notify::ask(canary, &asked);
        let announced = events.into_iter().map(|event| Command::Announce(id.clone(), Box::new(event)));
        out.stored.extend(announced);
        // A plan with another lane may have to wait for siblings: see `apply_pending_plans`.
        let (ended, has_lane) = (canary.phase.run().is_none(), canary.plan.scope.lane.is_some());
        out.frees_lanes |= ended && has_lane;
        if ended
            && !has_lane
            && let Some(plan) = canary.next_plan.take()
        {
            canary.follow(plan);
        }
        self.push(id, is_abort, out);
        self.end_calls(id, calls_before, out);
        self.note_news(id, standing, out);
        // Traffic moves before anybody is called or told.
        out.stored.extend(calls.into_iter().chain(told));
        Ok(())
    }

    /// An answer from outside; what it allows happens at once.
    fn reply(&mut self, id: &CanaryId, call: CallId, reply: Reply, now: Millis, out: &mut Output) {
        if let Some(canary) = self.canaries.get_mut(id).filter(|held| held.releases == call.release.0) {
            canary.keep_reply(call, &reply, now);
            let _ = self.input(id, Input::Reply(call.round, call.callee, reply), now, out);
            self.check_due(Some(id), now, out);
        }
    }

    /// Issues the entry that follows from the state. A cut leaves before it is stored, nothing else does: so a worker
    /// that knows of one the journal does not proves a lost cut (see [`Epoch::next_abort`], [`Cause::LostAbort`]).
    fn push(&mut self, id: &CanaryId, is_abort: bool, out: &mut Output) {
        let is_taken = self.canaries.get(id).is_some_and(|canary| self.in_lane_of(canary).is_some());
        let Some(canary) = self.canaries.get_mut(id).filter(|_| is_abort || !is_taken) else {
            return;
        };
        if let Some(entry) = canary.issue(is_abort) {
            let list = if is_abort { &mut out.urgent } else { &mut out.stored };
            list.push(Command::Push(Box::new(entry)));
        }
    }

    /// Looks at every canary for which it is time, or at one alone: the records of others know nothing of its events.
    fn check_due(&mut self, only: Option<&CanaryId>, now: Millis, out: &mut Output) {
        let is_late = |canary: &Canary| canary.deadline().filter(|(at, _)| *at <= now);
        let is_due = |canary: &&Canary| {
            let is_ending = matches!(canary.phase, Phase::Finalising(..));
            let looks = canary.phase.run().is_some_and(|run| run.check_at <= now && !is_ending);
            (looks || is_late(canary).is_some()) && only.is_none_or(|id| *id == canary.plan.id)
        };
        let ids: Vec<CanaryId> = self.canaries.values().filter(is_due).map(|canary| canary.plan.id.clone()).collect();
        for id in ids {
            if let Some(canary) = self.canaries.get(&id)
                && let Some((_, after)) = is_late(canary)
            {
                let cause = Cause::Deadline { phase: canary.phase.name().into(), after };
                let _ = self.input(&id, Input::Abort(cause), now, out);
                continue;
            }
            if self.certify(&id, now, out) {
                continue;
            }
            let Some(verdict) = self.canaries.get(&id).map(|canary| check(&canary.plan, &canary.evidence, now)) else {
                continue;
            };
            let _ = self.input(&id, Input::Checked(verdict), now, out);
        }
    }

    /// Ends Finalising where every worker that may still route has heard, or the deadline is over; after an event about one
    /// canary only of that.
    fn settle(&mut self, only: Option<&CanaryId>, now: Millis, out: &mut Output) {
        let finalising: Vec<(CanaryId, Epoch, Millis)> = self
            .canaries
            .values()
            .filter(|canary| only.is_none_or(|id| *id == canary.plan.id))
            .filter_map(|canary| match &canary.phase {
                Phase::Finalising(_, deadline) => Some((canary.plan.id.clone(), canary.epoch, *deadline)),
                _ => None,
            })
            .collect();
        for (id, epoch, deadline) in finalising {
            let unheard = self.fleet.unheard(&id, epoch, FINALISE_WITHIN, now);
            if unheard == 0 || now >= deadline {
                let _ = self.input(&id, Input::Settled(unheard), now, out);
            }
        }
    }

    /// Streams are gone; whoever was asked and whose answer was never stored is asked again. How long the agent was away
    /// speaks against nobody.
    fn restart(&mut self, away: Millis, now: Millis, out: &mut Output) {
        self.fleet.disconnect_all(now);
        for canary in self.canaries.values_mut() {
            canary.resume_clocks(away, now);
            out.stored.extend(notify::ask(canary, &canary.unanswered()));
        }
    }
}
