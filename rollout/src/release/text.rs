//! The only prose: what happened, why, and by how much, in one line each; shared by log, API, CLI and UI.

use crate::base::names::{Actor, Upstream};
use crate::base::time::Millis;
use crate::judgement::certificate::{CertificateFinding, CertificateVerdict};
use crate::judgement::guards::{EventCount, GuardFinding, GuardName, GuardsVerdict};
use crate::judgement::sample_ratio::RatioFinding;
use crate::release::inquiry::{MetricFinding, Objection, Reason};
use crate::release::integrations::MetricError;
use crate::release::phase::{Awaiting, Cause, Note, Proof};
use crate::release::plan::Metric;
use crate::release::threshold_checks::{CheckFinding, CheckResult, ChecksVerdict};
use crate::routing::table::WeightPpm;

/// Tables that this agent's journal does not know.
mod epochs;

/// Holds in words.
mod holds;

/// What people did.
mod by_hand;

/// What speaks against a canary.
mod against;

/// Manifests that go and return.
mod manifests;

/// What guards allow.
mod rules;

/// A primary that fails.
mod primary;

pub use holds::hold;
pub use manifests::role_conflict;
pub use primary::primary;
pub use rules::{certified, rule, rule_now};

/// One event of a canary's history.
pub fn note(note: &Note) -> String {
    match note {
        Note::ManifestRemoved { .. }
        | Note::ManifestReturned { .. }
        | Note::TookOver { .. }
        | Note::RolesWait(_)
        | Note::Forgotten { .. } => manifests::kept(note),
        Note::Started { .. }
        | Note::Accepted { .. }
        | Note::Skipped { .. }
        | Note::WeightSet { .. }
        | Note::Paused { .. }
        | Note::Resumed { .. }
        | Note::GateOpened { .. }
        | Note::GateClosed { .. }
        | Note::Confirmed { .. } => by_hand::done(note),
        Note::Objected { .. }
        | Note::MetricError { .. }
        | Note::CheckFailed { .. }
        | Note::Tripped(_)
        | Note::FuseTripped { .. } => against::found(note),
        Note::AbortClaimed { .. } | Note::JournalBehind { .. } => epochs::later(note),
        Note::PrimaryFails(_) | Note::PrimaryRecovered(_) | Note::PrimaryAccepted { .. } | Note::Shifted { .. } => {
            primary::watched(note)
        }
        Note::Declared => "manifest read".into(),
        Note::Changed { at_once } => changed(*at_once).into(),
        Note::Superseded { revision } => format!("release of {revision} superseded by a newer revision"),
        Note::Waiting { refused } => format!("waits for approval to start: {}", objections(refused)),
        Note::Approved { purpose } => format!("{} approved", purpose.kind().name()),
        Note::AnalysisSkipped => "the manifest says to promote without analysis".into(),
        Note::Stepped { from, to, proof } => stepped(*from, *to, proof.as_ref()),
        Note::BegunAnew => {
            "the canary's requests arrive elsewhere than the primary's again: the step begins anew".into()
        }
        Note::Rearmed => "tripped fuses rearmed: the guards did not abort the canary".into(),
        Note::Held(hold) => format!("holds: {}", self::hold(hold)),
        Note::WaitingPromotion { refused } => format!("proven; waits for approval to promote: {}", objections(refused)),
        Note::Returned { from, to } => {
            format!("weight {} -> {} %: traffic returns to the primary", from.percent(), to.percent())
        }
        Note::Promoting { actor, reason, proof, awaiting } => {
            promoting(actor.as_ref(), reason, proof.as_ref(), awaiting.as_ref())
        }
        Note::HookFailed { error } => format!("promotion hook failed: {error}; `serin confirm` or `serin abort`"),
        Note::Swapped { primary } => swapped(primary),
        Note::Succeeded { unconfirmed } => succeeded(*unconfirmed),
        Note::Aborted(cause) => format!("aborted, all traffic to primary: {}", self::cause(cause)),
    }
}

fn swapped(primary: &Upstream) -> String {
    format!(
        "roles swapped: {primary} is the primary now; before the next release, point every proxy's default route and \
         `defaultUpstreams` at {primary}"
    )
}

fn succeeded(unconfirmed: usize) -> String {
    if unconfirmed == 0 {
        return "promoted; every live worker routes all traffic to the primary".into();
    }
    format!("promoted; {} had not confirmed by the deadline", counted(unconfirmed as u64, "worker", "workers"))
}

const fn changed(at_once: bool) -> &'static str {
    if at_once {
        "manifest changed"
    } else {
        "manifest changed; the release in progress keeps its plan, the next one uses the new one"
    }
}

fn stepped(from: WeightPpm, to: WeightPpm, proof: Option<&Proof>) -> String {
    let unproven = if from == WeightPpm::ZERO { "first step" } else { "without proof" };
    let why = proof.map_or_else(|| unproven.into(), self::proof);
    if from == to {
        return format!("weight stays {} %: {why}", from.percent());
    }
    format!("weight {} -> {} %: {why}", from.percent(), to.percent())
}

