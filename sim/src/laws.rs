//! What must hold after every event of every run, whatever breaks. Separate from the engines: the laws look only at the
//! messages and requests that were seen to travel.

use std::collections::{BTreeMap, BTreeSet};

use rollout::base::names::{Revision, Upstream};
use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::controller::fleet::Placed;
use rollout::controller::{Command, Controller};
use rollout::release::phase::{Phase, ReleaseId};
use rollout::routing::route::Placement;
use rollout::routing::table::{Entry, Epoch, Routing};
use rollout::worker::messages::{Incarnation, Report, ToWorker};
use thiserror::Error;

use crate::proxy::LEASE;

/// A law was broken: a bug in the product.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{at_ms} ms after the release began: {law}: {detail}", at_ms = at.0)]
pub struct Broken {
    /// When, from the beginning of the release.
    pub at: Millis,
    /// Which law.
    pub law: &'static str,
    /// What was seen.
    pub detail: String,
}

const ABORT: &str = "no request goes to the canary through a worker that has adopted its abort";
const SILENCE: &str = "no request goes to the canary through a worker whose lease is over";
const FUSE: &str =
    "no request goes to the canary through a worker that has reported its fuse tripped, until a later entry";
const COUNTS: &str =
    "the agent folds what the workers counted: nothing twice, and nothing lost but what died unreported";
const EPOCHS: &str = "an epoch never means two things";
const URGENT: &str = "nothing that gives traffic leaves before it is stored";
const RESUMED: &str = "an aborted release never resumes";
const AGREED: &str = "when nothing breaks any more, every worker routes by the agent's newest entry";

/// One attempt, distinct also from one of the same number that a crash made the agent forget.
type Attempt = (ReleaseId, Revision, Millis);

/// What one life of a worker was seen to do.
#[derive(Debug, Default)]
struct Seen {
    held: Option<(Epoch, Option<Routing>)>,
    last_message_at: Millis,
    /// Attempts whose abort it got.
    aborted: BTreeSet<Attempt>,
    /// The last entry under which it reported its fuse tripped.
    tripped: Option<Epoch>,
    /// Requests that its worker counts as placed by the split.
    placed: u64,
    /// The same in reports sent, by number, and in those acknowledged.
    sent: BTreeMap<u64, u64>,
    acknowledged: u64,
    has_died: bool,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    workers: BTreeMap<Incarnation, Seen>,
    /// What each epoch was issued for; what was issued and lost in a crash is overwritten.
    issued: BTreeMap<Epoch, Attempt>,
    /// What each epoch means to the workers.
    left: BTreeMap<Epoch, Option<Routing>>,
    /// Requests counted by all workers.
    counted: u64,
    broken: Option<(&'static str, String)>,
}

impl Laws {
    /// The first law that was broken.
    pub(crate) fn take_broken(&mut self, at: Millis) -> Option<Broken> {
        self.broken.take().map(|(law, detail)| Broken { at, law, detail })
    }

    /// The controller handled an event and returned these commands; `before` is the attempt that ran until then.
    pub(crate) fn handled(&mut self, before: Option<&Attempt>, canary: Option<&Canary>, commands: &[&Command]) {
        let running = canary.and_then(attempt);
        for command in commands {
            if let Command::Push(entry) = command
                && let Some(attempt) = if entry.epoch.is_abort() { before } else { running.as_ref() }
            {
                self.issued.insert(entry.epoch, attempt.clone());
            }
        }
    }

    /// Commands that leave before their event is stored.
    pub(crate) fn urgent(&mut self, commands: &[Command]) {
        for command in commands {
            if let Command::Push(entry) | Command::Send(_, ToWorker::Entry(entry)) = command
                && has_split(entry.routing.as_ref())
            {
                self.breaks(URGENT, format!("epoch {}", entry.epoch.0));
            }
        }
    }

    /// An entry leaves the agent.
    pub(crate) fn leaves(&mut self, entry: &Entry) {
        let first = self.left.entry(entry.epoch).or_insert_with(|| entry.routing.clone());
        if *first != entry.routing {
            let detail = format!("epoch {}: {first:?}, then {:?}", entry.epoch.0, entry.routing);
            self.breaks(EPOCHS, detail);
        }
    }

    /// A worker is welcomed: the agent knows now which aborts it has.
    pub(crate) fn greeted(&mut self, worker: Incarnation, canary: Option<&Canary>) {
        let Some(seen) = self.workers.get(&worker) else { return };
        let takes_traffic = |canary: &&Canary| !matches!(canary.phase, Phase::Finalising(..));
        let running = canary.filter(takes_traffic).and_then(attempt);
        if let Some(running) = running.filter(|running| seen.aborted.contains(running)) {
            self.breaks(RESUMED, format!("{running:?} runs although worker {worker} has its abort"));
        }
    }

