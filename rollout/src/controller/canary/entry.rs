//! step -> entry: the table entry that follows from a canary's plan and phase, and when one is issued.

use super::Canary;
use crate::base::time::Millis;
use crate::controller::rearm::{Rearming, fuse_plan, shares};
use crate::judgement::sequential::EXPECTED_IN_SLOT;
use crate::release::phase::{Phase, ReleaseId};
use crate::routing::table::{Entry, Epoch, Routing, Split, WeightPpm};
use crate::worker::api::REPORT_EVERY;

/// What a worker's epoch proves to be missing from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// An abort that had left.
    Abort,
    /// What was stored.
    Journal,
}

impl Canary {
    /// The entry in force.
    pub fn entry(&self) -> Entry {
        Entry { canary: self.plan.id.clone(), epoch: self.epoch, routing: self.issued.clone() }
    }

    /// Whether the entry in force sends, or copies, requests to the canary.
    pub fn is_splitting(&self) -> bool {
        self.issued.as_ref().is_some_and(|routing| routing.split.is_some())
    }

    /// Issues a new entry if the routing that follows from plan and phase is not the one in force.
    pub fn issue(&mut self, is_abort: bool) -> Option<Entry> {
        let routing = Routing { scope: self.plan.scope.clone(), primary: self.primary().clone(), split: self.split() };
        let issued = self.issue_routing(Some(routing), is_abort);
        match self.phase {
            _ if issued.is_none() => {}
            Phase::Finalising(_) => self.evidence.finalise_release(self.epoch),
            Phase::Succeeded(_) | Phase::Failed(..) => self.evidence.end_release(self.epoch),
            _ => {}
        }
        issued
    }

    /// Whether its entry in force says where its requests go.
    pub const fn is_routing(&self) -> bool {
        self.issued.is_some()
    }

    /// Issues an entry after which its requests are none of ours, if the one in force says otherwise.
    pub fn withdraw(&mut self) -> Option<Entry> {
        self.is_entry_due = false;
        self.issue_routing(None, false)
    }

    fn issue_routing(&mut self, routing: Option<Routing>, is_abort: bool) -> Option<Entry> {
        if routing == self.issued && !self.is_entry_due {
            return None;
        }
        self.issued = routing;
        self.is_entry_due = false;
        // Any entry arms whatever has tripped.
        self.rearming.done(false);
        self.epoch = if is_abort { self.epoch.next_abort() } else { self.next_epoch() };
        let entry = self.entry();
        if let Some(split) = entry.routing.as_ref().and_then(|routing| routing.split.as_ref()) {
            self.evidence.weigh(self.epoch, split.weight, split.sticky.is_some());
        }
        if is_abort {
            self.last_abort = Some(entry.clone());
        }
        Some(entry)
    }

    /// The entry that aborted the release which failed last: it may go to a worker before anything is stored. The entry in
    /// force may be a later one that is not stored yet, and would be issued again with another meaning after a crash.
    pub fn abort_entry(&self) -> Option<&Entry> {
        self.last_abort.as_ref().filter(|_| matches!(self.phase, Phase::Failed(..)))
    }

    /// Whether a worker that has `epoch` in force knows of something that is not in the journal. Only an abort leaves before
    /// it is stored: an odd epoch, later than any issued or since the release in progress began, is of one that was lost. A
    /// later even one was stored when it was sent, so not its entry was lost but the journal itself. For a worker that the
    /// journal does not know, the epoch in force here is another life's as well: ours would be stale for it.
    pub fn lost(&self, epoch: Epoch, is_known: bool) -> Option<Lost> {
        let is_same = epoch == self.epoch && epoch > Epoch::default();
        let is_later = epoch > self.epoch || (is_same && !is_known);
        let is_since = epoch >= self.evidence.since() && self.phase.run().is_some() && !self.evidence.is_foreign(epoch);
        match epoch.is_abort() {
            true if is_later || is_since => Some(Lost::Abort),
            false if is_later => Some(Lost::Journal),
            _ => None,
        }
    }

