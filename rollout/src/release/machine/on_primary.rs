//! When the primary fails and the canary does not: the release goes on being judged, but nothing sends users to the primary
//! except a person who accepts that; and where the manifest says so, its users move to the proven canary.

use super::step::{Context, Transition, quiet, then, with_note};
use super::weight;
use crate::base::time::Millis;
use crate::judgement::primary_watch::PrimaryVerdict;
use crate::release::phase::{Note, Phase};
use crate::release::plan::{Advance, OnPrimaryFailure};

pub(super) fn fails(context: Context<'_>, phase: &Phase, verdict: PrimaryVerdict) -> Transition {
    let is_served = phase.steps() > 0 || matches!(phase, Phase::Finalising(_));
    if !is_served {
        return quiet(phase.clone());
    }
    then(with_note(phase.clone(), Note::PrimaryFails(verdict)), shifted(context, phase))
}

/// Only what is proven takes everybody, and only while the primary has not taken over and no person keeps the traffic where
/// it is. What a person promoted unproven, or what reached the primary's hosts, proves nothing of the canary.
fn shifted(context: Context<'_>, phase: &Phase) -> Transition {
    let (plan, mut next) = (context.plan, phase.clone());
    let is_reached = match phase {
        Phase::WaitingPromotion(_) => true,
        Phase::Promoting(promoting) => !promoting.is_paused,
        _ => false,
    };
    let is_certified = matches!(plan.advance, Advance::Interval) || phase.step().is_some_and(|step| step.is_proven);
    let is_proven = is_reached && is_certified && !context.is_misrouted;
    let is_wanted = plan.course.on_primary_failure == OnPrimaryFailure::Shift && is_proven;
    let (from, to) = (weight(plan, phase.step()), plan.most());
    match next.step_mut().filter(|_| is_wanted && from < to) {
        Some(step) => step.weight = Some(to),
        None => return quiet(next),
    }
    with_note(next, Note::Shifted { from, to })
}

/// What the phase may take is counted from now, and who accepted the failure accepted this one.
pub(super) fn recovered(phase: &Phase, verdict: PrimaryVerdict, now: Millis) -> Transition {
    let mut next = phase.clone();
    let Some(run) = next.run_mut() else { return quiet(next) };
    run.phase_at = now;
    run.primary_accepted_by = None;
    with_note(next, Note::PrimaryRecovered(verdict))
}