    /// A message reaches a worker.
    pub(crate) fn delivered(&mut self, worker: Incarnation, message: &ToWorker, now: Millis) {
        let seen = self.workers.entry(worker).or_default();
        seen.last_message_at = now;
        match message {
            ToWorker::Stored(number) => {
                // Those before it were acknowledged, or their ack was lost on the way.
                let rest = seen.sent.split_off(&(number + 1));
                seen.acknowledged += seen.sent.values().sum::<u64>();
                seen.sent = rest;
            }
            ToWorker::Entry(entry) if seen.held.as_ref().is_none_or(|(held, _)| entry.epoch > *held) => {
                seen.held = Some((entry.epoch, entry.routing.clone()));
                let Some(attempt) = self.issued.get(&entry.epoch) else { return };
                if entry.epoch.is_abort() {
                    seen.aborted.insert(attempt.clone());
                } else if has_split(entry.routing.as_ref()) && seen.aborted.contains(attempt) {
                    let detail = format!("worker {worker} is given epoch {} of {attempt:?}", entry.epoch.0);
                    self.breaks(RESUMED, detail);
                }
            }
            ToWorker::Entry(_) | ToWorker::Welcome(_) | ToWorker::Received(_) | ToWorker::Beat => {}
        }
    }

    /// A worker sends a report, for the first time or again.
    pub(crate) fn reports(&mut self, worker: Incarnation, report: &Report) {
        let placed = report.strata.iter().filter(|(stratum, _)| stratum.placement.is_split());
        let started = placed.map(|(_, counts)| counts.started).sum();
        let seen = self.workers.entry(worker).or_default();
        seen.sent.insert(report.number, started);
        seen.tripped = seen.tripped.max(report.trips.iter().map(|trip| trip.epoch).max());
    }

    /// A request goes through a worker, which counts it under `placement`, if at all.
    pub(crate) fn routed(
        &mut self,
        worker: Incarnation,
        upstream: &Upstream,
        placement: Option<Placement>,
        now: Millis,
    ) {
        let seen = self.workers.entry(worker).or_default();
        seen.placed += u64::from(placement.is_some_and(Placement::is_split));
        self.counted += u64::from(placement.is_some());
        let Some((epoch, Some(routing))) = &seen.held else { return };
        if *upstream == routing.primary {
            return;
        }
        let is_tripped = seen.tripped == Some(*epoch);
        let (epoch, silent) = (epoch.0, now.since(seen.last_message_at));
        if routing.split.is_none() {
            self.breaks(ABORT, format!("worker {worker}, epoch {epoch}, to {upstream}"));
        } else if silent > LEASE {
            self.breaks(SILENCE, format!("worker {worker}, silent for {} ms, to {upstream}", silent.0));
        } else if is_tripped {
            self.breaks(FUSE, format!("worker {worker}, epoch {epoch}, to {upstream}"));
        }
    }

    /// A worker dies with what it has not reported.
    pub(crate) fn died(&mut self, worker: Incarnation) {
        self.workers.entry(worker).or_default().has_died = true;
    }

    /// After any event: no more was folded than was counted.
    pub(crate) fn look(&mut self, canary: Option<&Canary>) {
        let Some(totals) = canary.map(|canary| canary.evidence.totals()) else { return };
        let folded = totals.primary.started + totals.canary.started;
        if folded > self.counted {
            self.breaks(COUNTS, format!("{folded} folded of {} counted", self.counted));
        }
    }

    /// At the end, when nothing has been broken for long enough.
    pub(crate) fn at_end(&mut self, controller: &Controller, canary: &Canary) {
        let mut found = Vec::new();
        for (incarnation, seen) in &self.workers {
            let peer = controller.fleet().workers().find(|(known, _)| known == incarnation).map(|(_, peer)| peer);
            let folded: u64 = peer.iter().flat_map(|peer| peer.placed.values()).map(Placed::total).sum();
            let least = if seen.has_died { seen.acknowledged } else { seen.placed };
            if !(least..=seen.placed).contains(&folded) {
                found.push((COUNTS, format!("{folded} of worker {incarnation}, not {least} to {}", seen.placed)));
            }
            let in_force = seen.held.as_ref().map(|(epoch, _)| *epoch);
            if !seen.has_died && in_force != Some(canary.epoch) {
                found.push((AGREED, format!("worker {incarnation}: {in_force:?}, not {:?}", canary.epoch)));
            }
        }
        found.into_iter().for_each(|(law, detail)| self.breaks(law, detail));
    }

    fn breaks(&mut self, law: &'static str, detail: String) {
        self.broken.get_or_insert((law, detail));
    }
}

/// The attempt that runs.
pub(crate) fn attempt(canary: &Canary) -> Option<Attempt> {
    canary.phase.run().map(|run| (run.release, run.revision.clone(), run.started_at))
}

fn has_split(routing: Option<&Routing>) -> bool {
    routing.is_some_and(|routing| routing.split.is_some())
}
