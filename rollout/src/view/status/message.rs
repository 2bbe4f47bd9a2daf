//! What is happening to a canary in one line, what a person must do where nothing else goes on, and what a proxy
//! without an agent serves.

use std::collections::BTreeSet;

use crate::base::time::Millis;
use crate::controller::Controller;
use crate::controller::canary::Canary;
use crate::controller::fleet::Fleet;
use crate::release::inquiry::{Objection, Reason};
use crate::release::phase::{Awaiting, Hold, Phase, StepState};
use crate::release::plan::Promotion;
use crate::release::text;
use crate::routing::table::WeightPpm;

/// What is happening and why: where the release stands, then these remarks.
pub(super) fn message(canary: &Canary, remarks: &[String], now: Millis) -> String {
    let (id, primary) = (&canary.plan.id, canary.primary());
    let gone = canary
        .withdrawn_at
        .is_some()
        .then(|| format!("its manifest is gone: {primary} goes on serving; put it back, or `serin forget {id}`"));
    let parts: Vec<String> = gone.into_iter().chain([line(canary, now)]).chain(remarks.iter().cloned()).collect();
    parts.join("; ")
}

/// What is worth saying besides where the release stands.
pub(super) fn remarks(controller: &Controller, canary: &Canary, now: Millis) -> Vec<String> {
    let further = match canary.phase.run() {
        _ if canary.withdrawn_at.is_some() => None,
        None => controller.why_no_release(canary, now),
        Some(_) if controller.fleet().live_count() == 0 => Some("no worker is connected".into()),
        Some(_) if lacks_requests(canary) => Some("no canary request on this step yet".into()),
        Some(_) => None,
    };
    let newer = newer_manifest(canary).map(str::to_owned);
    [primary(canary), newer, further].into_iter().flatten().collect()
}

/// Why the release does not advance.
pub(super) fn hold(canary: &Canary, now: Millis) -> Option<String> {
    canary.standing_hold(now).as_ref().map(text::hold)
}

/// Of a manifest that is newer than the plan in force: its plan, and what it waits for.
pub(super) fn next_manifest(controller: &Controller, canary: &Canary, now: Millis) -> Option<String> {
    let plan = canary.next_plan.as_ref()?;
    let why = match controller.role_conflict(canary, plan, now) {
        Some(conflict) => text::role_conflict(&conflict),
        None => "it is in force with the next release".into(),
    };
    Some(format!("{}: {why}", plan.hash()))
}

/// How the primary fails, where it does.
pub(super) fn primary_fails(canary: &Canary) -> Option<String> {
    let verdict = canary.primary_verdict.as_ref()?;
    let is_failing = canary.evidence.primary_fails().is_some() && canary.phase.run().is_some();
    is_failing.then(|| text::primary(verdict))
}

fn primary(canary: &Canary) -> Option<String> {
    let accepted = canary.phase.run().and_then(|run| run.primary_accepted_by.as_ref());
    let then = accepted.map_or_else(|| "its users can be moved".into(), |actor| format!("accepted by {actor}"));
    primary_fails(canary).map(|how| format!("the primary fails, {then}: {how}"))
}

/// What a person must do before the release can go on; `None` while it may go on by itself: traffic may come, evidence
/// grow, a hook that refuses agree, a fuse be armed again.
pub(super) fn needs_person(canary: &Canary, now: Millis) -> Option<String> {
    let run = canary.phase.run()?;
    let id = &canary.plan.id;
    match (&canary.phase, &canary.standing_hold(now)) {
        (Phase::Promoting(_) | Phase::Finalising(_), _) if canary.keeps_users() => Some(mend_primary(canary)),
        (phase, _) if matches!(phase.awaiting(), Some(Awaiting::Confirmation { .. })) => {
            Some(format!("bring the primary to {}, then `serin confirm {id}`", run.revision))
        }
        (Phase::Promoting(promoting), _) if promoting.is_paused => Some(format!("`serin resume {id}` lets it go on")),
        (Phase::Promoting(..) | Phase::Finalising(..), _) => None,
        // Going on alone gives it no request to be judged by.
        (Phase::Paused(_) | Phase::Progressing(_), _) if is_set_to_nothing(canary) => Some(format!(
            "`serin set-weight {id} --weight PERCENT` gives the canary traffic again, then `serin resume {id}` lets it go on"
        )),
        // While a person holds it nothing else is asked, and nothing accepted.
        (Phase::Paused(_), _) | (_, Some(Hold::Stop)) => Some(format!("`serin resume {id}` lets it go on")),
        (_, Some(Hold::Unsupported)) => {
            Some(format!("`serin release {id} --revision {} --accept-unsupported` goes on without them", run.revision))
        }
        (_, Some(Hold::DefaultUpstream { .. })) => {
            Some("move that proxy's default route and its defaultUpstreams to the primary".into())
        }
        (_, Some(Hold::Misrouted { .. })) => Some(format!(
            "make the proxies' routes send requests with x-serin-upstream: {} to the canary; `serin proxies` shows which do \
             not",
            canary.canary()
        )),
        (_, Some(Hold::Suspended)) => Some("take `suspend: true` out of the manifest".into()),
        (_, Some(Hold::Approval { refused, .. })) => closed(id.as_str(), refused),
        (
            _,
            Some(Hold::NoTraffic | Hold::Undecided | Hold::NoLatency | Hold::WorkersGone | Hold::Fuse { .. }) | None,
        ) => None,
    }
}

