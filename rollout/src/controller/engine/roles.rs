//! Which upstream is the primary: what a manifest that comes, changes or returns may not change silently, for all users
//! would move with it, perhaps to a version that was aborted.
//!
//! Roles come from a manifest's names only where nothing else is known. What a promotion made of them stays with the canary,
//! also while its manifest is gone; where the proxies' default routes say otherwise, nothing is adopted until they agree.

use super::Controller;
use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::Refused;
use crate::controller::fleet::Fleet;
use crate::release::phase::RoleConflict;
use crate::release::plan::Plan;
use crate::routing::table::Scope;

impl Controller {
    /// Why a plan's roles may not be in force: they make another upstream the primary, and a proxy still serves the present
    /// one, or the one that is to be the canary, by default; or none is connected to say. Proxies that are expected back
    /// count: after a restart of the agent the first to come speaks for itself alone.
    pub(crate) fn role_conflict(&self, canary: &Canary, plan: &Plan, now: Millis) -> Option<RoleConflict> {
        let (primary, other) = canary.roles_under(plan);
        let serving = canary.primary();
        if primary == serving || canary.is_fresh() {
            return None;
        }
        let service = plan.scope.service(&plan.id);
        let conflict = |proxy| RoleConflict { proxy, serving: serving.clone(), named: primary.clone() };
        let contradicts = |upstream| Some((self.fleet.serving_by_default(service, upstream, now)?, upstream));
        match contradicts(serving).or_else(|| contradicts(other)) {
            Some((peer, upstream)) => Some(conflict(Some((peer.node.clone(), upstream.clone())))),
            None => (self.fleet.live_count() == 0).then(|| conflict(None)),
        }
    }

    /// A manifest that waits for the proxies to agree waits also for the next release; and one whose traffic still belongs
    /// to a tombstone has none.
    pub(super) fn may_begin_with_roles(
        &self,
        canary: &Canary,
        next: Option<&Plan>,
        now: Millis,
    ) -> Result<(), Refused> {
        if let Some(conflict) = next.and_then(|plan| self.role_conflict(canary, plan, now)) {
            return Err(Refused::Roles(conflict));
        }
        let tombstone = self.tombstones_in(&canary.plan).find(|other| other.is_routing());
        tombstone.map_or(Ok(()), |other| {
            Err(Refused::Tombstone { other: other.plan.id.clone(), primary: other.primary().clone() })
        })
    }

    /// Why no release can begin although none is in progress, where that is about roles.
    pub(crate) fn why_no_release(&self, canary: &Canary, now: Millis) -> Option<String> {
        let roles = self.may_begin_with_roles(canary, canary.next_plan.as_ref(), now);
        let withheld =
            || if canary.is_fresh() { may_begin_onto(&self.fleet, canary, &canary.plan, now) } else { Ok(()) };
        roles.and_then(|()| withheld()).err().map(|refused| refused.to_string())
    }

    /// Whether some canary waits for the proxies to agree with its manifest's roles: one that is away may be given up.
    pub(super) fn roles_wait(&self) -> bool {
        let is_withheld = |canary: &Canary| canary.is_fresh() && !canary.is_routing();
        let waits = |canary: &Canary| canary.next_plan.is_some() || is_withheld(canary);
        self.managed().any(|canary| canary.phase.run().is_none() && waits(canary))
    }

    /// Other canaries without a manifest whose traffic a plan claims.
    pub(super) fn tombstones_in<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Canary> {
        self.other_tombstones(plan).filter(|other| overlaps(&other.plan.scope, &plan.scope))
    }

    /// The same, and those whose paths are a part of the plan's: they go on routing these.
    pub(super) fn tombstones_under<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Canary> {
        let is_claimed = |other: &Scope| overlaps(other, &plan.scope) || covers(&plan.scope, other);
        self.other_tombstones(plan).filter(move |other| is_claimed(&other.plan.scope))
    }

    fn other_tombstones<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Canary> {
        let is_other = |other: &&Canary| other.withdrawn_at.is_some() && other.plan.id != plan.id;
        let is_sibling = |other: &Canary| {
            let (ours, theirs) = (plan.scope.lane.as_ref(), other.plan.scope.lane.as_ref());
            ours.zip(theirs).is_some_and(|(ours, theirs)| ours.of() == theirs.of())
        };
        self.canaries.values().filter(is_other).filter(move |other| !is_sibling(other))
    }

    /// Canaries with a manifest that claim some of a plan's traffic.
    pub(super) fn sharing(&self, plan: &Plan) -> Vec<CanaryId> {
        let is_heir = |canary: &&Canary| canary.withdrawn_at.is_none() && overlaps(&canary.plan.scope, &plan.scope);
        self.canaries.values().filter(is_heir).map(|canary| canary.plan.id.clone()).collect()
    }

    /// Whether the entry of an idle canary must not say where its requests go: a proxy's default route contradicts roles
    /// that only a manifest's names give; a tombstone still routes them; or siblings with a manifest have its lane.
    pub(super) fn withholds(&self, canary: &Canary, now: Millis) -> bool {
        if canary.phase.run().is_some() {
            return false;
        }
        let is_contradicted = || self.fleet.serving_by_default(canary.service(), canary.canary(), now).is_some();
        let has_heirs = || self.siblings(canary).any(|sibling| sibling.withdrawn_at.is_none());
        if canary.withdrawn_at.is_some() {
            return has_heirs();
        }
        (canary.is_fresh() && is_contradicted()) || self.tombstones_in(&canary.plan).any(Canary::is_routing)
    }
}

/// Whether some request is in both scopes, and neither is the narrower one by its path.
fn overlaps(one: &Scope, other: &Scope) -> bool {
    one.path_prefixes.iter().any(|prefix| other.path_prefixes.contains(prefix))
        && one.hosts.iter().any(|host| other.hosts.contains(host))
}

/// Whether all of one scope's requests are in another, lanes aside.
pub(super) fn covers(whole: &Scope, part: &Scope) -> bool {
    let is_under = |path: &String| whole.path_prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()));
    part.path_prefixes.iter().all(is_under) && part.hosts.iter().all(|host| whole.hosts.contains(host))
}

/// No release begins onto an upstream that a proxy serves by default: without an agent it would serve unproven code.
pub(super) fn may_begin_onto(fleet: &Fleet, canary: &Canary, plan: &Plan, now: Millis) -> Result<(), Refused> {
    let (primary, upstream) = canary.roles_under(plan);
    let Some(peer) = fleet.serving_by_default(canary.service(), upstream, now) else { return Ok(()) };
    let (node, upstream, instead) = (peer.node.clone(), upstream.clone(), primary.clone());
    Err(Refused::DefaultUpstream { node, upstream, instead })
}
