//! The one line that a person reads first: what is going on with a release, and why.
//!
//! It says what decides, with the counts behind it; all other numbers are in the explanation below it.

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::guards::{EventCount, GuardAction, GuardRule, GuardsVerdict};
use crate::release::phase::{Cause, Hold, Phase, StepState};
use crate::release::plan::Advance;
use crate::release::text::{self, number};

/// What is going on, and why.
pub fn headline(canary: &Canary, now: Millis) -> String {
    let name = canary.plan.id.name();
    match &canary.phase {
        Phase::Initialized => format!("{name}: no release yet; `serin release` begins one"),
        Phase::Waiting(_) | Phase::Progressing(_) => {
            format!("{}: {}{}", at(canary), primary(canary), running(canary, now))
        }
        Phase::WaitingPromotion(_) => {
            format!("{}: {}proven; {}", at(canary), primary(canary), running(canary, now))
        }
        Phase::Paused(_) => format!("{}: {}paused; {}", at(canary), primary(canary), running(canary, now)),
        Phase::Promoting(promoting) => {
            let waits = if promoting.is_paused { "promotion is paused, and waits" } else { "promotion waits" };
            format!("{}: {}{waits} for {}", at(canary), primary(canary), text::awaiting(&promoting.awaiting))
        }
        Phase::Finalising(_) => {
            format!("{name} {}: {}promoted; traffic returns to the primary", revision(canary), primary(canary))
        }
        Phase::Succeeded(ended) => format!("{name} {} was promoted: {}", ended.revision, evidence(canary)),
        Phase::Failed(ended, cause) => format!("{name} {} was {}", ended.revision, aborted(cause)),
    }
}

/// That the primary is the one that fails, before all else.
fn primary(canary: &Canary) -> String {
    let verdict = canary.primary_verdict.as_ref().filter(|verdict| verdict.failing.is_some());
    verdict.map_or_else(String::new, |verdict| format!("THE PRIMARY FAILS: {}; ", text::primary(verdict)))
}

fn at(canary: &Canary) -> String {
    format!("{} {} at {} %", canary.plan.id.name(), revision(canary), number(canary.weight().percent()))
}

fn revision(canary: &Canary) -> String {
    canary.phase.run().map(|run| run.revision.to_string()).unwrap_or_default()
}

fn aborted(cause: &Cause) -> String {
    match cause {
        Cause::Guards(verdict) => format!("aborted by {}", guard(verdict)),
        other => format!("aborted: {}", text::cause(other)),
    }
}

fn running(canary: &Canary, now: Millis) -> String {
    let step = canary.phase.step();
    let line = step.map_or_else(|| "takes no traffic yet".into(), |step| judged(canary, step, now));
    match &canary.standing_hold(now) {
        // Its own words send people here.
        Some(Hold::Undecided) => format!("{line}; that takes longer than its manifest expects"),
        // Said already.
        Some(Hold::NoTraffic) if canary.certificate.as_ref().is_some_and(|verdict| verdict.requests() == 0) => line,
        Some(hold) => format!("{line}; holds: {}", text::hold(hold)),
        None => line,
    }
}

fn judged(canary: &Canary, step: &StepState, now: Millis) -> String {
    let tripped = canary.verdict.as_ref().filter(|verdict| verdict.tripped.is_some());
    let suspect = tripped.map(|verdict| match verdict.tripped {
        Some((GuardAction::Notify, _)) => format!("; only reported, by {}", guard(verdict)),
        _ => format!("; stopped by {}", guard(verdict)),
    });
    let progress = match (&canary.plan.advance, &canary.certificate) {
        (Advance::Interval, _) => {
            format!(
                "{}; its checks advance it, {} of {} failed",
                evidence(canary),
                canary.phase.run().map_or(0, |run| run.failed_checks),
                canary.plan.threshold
            )
        }
        (Advance::Certificate(_), None) => format!("step {} has just begun", step.number),
        (Advance::Certificate(_), Some(verdict)) => proven(canary, verdict, step, now.since(step.at)),
    };
    progress + &suspect.unwrap_or_default()
}

/// How far a step's certificate has come, and what it still takes.
fn proven(canary: &Canary, verdict: &CertificateVerdict, step: &StepState, on_step: Millis) -> String {
    let step = step.number;
    if verdict.requests() == 0 {
        return format!("no canary request on step {step} yet: there is nothing to judge");
    }
    let max_cluster = canary.plan.guards.max_cluster;
    let to_go = verdict.requests_to_go(max_cluster);
    if to_go > 0 {
        let percent = number((verdict.progress(max_cluster) * 100.0).floor());
        return format!("{percent} % of the way to the certificate of step {step}; about {to_go} more good requests");
    }
    match verdict.dwell.since(on_step) {
        Millis(0) => format!("step {step} is certified"),
        Millis(left) => format!("step {step} is certified; at least {} s more on it", left.div_ceil(1000)),
    }
}

fn evidence(canary: &Canary) -> String {
    if canary.plan.guards.guards.is_empty() {
        return "no guard judges it".into();
    }
    let toward = canary.verdict.as_ref().map_or(0.0, |verdict| verdict.toward_abort);
    format!("evidence for an abort {} %", number((toward * 100.0).floor()))
}

/// The guard that forced a verdict: what it saw, and its limit.
fn guard(verdict: &GuardsVerdict) -> String {
    let forcing = verdict.tripped.map(|(_, name)| name);
    let finding = verdict.findings.iter().find(|finding| Some(finding.guard.rule.name()) == forcing);
    let Some(finding) = finding else { return text::guards(verdict) };
    let EventCount { events, trials } = finding.canary;
    let percent = |count: EventCount| number(count.percent().unwrap_or_default());
    let said = match finding.guard.rule {
        GuardRule::Slo { limit, .. } => {
            format!("{events} of {trials} requests failed (limit {} %)", number(limit * 100.0))
        }
        GuardRule::Regression { margin, .. } => format!(
            "{events} of {trials} requests failed, {} % beside the primary's {} % (limit {} times its share)",
            percent(finding.canary),
            percent(finding.primary),
            number(margin),
        ),
        GuardRule::ClientErrors { margin, .. } => format!(
            "{events} of {trials} requests were answered with a 4xx status, {} % beside the primary's {} % (limit {} times its share)",
            percent(finding.canary),
            percent(finding.primary),
            number(margin),
        ),
        GuardRule::Abandonment { margin, .. } => format!(
            "clients gave up {events} of {trials} requests, {} % beside the primary's {} % (limit {} times its share)",
            percent(finding.canary),
            percent(finding.primary),
            number(margin),
        ),
        GuardRule::Latency { limit, share, .. } => format!(
            "{events} of {trials} requests failed or took over {} ms (limit {} %)",
            number(limit.0 as f64 / 1000.0),
            number(share * 100.0),
        ),
        GuardRule::LatencyRegression { margin, floor_latency, .. } => format!(
            "slower than {} times the primary; {events} of {trials} requests took over {} ms",
            number(margin),
            number(floor_latency.0 as f64 / 1000.0),
        ),
    };
    format!("guard {}: {said}", finding.guard.rule.name().name())
}