/// Whether an abort that was claimed, or a person, took the whole share that this step would have.
fn is_set_to_nothing(canary: &Canary) -> bool {
    let has_share = |step: &StepState| canary.plan.stage(step.number.get()).weight > WeightPpm::ZERO;
    // What rules send there may prove it meanwhile.
    let may_go_on = matches!(canary.phase, Phase::Progressing(_)) && !canary.plan.rules.is_empty();
    canary.phase.step().is_some_and(|step| step.weight == Some(WeightPpm::ZERO) && has_share(step)) && !may_go_on
}

fn mend_primary(canary: &Canary) -> String {
    let (id, primary) = (&canary.plan.id, canary.primary());
    let way = match (&canary.phase, &canary.plan.promotion) {
        (Phase::Finalising(_), Promotion::Swap) => format!("`serin abort {id}` takes the swap back"),
        _ => format!("`serin set-weight {id} --weight {}` moves its users to the canary", canary.plan.most().percent()),
    };
    format!("mend {primary}, which fails; {way}, `serin confirm {id} --force --reason TEXT` leaves them to it")
}

/// That the manifest has changed and acts later, if it has.
pub(crate) fn newer_manifest(canary: &Canary) -> Option<&'static str> {
    canary.next_plan.as_ref().map(|_| match canary.phase.run() {
        Some(_) => "a newer manifest waits for the next release",
        None => "a newer manifest waits until no version of the service is being released",
    })
}

fn closed(canary: &str, refused: &[Objection]) -> Option<String> {
    let gates = refused.iter().filter(|objection| objection.why == Reason::Closed);
    let open: Vec<String> = gates.map(|gate| format!("`serin gate open {canary} {}`", gate.name)).collect();
    (!open.is_empty()).then(|| format!("{} approves", open.join(" and ")))
}

fn line(canary: &Canary, now: Millis) -> String {
    let hold = canary.standing_hold(now);
    let advancing = || match &hold {
        Some(hold) => format!("holds: {}", text::hold(hold)),
        None => format!("step {} of {}", canary.phase.steps(), canary.plan.last_step()),
    };
    match &canary.phase {
        Phase::Initialized => "waits for a release: `serin release`".into(),
        Phase::Waiting(_) | Phase::Progressing(_) => advancing(),
        Phase::WaitingPromotion(_) => format!("proven, and judged on; {}", advancing()),
        Phase::Paused(_) => match &hold {
            // Its own words say how it goes on.
            Some(Hold::Stop) => format!("paused: {}", text::hold(&Hold::Stop)),
            Some(hold) => format!("paused: {}; `serin resume` goes on", text::hold(hold)),
            None => format!("paused at {}; `serin resume` goes on", advancing()),
        },
        Phase::Promoting(promoting) if promoting.is_paused => {
            let awaited = text::awaiting(&promoting.awaiting);
            format!("promotion paused, it waits for {awaited}; `serin resume` goes on")
        }
        Phase::Promoting(promoting) => format!("promotion waits for {}", text::awaiting(&promoting.awaiting)),
        Phase::Finalising(..) => "traffic returns to the primary".into(),
        Phase::Succeeded(ended) => format!("{} was promoted", ended.revision),
        Phase::Failed(ended, cause) => format!("{} was aborted: {}", ended.revision, text::cause(cause)),
    }
}

/// Whether a step whose requests are to be judged has none yet, and no hold says so.
fn lacks_requests(canary: &Canary) -> bool {
    let is_judged = matches!(canary.phase, Phase::Progressing(_) | Phase::Paused(_)) && canary.phase.step().is_some();
    let is_shared = canary.weight() > WeightPpm::ZERO || !canary.plan.rules.is_empty();
    is_judged && is_shared && canary.phase.hold().is_none() && canary.step_counts().started == 0
}

/// What a proxy serves that has never connected to this agent, and whether that is known to be wrong: the canary's upstream,
/// or not the same on every proxy. An upstream of another name may well be the primary's by another way.
pub(super) fn without_agent(canary: &Canary, fleet: &Fleet) -> (String, bool) {
    let upstreams: BTreeSet<String> = fleet.live().map(|peer| peer.default_upstream(canary.service())).collect();
    let mut upstreams = upstreams.into_iter();
    match (upstreams.next(), upstreams.next()) {
        (None, _) => ("not known: no live worker".into(), false),
        (Some(one), None) if one == canary.primary().as_str() => (format!("{one} (the primary)"), false),
        (Some(one), None) if one == canary.canary().as_str() => {
            let role = if canary.swapped { "former primary" } else { "canary's upstream" };
            (format!("{one} (the {role}: move the default route and defaultUpstreams before the next release)"), true)
        }
        (Some(one), None) => {
            (format!("{one} (neither primary nor canary: check the default route and defaultUpstreams)"), false)
        }
        (Some(one), Some(two)) => {
            let all: Vec<String> = [one, two].into_iter().chain(upstreams).collect();
            (format!("{} (the proxies differ)", all.join(", ")), true)
        }
    }
}
