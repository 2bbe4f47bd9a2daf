//! Engine 2: all that the agent thinks. It composes fleet, canaries, judgement and state machine and decides nothing.
//!
//! State = fold of the journalled events: `handle` is deterministic. What it returns is split by what it must wait for.
//! `urgent` commands go out at once: they only reduce canary traffic, end calls whose answers are not awaited, or say nothing
//! that a crash could make untrue.
//! `stored` ones wait until the event is on disk, so that nothing follows from what a restart would forget.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::fleet::Fleet;
use crate::release::phase::Phase;
use crate::release::plan::Plan;
use crate::routing::table::Epoch;

pub use crate::controller::events::{Command, Done, Event, Notification, Output, Payload, Refused, Verb, WorkerEvent};

/// Most canaries that are not managed (any more) whose epochs are remembered.
const MAX_REMEMBERED: usize = 4096;
/// Most canaries kept after their manifests have gone.
pub const MAX_TOMBSTONES: usize = 256;

// In reading order: each calls only this file and those above it.

/// What versions of one service ask about each other.
mod lanes;

/// Whose roles are in force: what a manifest may not change silently.
mod roles;

/// One step of one canary's state machine, and all that follows from it.
mod transition;

/// Streams, Hellos, confirmations and fuses.
mod workers;

/// What shows how a canary does: reports, ticks, answers.
mod looks;

/// What a step of one version means for the others of its service.
mod siblings;

/// Stored gates.
mod gates;

/// Manifests that come, change, go and return.
mod manifests;

/// What people and pipelines ask.
mod releases;

/// The engine. It serialises whole: a snapshot is a shorter journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Controller {
    canaries: BTreeMap<CanaryId, Canary>,
    fleet: Fleet,
    /// Canaries that are not managed, so that a returning one continues where it was.
    remembered: BTreeMap<CanaryId, Remembered>,
    /// Strata reported for canaries that are not managed.
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
        let moved = event.moves();
        match event {
            Event::Declared(plan) => self.declare(*plan, now, &mut out),
            Event::Withdrawn(id) => self.withdraw(&id, now, &mut out),
            Event::Connected(conn, hello) => self.connect(conn, hello, now, &mut out),
            Event::Disconnected(conn) => self.disconnect(conn, now),
            Event::Workers(events) => self.heard(&events, now, &mut out),
            Event::Requested(id, verb) => self.requested(&id, verb, now, &mut out),
            Event::Reply { canary, call, reply } => self.replied(&canary, call, reply, now, &mut out),
            Event::Sibling(id, news) => self.sibling(&id, news, now, &mut out),
            Event::Timer => {
                // Before the checks: what one asked would be asked of the step that is over.
                self.begin_steps_anew(now, &mut out);
                self.check_due(None, now, &mut out);
                self.ask_rollback_hooks(now, &mut out);
                self.rearm_due(now, &mut out);
                self.look_at_roles(now, &mut out);
            }
            Event::Restarted { away } => self.restart(away, now, &mut out),
        }
        // In this order: a release that completes here is news for its siblings, and their ends may free its lane.
        self.complete_finalising(moved.as_ref(), now, &mut out);
        self.notify_siblings(now, &mut out);
        self.apply_next_plans(now, &mut out);
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
            Phase::Finalising(finalising) => [Some(finalising.deadline), None],
            phase => [phase.check_at(), canary.deadline().map(|(at, _)| at)],
        });
        let beside =
            self.canaries.values().flat_map(|canary| [canary.rearming.due(), canary.anew.due(), canary.rollback_at()]);
        let roles = self.roles_wait().then(|| self.fleet.next_given_up(self.last_at)).flatten();
        due.flatten().chain(beside.flatten()).chain(roles).min()
    }

    /// A canary by its id.
    pub fn canary(&self, id: &CanaryId) -> Option<&Canary> {
        self.canaries.get(id)
    }

    /// A canary by its id.
    ///
    /// # Errors
    /// What to answer where there is none of this name: it may be that of several versions.
    pub fn known(&self, id: &CanaryId) -> Result<&Canary, Refused> {
        let of = |canary: &&Canary| canary.plan.scope.lane.as_ref().is_some_and(|lane| lane.of() == id);
        let unknown = || {
            let versions: Vec<String> =
                self.canaries.values().filter(of).map(|canary| canary.plan.id.to_string()).collect();
            if versions.is_empty() {
                return Refused::Unknown(id.clone());
            }
            Refused::Several { service: id.clone(), versions: versions.join(", ") }
        };
        self.canaries.get(id).ok_or_else(unknown)
    }

    /// The canaries that have a manifest, by id.
    pub fn managed(&self) -> impl Iterator<Item = &Canary> {
        self.canaries.values().filter(|canary| canary.withdrawn_at.is_none())
    }

    /// All canaries, by id, those included whose manifest is gone and of which something is kept.
    pub fn canaries(&self) -> impl Iterator<Item = &Canary> {
        self.canaries.values()
    }

    /// The workers.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The same without all other canaries, their history, and what of the plan may be secret: what the record of a release
    /// begins with. What another version of the same service does to it is an event of its own, so it goes on as the whole
    /// would.
    pub fn only(&self, id: &CanaryId) -> Self {
        let mut canaries: BTreeMap<CanaryId, Canary> = BTreeMap::new();
        let (mut service, must_wait) = (id, self.next_must_wait(id));
        if let Some(canary) = self.canaries.get(id) {
            service = canary.service();
            let mut canary = canary.clone();
            canary.history.clear();
            canary.plan = canary.plan.stripped();
            canary.next_plan = canary.next_plan.map(Plan::stripped);
            canaries.insert(id.clone(), canary);
        }
        Self { canaries, fleet: self.fleet.only(id, service), must_wait: Some(must_wait), ..Self::default() }
    }
}
