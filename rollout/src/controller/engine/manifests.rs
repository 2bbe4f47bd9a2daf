//! Manifests that come, change, go and return. What a canary has become outlives its manifest: a file that is gone for a
//! moment, or renamed, moves no user.
//!
//! A canary that had a release leaves a tombstone, which keeps roles, promoted revision, history and epochs, and goes on
//! routing to the primary, until the manifest returns, another canary takes its place, or a person forgets it. There are at
//! most [`MAX_TOMBSTONES`]; beyond, those go first whose roles are the manifest's, of these the oldest.

use super::gates::done_with;
use super::roles::covers;
use super::{Controller, MAX_REMEMBERED, MAX_TOMBSTONES, Remembered};
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Command, Done, Output, Refused};
use crate::controller::notify;
use crate::release::phase::{Actor, Cause, Note};
use crate::release::plan::Plan;

impl Controller {
    /// A manifest was read: its plan is in force now, with the next release, or when the proxies agree with its roles.
    pub(super) fn declare(&mut self, plan: Plan, now: Millis, out: &mut Output) {
        let id = plan.id.clone();
        if self.canaries.contains_key(&id) {
            self.returned(&id, now, out);
            self.change(plan, now, out);
            self.inherit(&id, now, out);
        } else {
            self.create(plan, now, out);
        }
        self.issue_entry(&id, false, now, out);
        self.issue_buried(&id, now, out);
    }

    /// A manifest is gone.
    pub(super) fn withdraw(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        // A manifest that waited for the end of the release is gone with it.
        self.canaries.get_mut(id).into_iter().for_each(|canary| canary.next_plan = None);
        self.abort(id, Cause::Withdrawn, now, out);
        let Some(canary) = self.canaries.get_mut(id).filter(|canary| canary.withdrawn_at.is_none()) else { return };
        out.is_lane_free = true;
        if canary.is_fresh() {
            self.drop_canary(id, now, out);
            return;
        }
        canary.withdrawn_at = Some(now);
        let note = Note::ManifestRemoved { primary: canary.primary().clone() };
        out.stored.extend(notify::record(canary, note, now));
        self.issue_entry(id, false, now, out);
        self.drop_excess(now, out);
    }

    /// A person drops what is kept of a canary without a manifest.
    pub(super) fn forget(
        &mut self,
        id: &CanaryId,
        actor: Actor,
        reason: String,
        now: Millis,
        out: &mut Output,
    ) -> Result<Done, Refused> {
        let canary = self.known(id)?;
        if let Some(reason) = self.still_in_use(canary, now) {
            return Err(Refused::InUse(reason));
        }
        let done = done_with(canary);
        if let Some(canary) = self.canaries.get_mut(id) {
            out.stored.extend(notify::record(canary, Note::Forgotten { actor, reason }, now));
        }
        self.drop_canary(id, now, out);
        Ok(done)
    }

    fn still_in_use(&self, canary: &Canary, now: Millis) -> Option<String> {
        let id = &canary.plan.id;
        if canary.withdrawn_at.is_none() {
            return Some(format!("{id} has a manifest; remove that from the agent's --canaries directory first"));
        }
        if let Some(run) = canary.phase.run() {
            return Some(format!("release {} of {id} is {}; wait for its end", run.release.0, canary.phase.name()));
        }
        let former = canary.canary();
        let wrong = self.fleet.serving_by_default(canary.service(), former, now).filter(|_| canary.is_routing())?;
        let (node, primary) = (&wrong.node, canary.primary());
        Some(format!(
            "proxy {node} sends requests to {former} by default, and {primary} is the primary of {id}, so its users would \
             move; point the default route and `defaultUpstreams` of every proxy at {primary} first"
        ))
    }

    fn create(&mut self, plan: Plan, now: Millis, out: &mut Output) {
        let id = plan.id.clone();
        let Remembered { epoch, releases } = self.remembered.remove(&id).unwrap_or_default();
        let mut canary = Canary::new(plan, epoch);
        (canary.releases, canary.releases_before) = (releases, releases);
        let promoted = self.siblings(&canary).find_map(|sibling| sibling.promoted.clone());
        canary.promoted = promoted;
        out.stored.extend(notify::record(&mut canary, Note::Declared, now));
        self.canaries.insert(id.clone(), canary);
        self.inherit(&id, now, out);
    }