fn promoting(actor: Option<&Actor>, reason: &str, proof: Option<&Proof>, awaiting: Option<&Awaiting>) -> String {
    let why = match (actor, proof) {
        (Some(actor), _) => format!("promoted by {actor} before the analysis ended{}", because(reason)),
        (None, Some(proof)) => format!("proven: {}", self::proof(proof)),
        (None, None) => "promoted without proof".into(),
    };
    match awaiting {
        Some(awaiting) => format!("{why}; waits for {}", self::awaiting(awaiting)),
        None => why,
    }
}

/// What ends a wait in Promoting.
pub fn awaiting(awaiting: &Awaiting) -> String {
    match awaiting {
        Awaiting::Hook => "the promotion hook to bring the primary to the new version".into(),
        Awaiting::Confirmation { after: None } => {
            "`serin confirm`: deploy the new version to the primary upstream, then confirm".into()
        }
        Awaiting::Confirmation { after: Some(error) } => {
            format!("`serin confirm`, since the promotion hook failed: {error}")
        }
        Awaiting::Traffic => "traffic to return to the primary".into(),
    }
}

/// Why a release was aborted.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Checks { failed, verdict } => {
            format!("failed checks reached the threshold ({failed}): {}", self::verdict(verdict))
        }
        Cause::Guards(verdict) => guards(verdict),
        Cause::Undecided { after, verdict } => {
            format!("nothing proven within {}: {}", span(*after), certificate(verdict))
        }
        Cause::Objections { failed, refused } => {
            format!("failed checks reached the threshold ({failed}): {}", objections(refused))
        }
        Cause::MetricError { checks, refused } => {
            // The first check over the limit aborts, so the limit is one less.
            let limit = checks.saturating_sub(1);
            let checks = counted(u64::from(*checks), "check", "checks");
            format!("{checks} without a metric value (limit {limit}): {}", objections(refused))
        }
        Cause::Rollback { name } => format!("{name} requested a rollback"),
        Cause::Deadline { phase, after } => format!("{phase} exceeded its deadline of {}", span(*after)),
        Cause::Reverted { actor } => format!("{actor} released the revision that the primary already runs"),
        Cause::Requested { actor, reason } => format!("requested by {actor}{}", because(reason)),
        Cause::LostAbort { node } => format!(
            "proxy {node} holds the table of an abort that is not in this agent's journal; only an abort leaves before it is \
             stored, so the agent stopped between aborting this release and recording it"
        ),
        Cause::NotChosen { version, revision } => format!("{version} is promoted instead, with {revision}"),
        Cause::Withdrawn => "its manifest was removed".into(),
    }
}

/// What hooks, gates and metric servers object.
pub fn objections(refused: &[Objection]) -> String {
    refused.iter().map(objection).collect::<Vec<_>>().join("; ")
}

fn objection(Objection { name, why }: &Objection) -> String {
    match why {
        Reason::Closed => format!("gate {name} is closed (`serin gate open` opens it)"),
        Reason::Refused(said) => format!("hook {name}: {said}"),
        Reason::MetricError(MetricError::NoValue) => format!("metric {name}: no value"),
        Reason::MetricError(MetricError::Failed(said)) => format!("metric {name}: query failed: {said}"),
        Reason::OutOfRange { value, range } => {
            let (end, limit) = match (range.min, range.max) {
                (Some(min), _) if *value < min => ("< min", min),
                (_, max) => ("> max", max.unwrap_or(f64::INFINITY)),
            };
            let [shown, by] = distance(*value, limit);
            format!("metric {name} {shown} {end} {} (by {by})", number(limit))
        }
    }
}

/// What allowed a release to advance.
pub fn proof(proof: &Proof) -> String {
    match proof {
        Proof::Checks(verdict) => self::verdict(verdict),
        Proof::Certificate(verdict) => certificate(verdict),
        Proof::WithMetrics { by, metrics } => {
            let metrics = metrics.iter().map(metric);
            let own = Some(by).filter(|by| by.checks().is_none_or(|verdict| !verdict.findings.is_empty()));
            own.map(|by| self::proof(by)).into_iter().chain(metrics).collect::<Vec<_>>().join("; ")
        }
    }
}

/// What a metric server answered, and what is allowed.
fn metric(MetricFinding { metric, value, range, .. }: &MetricFinding) -> String {
    let end = |word: &str, limit: Option<f64>| limit.map(|limit| format!("{word} {}", number(limit)));
    let limits: Vec<String> = end("min", range.min).into_iter().chain(end("max", range.max)).collect();
    let limits = if limits.is_empty() { "no limit".into() } else { limits.join(", ") };
    format!("metric {metric} {} ({limits})", number(*value))
}