    /// Makes the next entry greater than that of another life of this agent, and due whatever the routing. What started under
    /// the epochs between is none of this life's evidence. Under an epoch that both lives have in force nobody can tell them
    /// apart: then the step's evidence is what starts from now on.
    pub fn take_over(&mut self, epoch: Epoch, workers: usize, now: Millis) {
        let is_shared = epoch <= self.epoch;
        let first = if is_shared { epoch } else { Epoch(self.epoch.0.saturating_add(1)) };
        self.evidence.exclude(first, epoch);
        self.continue_above(epoch);
        if is_shared {
            let release = self.phase.run().map(|run| run.release);
            self.begin_step(release, workers, now);
        }
    }

    /// Makes the next entry greater than `epoch`, and due whatever the routing.
    pub fn continue_above(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        self.is_entry_due = true;
    }

    /// The epoch of the next entry, unless that is an abort's, which is greater: no entry from now on has a lesser one.
    pub(super) fn next_epoch(&self) -> Epoch {
        self.epoch.next()
    }

    /// A release has begun, moved, got another share or ended; `before` is the one that was in progress. Only the entries
    /// that are issued from here on are this step's.
    pub(super) fn begin_step(&mut self, before: Option<ReleaseId>, workers: usize, now: Millis) {
        self.slot = slot_length(self.evidence.per_second(now), self.plan.scope.within(self.weight()));
        self.share_fuse(before, workers);
        self.step_since = self.next_epoch();
        self.evidence.begin_step(self.step_since);
        self.anew.done(false);
        self.certificate = None;
        // A step has an entry of its own, though it says the same: that tells its requests from those before.
        self.is_entry_due |= self.phase.steps() > 0;
    }

    /// It was said where requests went. Once the canary's go elsewhere than the primary's again its step is to begin anew,
    /// if that lasts: for longer each time in a release, or one proxy of many with wrong routes would begin it without end.
    pub fn plan_step_anew(&mut self, now: Millis) {
        if self.is_splitting() && self.evidence.destinations().is_right_again() {
            self.anew.plan(now);
        } else {
            self.anew.done(false);
        }
    }

    /// Whether the step is to begin anew by now: its requests have gone where they should for long enough, and there are
    /// some. True once.
    pub fn take_anew_due(&mut self, now: Millis) -> bool {
        let is_due = self.anew.due().is_some_and(|due| due <= now);
        if is_due {
            self.anew.done(false);
        }
        is_due && self.is_splitting()
    }

    /// Among how many workers the fuses of the next entry share alpha.
    fn share_fuse(&mut self, before: Option<ReleaseId>, workers: usize) {
        let is_new = self.phase.run().map(|run| run.release) != before;
        if is_new {
            (self.rearming, self.anew) = (Rearming::default(), Rearming::default());
        }
        self.fuse_shares = shares(workers).max(if is_new { 0 } else { self.fuse_shares });
    }

    fn split(&self) -> Option<Split> {
        let run = self.phase.judged()?;
        let step = self.phase.step().filter(|step| !step.is_claimed)?.number.get();
        // Blue/green sends no traffic there before the switch.
        let is_live = self.weight() > WeightPpm::ZERO || self.plan.is_live(step);
        is_live.then(|| Split {
            canary: self.canary().clone(),
            weight: self.plan.scope.within(self.weight()),
            mirror: self.plan.stage(step).mirror,
            rules: self.plan.rules.clone(),
            sticky: self.plan.sticky.clone(),
            salt: format!("{}#{}", self.plan.id, run.release.0),
            slot: self.slot,
            latency_limit: self.plan.guards.latency_limit(),
            measurement: self.plan.measurement,
            fuse: fuse_plan(&self.plan.guards, self.fuse_shares),
        })
    }
}

/// Shortest slot: as long as workers take between two reports.
pub(super) const MIN_SLOT: Millis = REPORT_EVERY;
/// Longest slot: what a comparison may lag behind.
const MAX_SLOT: Millis = Millis(10_000);

/// A slot's length for the traffic to be expected: fixed before the slot, from the past alone.
fn slot_length(per_second: f64, weight: WeightPpm) -> Millis {
    let share = weight.percent() / 100.0;
    let smaller = per_second * share.min(1.0 - share);
    let millis = EXPECTED_IN_SLOT * 1000.0 / smaller.max(f64::MIN_POSITIVE);
    Millis((millis as u64).clamp(MIN_SLOT.0, MAX_SLOT.0))
}
