//! No release begins onto an upstream that a proxy serves by default: without an agent it would serve unproven code.

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::Refused;
use crate::controller::fleet::Fleet;
use crate::release::plan::Plan;

/// Why no release may begin, under the plan in force or another.
pub(super) fn refused(fleet: &Fleet, canary: &Canary, plan: Option<&Plan>, now: Millis) -> Option<Refused> {
    let (primary, upstream) = canary.roles_under(plan.unwrap_or(&canary.plan));
    let peer = fleet.serving_by_default(canary.service(), upstream, now)?;
    let (node, upstream, instead) = (peer.node.clone(), upstream.clone(), primary.clone());
    Some(Refused::DefaultUpstream { node, upstream, instead })
}
