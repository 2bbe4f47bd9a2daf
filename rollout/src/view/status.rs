//! What the agent shows of itself: the API's and the CLI's words, computed from the controller and nothing else.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::Controller;
use crate::controller::canary::Canary;
use crate::judgement::guards::{GuardFinding, GuardsVerdict};
use crate::release::phase::{HistoryEvent, Note, Phase};
use crate::release::plan::Advance;
use crate::release::text;

mod gates;
mod message;
mod timing;
mod versions;
mod workers;

pub use gates::{GateStatus, stored_gates};
pub(crate) use message::newer_manifest;
pub(crate) use timing::toward_step;
pub use versions::VersionStatus;
pub(crate) use versions::versions;
pub use workers::{WorkerCanary, WorkerStatus, workers};

/// One canary at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Object name.
    pub name: String,
    /// Object namespace.
    pub namespace: String,
    /// Name of the service whose traffic it shares with other versions; null where it has all of it.
    #[serde(default)]
    pub service: Option<String>,
    /// Phase, as Flagger names it.
    pub phase: String,
    /// What is happening and why, in one line.
    pub message: String,
    /// Why the release does not advance, in words; null while it may.
    #[serde(default)]
    pub hold: Option<String>,
    /// What the message says besides where the release stands, each by itself.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// What a person must do before the release can go on; null while it may go on by itself.
    #[serde(default)]
    pub needs_person: Option<String>,
    /// How the primary fails while the canary does not, in words; null while it does not.
    #[serde(default)]
    pub primary_fails: Option<String>,
    /// The plan in force: the same for two manifests that mean the same.
    #[serde(default)]
    pub manifest: String,
    /// Whether its manifest is gone, and this is what was kept of it.
    #[serde(default)]
    pub manifest_gone: bool,
    /// Of a newer manifest its plan, and what it waits for; null where none waits.
    #[serde(default)]
    pub next_manifest: Option<String>,
    /// Number of the latest release; 0 before the first.
    pub release: u64,
    /// What the latest release brings or brought.
    pub revision: Option<String>,
    /// What the primary runs, as far as this agent promoted it.
    pub promoted_revision: Option<String>,
    /// Share meant for the canary now, percent.
    pub weight_percent: f64,
    /// Share it got under the epoch in force, percent; null without requests.
    pub observed_percent: Option<f64>,
    /// Step taken, and how many there are.
    pub step: usize,
    /// See `step`.
    pub steps: usize,
    /// Failed checks so far, and the number that rolls back.
    pub failed_checks: u32,
    /// See `failed_checks`.
    pub threshold: u32,
    /// Time to the next check, milliseconds; null when none is due.
    pub next_check_ms: Option<u64>,
    /// When the latest release began, Unix time in milliseconds; null before the first.
    #[serde(default)]
    pub started_at_ms: Option<u64>,
    /// How long it has taken, milliseconds: to its end if it has ended.
    #[serde(default)]
    pub ran_ms: Option<u64>,
    /// Time on this step, milliseconds; null where none is on.
    #[serde(default)]
    pub on_step_ms: Option<u64>,
    /// Canary requests a second on this step; null while it is not known.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
    /// About how long until this step's requests have proven it, milliseconds, at that rate and if none is bad; null where
    /// that is not known or something else is waited for.
    #[serde(default)]
    pub step_remaining_ms: Option<u64>,
    /// Epoch of the table entry in force.
    pub epoch: u64,
    /// Live workers, and how many of them have that epoch in force.
    pub workers_live: usize,
    /// See `workers_live`.
    pub workers_in_sync: usize,
    /// Workers that went away during the release in progress and have not come back: what they had not reported yet is
    /// missing from its evidence.
    pub workers_lost: usize,
    /// Live workers that send nothing to it because their fuse has tripped.
    #[serde(default)]
    pub workers_tripped: usize,
    /// What a proxy serves that has never reached this agent.
    pub without_agent: String,
    /// Whether that is known to be wrong: the canary's upstream, or not the same on every proxy.
    #[serde(default)]
    pub default_route_wrong: bool,
    /// Primary and canary in this release (since the start of observation before the first).
    pub versions: Vec<VersionStatus>,
    /// Primary and canary since this agent first saw them; never reset.
    pub totals: Vec<VersionStatus>,
    /// What a step is left after: `certificate` or `interval`.
    pub advance: String,
    /// How far the guards' evidence has come toward an abort, 0 to 1.
    pub toward_abort: f64,
    /// How far this step's certificate has come, 0 to 1; null where none is needed now.
    pub toward_step: Option<f64>,
    /// What each guard says of the release, as of the last report.
    pub guards: Vec<GuardStatus>,
    /// What this build cannot honour, as `field: what`.
    pub unsupported: Vec<String>,
}

/// Whether no release is under way in a phase: none has begun, or the latest has ended. Takes the phase as clients have it:
/// one of a later agent, which they do not know, is under way.
pub fn is_over(phase: &str) -> bool {
    matches!(phase, "Initialized" | "Succeeded" | "Failed")
}

