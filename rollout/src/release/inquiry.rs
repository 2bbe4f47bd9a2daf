//! What a release asks of hooks and metric servers, and what they reply. One question at a time; while it is open the
//! release does not move, but its guards look at every report and may abort it: only the next step waits for an answer.

use serde::{Deserialize, Serialize};

use crate::base::names::ReleaseId;
use crate::base::time::Millis;
use crate::release::integrations::{HookKind, HookTarget, MetricError};
use crate::release::plan::{Plan, ThresholdRange};
use crate::release::threshold_checks::CheckResult;

/// Why the outside is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// Whether the release may begin.
    Rollout,
    /// Whether it is ready for its first traffic.
    PreRollout,
    /// Whether the canary is good: hooks and metrics of one check.
    Check,
    /// Whether it may get more traffic.
    Increase,
    /// Whether it may be promoted.
    Promotion,
}

impl Purpose {
    /// What the answers' kind of hook is; a check also asks metrics.
    pub const fn kind(self) -> HookKind {
        match self {
            Self::Rollout => HookKind::ConfirmRollout,
            Self::PreRollout => HookKind::PreRollout,
            Self::Check => HookKind::Rollout,
            Self::Increase => HookKind::ConfirmTrafficIncrease,
            Self::Promotion => HookKind::ConfirmPromotion,
        }
    }

    /// Whether rollback hooks are asked with it: a step is not left, and no traffic begins, before they have answered.
    pub const fn asks_rollback(self) -> bool {
        matches!(self, Self::Check | Self::PreRollout)
    }

    /// All that are asked, in the plan's order.
    pub fn callees(self, plan: &Plan) -> Vec<Callee> {
        let asks = |kind| kind == self.kind() || (self.asks_rollback() && kind == HookKind::Rollback);
        let hooks = plan.outside.hooks.iter().enumerate().filter(|(_, hook)| asks(hook.kind));
        let metrics = (0..plan.outside.metrics.len()).filter(|_| self == Self::Check);
        hooks.map(|(n, _)| Callee::Hook(n)).chain(metrics.map(Callee::Metric)).collect()
    }

    /// Whether anything must be called. Stored gates are not: one that a person opens has its effect at once.
    pub fn calls(self, plan: &Plan) -> bool {
        let is_called = |callee: &Callee| match callee {
            Callee::Hook(n) | Callee::Rollback(n) => {
                plan.outside.hooks.get(*n).is_some_and(|hook| hook.target != HookTarget::Gate)
            }
            Callee::Metric(_) | Callee::Promotion => true,
        };
        self.callees(plan).iter().any(is_called)
    }
}

/// Who is asked: a place in the plan's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Callee {
    /// One of [`Outside::hooks`](crate::release::plan::Outside::hooks).
    Hook(usize),
    /// One of [`Outside::metrics`](crate::release::plan::Outside::metrics).
    Metric(usize),
    /// The hook that brings the primary to the new version.
    Promotion,
    /// A rollback hook among [`Outside::hooks`](crate::release::plan::Outside::hooks), beside whatever else is asked.
    Rollback(usize),
}

/// One call; an answer that names another round than the open one comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallId {
    /// For which release.
    pub release: ReleaseId,
    /// Which of its questions.
    pub round: u64,
    /// Who.
    pub callee: Callee,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// A hook agreed, or why not.
    Hook(Result<(), String>),
    /// A metric's value, or why there is none.
    Metric(Result<f64, MetricError>),
}

/// An open question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inquiry {
    /// Why.
    pub purpose: Purpose,
    /// Those that have not answered.
    pub open: Vec<Callee>,
    /// What objected so far, in the order of the answers; gates are looked at when all have come.
    pub refused: Vec<Objection>,
    /// When a missing answer counts as silence. The shell gives up on a call sooner; this is for calls that were lost.
    pub until: Millis,
}

/// Something that did not agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objection {
    /// The hook's, gate's or metric's name.
    pub name: String,
    /// What it said.
    pub why: Reason,
}

/// What an objection says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// A stored gate is closed.
    Closed,
    /// A hook refused, or could not be reached.
    Refused(String),
    /// A metric's value is out of its range.
    OutOfRange {
        /// The value.
        value: f64,
        /// What was allowed.
        range: ThresholdRange,
    },
    /// A metric server had no value to give.
    MetricError(MetricError),
}

/// What a metric server answered at a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricFinding {
    /// The metric's name.
    pub metric: String,
    /// The value.
    pub value: f64,
    /// What was allowed.
    pub range: ThresholdRange,
    /// The answer.
    pub answer: CheckResult,
}

/// What one of those asked answered last in a release: for people, since only objections decide anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastReply {
    /// Who.
    pub callee: Callee,
    /// When.
    pub at: Millis,
    /// What.
    pub reply: Reply,
}

impl Objection {
    /// Whether it says nothing about the canary.
    pub const fn is_blind(&self) -> bool {
        matches!(self.why, Reason::MetricError(_))
    }
}