/// What a step's requests prove, guard by guard.
pub fn certificate(verdict: &CertificateVerdict) -> String {
    if verdict.requests() == 0 {
        return "no canary request on this step".into();
    }
    let of = |finding: &CertificateFinding| {
        let EventCount { events, trials } = finding.canary;
        let is_certified = finding.ln_e >= verdict.ln_needed;
        let what = if is_certified { "certified" } else { "not certified" };
        format!("{} {what}: {} ({events} of {trials})", finding.rule.name().name(), certified(&finding.rule))
    };
    verdict.findings.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// The guard that forced a verdict, with its numbers: estimate, limit, counts, evidence.
pub fn guards(verdict: &GuardsVerdict) -> String {
    let forcing = verdict.tripped.map(|(_, name)| name);
    if let (Some(GuardName::SampleRatio), Some(ratio)) = (forcing, &verdict.ratio) {
        return sample_ratio(ratio);
    }
    let finding = verdict.findings.iter().find(|finding| Some(finding.guard.rule.name()) == forcing);
    let Some(finding) = finding else { return "no guard has tripped".into() };
    let GuardFinding { guard, ln_e, canary, primary, .. } = finding;
    let share = |count: EventCount| {
        let EventCount { events, trials } = count;
        format!("{events} of {trials} ({} %)", number(count.percent().unwrap_or_default()))
    };
    format!(
        "guard {} ({}): canary {}, primary {}; less than a 1-in-{} chance for a canary within the limit",
        guard.rule.name().name(),
        rule(&guard.rule),
        share(*canary),
        share(*primary),
        number(libm::exp(*ln_e).min(1e12).floor()),
    )
}

/// The canary's share, when it is not what the weight says.
fn sample_ratio(ratio: &RatioFinding) -> String {
    format!(
        "guard sampleRatio: the canary got {} of {} requests, the weight means {}; less than a 1-in-{} chance where requests \
         follow the weight. This puts the evidence in doubt, not the canary: look for proxies or routes that place requests \
         by other rules",
        ratio.canary,
        ratio.all,
        number(ratio.expected.round()),
        number(libm::exp(ratio.ln_e).min(1e12).floor()),
    )
}

/// What forced a verdict: the failed checks if any failed, else those without data, else all.
pub fn verdict(verdict: &ChecksVerdict) -> String {
    let forcing = verdict.findings.iter().filter(|finding| finding.answer == verdict.answer);
    let lines: Vec<String> = forcing.map(finding).collect();
    if lines.is_empty() { "no checks configured".into() } else { lines.join("; ") }
}

/// One check's numbers: value, limit, by how much, from how many requests.
pub fn finding(finding: &CheckFinding) -> String {
    let CheckFinding { check, value, range, requests, window, .. } = finding;
    let name = label(check, finding.metric);
    let Some(value) = *value else {
        let what = if *requests > 0 { "none of the requests" } else { "no requests" };
        let timed = if *requests > 0 { " has a latency" } else { "" };
        return format!("{name}: {what} of this step{timed} in the last {}", span(*window));
    };
    let unit = unit(finding.metric);
    let from = format!("{} in {}", counted(*requests, "request", "requests"), span(*window));
    let limit = |word: &str, limit: f64| format!("{word} {} {unit}", number(limit));
    match (finding.answer, range.min, range.max) {
        (CheckResult::Fail, Some(min), _) if value < min => {
            let [shown, by] = distance(value, min);
            format!("{name} {shown} {unit} < {} (by {by}; {from})", limit("min", min))
        }
        (CheckResult::Fail, _, Some(max)) => {
            let [shown, by] = distance(value, max);
            format!("{name} {shown} {unit} > {} (by {by}; {from})", limit("max", max))
        }
        (_, min, max) => {
            let limits: Vec<String> =
                min.map(|min| limit("min", min)).into_iter().chain(max.map(|max| limit("max", max))).collect();
            let limits = if limits.is_empty() { "no limit".into() } else { limits.join(", ") };
            format!("{name} {} {unit} ({limits}; {from})", number(value))
        }
    }
}

/// A metric as people call it: p95 where it is a quantile.
pub fn label(name: &str, metric: Metric) -> String {
    match metric {
        Metric::SuccessRate => name.to_owned(),
        Metric::Duration { quantile } => format!("{name} p{}", rounded(quantile * 100.0, 5)),
    }
}

/// The unit of a metric's values.
pub const fn unit(metric: Metric) -> &'static str {
    match metric {
        Metric::SuccessRate => "%",
        Metric::Duration { .. } => "ms",
    }
}

/// At most two decimals, none that say nothing.
pub fn number(value: f64) -> String {
    rounded(value, 2)
}

/// A span as people write it.
pub fn span(span: Millis) -> String {
    match span.0 {
        ms if ms < 1000 || ms % 1000 != 0 => format!("{ms} ms"),
        ms if ms < 120_000 => format!("{} s", ms / 1000),
        ms if ms < 7_200_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000).replace(" 0 s", ""),
        ms => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000).replace(" 0 min", ""),
    }
}

/// A value and how far it is from a limit, with as many decimals as it takes to tell the two apart.
fn distance(value: f64, limit: f64) -> [String; 2] {
    let is_seen = |decimals: &usize| rounded(value, *decimals) != rounded(limit, *decimals);
    let decimals = (2..9).find(is_seen).unwrap_or(9);
    [rounded(value, decimals), rounded((value - limit).abs(), decimals)]
}

fn rounded(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