/// One guard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardStatus {
    /// `slo`, `regression`, `latency`, `latencyRegression` or `sampleRatio`.
    pub guard: String,
    /// What it holds against the canary, in words.
    pub rule: String,
    /// What follows when it trips: `abort`, `pause` or `notify`.
    pub action: String,
    /// Canary requests that speak against it, and of how many.
    pub canary_events: u64,
    /// See `canary_events`.
    pub canary_trials: u64,
    /// The primary's, for comparison.
    pub primary_events: u64,
    /// See `primary_events`.
    pub primary_trials: u64,
    /// Natural logarithm of the e-value: the evidence against the canary.
    pub ln_e: f64,
    /// Natural logarithm of what the weighted evidence of all guards must reach.
    pub ln_needed: f64,
}

/// One event of a canary's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventStatus {
    /// Unix time, milliseconds.
    pub at_ms: u64,
    /// During which release.
    pub release: u64,
    /// The canary's share after it, percent.
    pub weight_percent: f64,
    /// What and why.
    pub message: String,
    /// The same with all its numbers, for programs.
    pub detail: Note,
}

/// One canary.
pub fn canary(controller: &Controller, canary: &Canary, now: Millis) -> CanaryStatus {
    let fleet = controller.fleet();
    let id = &canary.plan.id;
    let run = canary.phase.run();
    let under_epoch = canary.evidence.split_under(canary.epoch);
    let behind = fleet.behind(id, canary.epoch);
    let live = fleet.live_count();
    let timing = timing::timing(canary, now);
    let (without_agent, default_route_wrong) = message::without_agent(canary, fleet);
    let remarks = message::remarks(controller, canary, now);
    CanaryStatus {
        name: id.name().into(),
        namespace: id.namespace().into(),
        service: canary.plan.scope.lane.as_ref().map(|lane| lane.of().name().into()),
        phase: canary.phase.name().into(),
        message: message::message(canary, &remarks, now),
        hold: message::hold(canary, now),
        remarks,
        needs_person: message::needs_person(canary, now),
        primary_fails: message::primary_fails(canary),
        manifest: canary.plan.hash(),
        manifest_gone: canary.withdrawn_at.is_some(),
        next_manifest: message::next_manifest(controller, canary, now),
        release: canary.releases,
        revision: revision(&canary.phase),
        promoted_revision: canary.promoted.as_ref().map(ToString::to_string),
        weight_percent: canary.weight().percent(),
        observed_percent: workers::share(canary, under_epoch.primary.started, under_epoch.canary.started),
        step: canary.phase.steps(),
        steps: canary.plan.last_step(),
        failed_checks: run.map_or(0, |run| run.failed_checks),
        threshold: canary.plan.threshold,
        next_check_ms: (canary.phase.step().and_then(|_| canary.phase.check_at()))
            .filter(|_| canary.plan.advance == Advance::Interval)
            .map(|check_at| check_at.since(now).0),
        started_at_ms: timing.started_at_ms,
        ran_ms: timing.ran_ms,
        on_step_ms: timing.on_step_ms,
        requests_per_second: timing.requests_per_second,
        step_remaining_ms: timing.step_remaining_ms,
        epoch: canary.epoch.0,
        workers_live: live,
        workers_in_sync: live.saturating_sub(behind),
        workers_lost: run.map_or(0, |run| fleet.lost_since(run.started_at)),
        workers_tripped: fleet.live().filter(|peer| peer.tripped().contains_key(id)).count(),
        without_agent,
        default_route_wrong,
        versions: versions(canary, canary.evidence.release()),
        totals: versions(canary, canary.evidence.totals()),
        advance: canary.plan.advance.name().into(),
        toward_abort: run.and(canary.verdict.as_ref()).map_or(0.0, |verdict| verdict.toward_abort),
        toward_step: run.and(canary.certificate.as_ref()).map(|verdict| toward_step(canary, verdict)),
        guards: canary.verdict.iter().flat_map(guards).collect(),
        unsupported: canary.plan.unsupported.iter().map(|u| format!("{}: {}", u.field, u.what)).collect(),
    }
}

/// A canary's history, oldest first.
pub fn events(canary: &Canary) -> Vec<EventStatus> {
    canary.history.iter().map(event).collect()
}

/// One event.
pub fn event(event: &HistoryEvent) -> EventStatus {
    EventStatus {
        at_ms: event.at.0,
        release: event.release.0,
        weight_percent: event.weight.percent(),
        message: text::note(&event.note),
        detail: event.note.clone(),
    }
}

fn guards(verdict: &GuardsVerdict) -> Vec<GuardStatus> {
    let status = |finding: &GuardFinding| GuardStatus {
        guard: finding.guard.rule.name().name().into(),
        rule: text::rule(&finding.guard.rule),
        action: finding.guard.action.name().into(),
        canary_events: finding.canary.events,
        canary_trials: finding.canary.trials,
        primary_events: finding.primary.events,
        primary_trials: finding.primary.trials,
        ln_e: finding.ln_e,
        ln_needed: finding.ln_needed,
    };
    verdict.findings.iter().map(status).collect()
}

pub(crate) fn revision(phase: &Phase) -> Option<String> {
    let ended = phase.ended().map(|ended| &ended.revision);
    phase.run().map(|run| &run.revision).or(ended).map(ToString::to_string)
}
