//! What a release asks besides its guards: threshold checks, metric servers, hooks; each with what it said last, also
//! where it agrees. Without this a person sees only what objects.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::release::inquiry::{Callee, LastReply, Reply};
use crate::release::integrations::{Hook, HookTarget, MetricError};
use crate::release::phase::{Cause, HistoryEvent, Note};
use crate::release::plan::{Advance, ExternalMetric, Promotion};
use crate::release::text;
use crate::release::threshold_checks::{self, CheckFinding, CheckResult, ChecksVerdict};

/// One threshold check on what the proxies counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckExplanation {
    /// Its name, with the quantile where it is about latency.
    pub check: String,
    /// Unit of its values: `%` or `ms`.
    pub unit: String,
    /// The canary's value; null without requests.
    pub value: Option<f64>,
    /// The primary's at the same time, for comparison only.
    pub primary_value: Option<f64>,
    /// The least good value, if there is one.
    pub min: Option<f64>,
    /// The greatest good value, if there is one.
    pub max: Option<f64>,
    /// `pass`, `fail`, or `undecided` without requests.
    pub verdict: String,
    /// Canary requests behind the value.
    pub requests: u64,
    /// Over how long a time, milliseconds.
    pub window_ms: u64,
    /// When it was looked at, Unix time in milliseconds; null: just now.
    pub at_ms: Option<u64>,
}

/// One metric of a metric server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricExplanation {
    /// Its name.
    pub metric: String,
    /// The value it had last; null without one.
    pub value: Option<f64>,
    /// The least good value, if there is one.
    pub min: Option<f64>,
    /// The greatest good value, if there is one.
    pub max: Option<f64>,
    /// `pass`, `fail`, `noValue`, or `notAsked` in this release.
    pub verdict: String,
    /// Why there is no value, where the server could not be asked.
    pub error: Option<String>,
    /// When it answered, Unix time in milliseconds.
    pub asked_at_ms: Option<u64>,
}

/// One hook that is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookExplanation {
    /// Its name.
    pub hook: String,
    /// When it is called: a hook's type, as Flagger names it.
    pub kind: String,
    /// `asked` while its answer is awaited, else what it answered last in this release: `agreed`, `refused`, or
    /// `notAsked`. Of hooks that are only informed nothing is kept.
    pub state: String,
    /// Why it refused.
    pub said: Option<String>,
    /// When it answered, Unix time in milliseconds.
    pub answered_at_ms: Option<u64>,
}

/// The checks that advance a release: as they stand now, or as they were looked at last in one that ended. None where
/// certificates advance it: the guards have the checks' limits then.
pub(super) fn checks(canary: &Canary, now: Millis) -> Vec<CheckExplanation> {
    if canary.plan.advance != Advance::Interval {
        return Vec::new();
    }
    let (verdict, at) = match canary.phase.judged() {
        Some(_) => (threshold_checks::check(&canary.plan, &canary.evidence, now), None),
        None => match last_look(canary) {
            Some((verdict, at)) => (verdict.clone(), Some(at.0)),
            None => return Vec::new(),
        },
    };
    verdict.findings.iter().map(|finding| check(finding, at)).collect()
}

fn check(finding: &CheckFinding, at_ms: Option<u64>) -> CheckExplanation {
    CheckExplanation {
        check: text::label(&finding.check, finding.metric),
        unit: text::unit(finding.metric).into(),
        value: finding.value,
        primary_value: finding.primary_value,
        min: finding.range.min,
        max: finding.range.max,
        verdict: match finding.answer {
            CheckResult::Pass => "pass",
            CheckResult::Fail => "fail",
            CheckResult::Undecided => "undecided",
        }
        .into(),
        requests: finding.requests,
        window_ms: finding.window.0,
        at_ms,
    }
}

/// The verdict of the latest release's last look.
fn last_look(canary: &Canary) -> Option<(&ChecksVerdict, Millis)> {
    let (release, _) = canary.phase.latest()?;
    let of_release = canary.history.iter().rev().filter(|event| event.release == release);
    of_release.filter_map(|event| Some((verdict_of(event)?, event.at))).next()
}

fn verdict_of(event: &HistoryEvent) -> Option<&ChecksVerdict> {
    match &event.note {
        Note::CheckFailed { verdict, .. } | Note::Aborted(Cause::Checks { verdict, .. }) => Some(verdict),
        Note::Stepped { proof: Some(proof), .. } | Note::Promoting { proof: Some(proof), .. } => proof.checks(),
        _ => None,
    }
}

/// Every metric of a metric server, in the plan's order.
pub(super) fn metrics(canary: &Canary) -> Vec<MetricExplanation> {
    let metrics = canary.plan.outside.metrics.iter().enumerate();
    metrics.map(|(n, plan)| metric(plan, last_reply(canary, Callee::Metric(n)))).collect()
}

fn metric(plan: &ExternalMetric, last: Option<&LastReply>) -> MetricExplanation {
    let result = last.and_then(|last| match &last.reply {
        Reply::Metric(result) => Some(result),
        Reply::Hook(_) => None,
    });
    let (verdict, value, error) = match result {
        None => ("notAsked", None, None),
        Some(Err(MetricError::NoValue)) => ("noValue", None, None),
        Some(Err(MetricError::Failed(said))) => ("noValue", None, Some(said.clone())),
        Some(Ok(value)) => (if plan.range.contains(*value) { "pass" } else { "fail" }, Some(*value), None),
    };
    MetricExplanation {
        metric: plan.name.clone(),
        value,
        min: plan.range.min,
        max: plan.range.max,
        verdict: verdict.into(),
        error,
        asked_at_ms: last.map(|last| last.at.0),
    }
}

/// Every hook that is called and whose answer counts, in the plan's order; stored gates are listed apart.
pub(super) fn hooks(canary: &Canary) -> Vec<HookExplanation> {
    let asked = canary.plan.outside.hooks.iter().enumerate().map(|(n, hook)| (Callee::Hook(n), hook));
    let promotion = match &canary.plan.promotion {
        Promotion::Copy { hook } => hook.as_ref(),
        Promotion::Swap => None,
    };
    let all = asked.chain(promotion.map(|hook| (Callee::Promotion, hook)));
    let called = all.filter(|(_, hook)| matches!(hook.target, HookTarget::Call(_)));
    let unanswered = canary.unanswered();
    let is_open = |callee| match callee {
        Callee::Hook(n) => unanswered.iter().any(|open| [callee, Callee::Rollback(n)].contains(open)),
        other => unanswered.contains(&other),
    };
    called.map(|(callee, plan)| hook(plan, is_open(callee), last_reply(canary, callee))).collect()
}

fn hook(plan: &Hook, is_open: bool, last: Option<&LastReply>) -> HookExplanation {
    let (state, said) = match last.map(|last| &last.reply) {
        _ if is_open => ("asked", None),
        Some(Reply::Hook(Ok(()))) => ("agreed", None),
        Some(Reply::Hook(Err(said))) => ("refused", Some(said.clone())),
        Some(Reply::Metric(_)) | None => ("notAsked", None),
    };
    HookExplanation {
        hook: plan.name.clone(),
        kind: plan.kind.name().into(),
        state: state.into(),
        said,
        answered_at_ms: last.filter(|_| !is_open).map(|last| last.at.0),
    }
}

fn last_reply(canary: &Canary, callee: Callee) -> Option<&LastReply> {
    canary.replies.iter().find(|last| last.callee == callee)
}