    /// A canary that knows no roles but its manifest's takes the place of a tombstone, as after a rename.
    fn inherit(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        let fresh = self.canaries.get(id).filter(|canary| canary.is_fresh() && canary.phase.run().is_none());
        let Some(from) = fresh.and_then(|canary| self.heritage(&canary.plan)) else { return };
        let (from, primary, promoted) = (from.plan.id.clone(), from.primary().clone(), from.promoted.clone());
        let Some(canary) = self.canaries.get_mut(id) else { return };
        (canary.swapped, canary.promoted) = (primary == canary.plan.canary, promoted);
        let note = Note::TookOver { from: from.clone(), primary };
        out.stored.extend(notify::record(canary, note, now));
        self.drop_canary(&from, now, out);
    }

    /// The one tombstone whose place a plan takes: it claims all of its traffic and names its primary.
    fn heritage<'a>(&'a self, plan: &'a Plan) -> Option<&'a Canary> {
        let mut claimed = self.tombstones_under(plan);
        let (only, other) = (claimed.next()?, claimed.next());
        let is_all = covers(&plan.scope, &only.plan.scope);
        let is_whole = only.plan.scope.lane.is_none() && plan.scope.lane.is_none() && only.phase.run().is_none();
        let is_named = [&plan.primary, &plan.canary].contains(&only.primary());
        (other.is_none() && is_all && is_whole && is_named).then_some(only)
    }

    /// The manifest of a canary that is known: it may have been gone.
    fn returned(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        let Some(canary) = self.canaries.get_mut(id).filter(|canary| canary.withdrawn_at.is_some()) else { return };
        canary.withdrawn_at = None;
        let note = Note::ManifestReturned { primary: canary.primary().clone() };
        out.stored.extend(notify::record(canary, note, now));
    }

    fn change(&mut self, plan: Plan, now: Millis, out: &mut Output) {
        let id = plan.id.clone();
        let Some(canary) = self.canaries.get(&id) else { return };
        let conflict = self.role_conflict(canary, &plan, now);
        let is_idle = canary.phase.run().is_none();
        let at_once = is_idle && !self.must_wait(canary, &plan) && conflict.is_none();
        let Some(canary) = self.canaries.get_mut(&id) else { return };
        if canary.latest_plan().is_suspended() && !plan.is_suspended() {
            canary.unsuspend(now);
        }
        if canary.plan == plan {
            canary.next_plan = None;
            return;
        }
        let is_news = canary.next_plan.as_ref() != Some(&plan);
        if at_once {
            canary.next_plan = None;
            canary.follow(plan);
        } else {
            canary.next_plan = Some(plan);
        }
        if is_news {
            let conflict = conflict.filter(|_| is_idle);
            let note = conflict.map_or(Note::Changed { at_once }, Note::RolesWait);
            out.stored.extend(notify::record(canary, note, now));
        }
    }

    /// Siblings without a manifest leave their lanes to those that have one.
    fn issue_buried(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        let Some(canary) = self.canaries.get(id) else { return };
        let buried = self.siblings(canary).filter(|sibling| sibling.withdrawn_at.is_some());
        let buried: Vec<CanaryId> = buried.map(|sibling| sibling.plan.id.clone()).collect();
        buried.iter().for_each(|id| self.issue_entry(id, false, now, out));
    }

    fn drop_excess(&mut self, now: Millis, out: &mut Output) {
        let idle = |canary: &&Canary| canary.phase.run().is_none();
        let buried = || self.canaries.values().filter(|canary| canary.withdrawn_at.is_some());
        if buried().count() > MAX_TOMBSTONES
            && let Some(oldest) = buried().filter(idle).min_by_key(|canary| (canary.swapped, canary.withdrawn_at))
        {
            let id = oldest.plan.id.clone();
            self.drop_canary(&id, now, out);
        }
    }

    /// Nothing is kept but the numbers that must not be used twice. Canaries of the same traffic waited for it.
    fn drop_canary(&mut self, id: &CanaryId, now: Millis, out: &mut Output) {
        let Some(mut canary) = self.canaries.remove(id) else { return };
        let heirs = self.sharing(&canary.plan);
        out.stored.extend(canary.withdraw().map(|entry| Command::Push(Box::new(entry))));
        if self.remembered.len() < MAX_REMEMBERED {
            self.remembered.insert(id.clone(), Remembered { epoch: canary.epoch, releases: canary.releases });
        }
        heirs.iter().for_each(|heir| self.issue_entry(heir, false, now, out));
    }
}
