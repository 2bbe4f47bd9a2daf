//! The operator's intent, in a form that cannot be held invalid.
//!
//! A [`Spec`] is what was written, with types but without promises; a [`Plan`] is a spec that kept every rule below.
//! Code that has a `Plan` need not check it again.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::names::{CanaryId, Upstream};
use crate::base::time::Millis;
use crate::judgement::certificate::Certificate;
use crate::judgement::guards::Guards;
use crate::release::integrations::{Alert, Hook, HookKind, Provider};
use crate::routing::measurement::Measurement;
use crate::routing::request::MatchRule;
use crate::routing::table::{Scope, StickyKey, WeightPpm};

mod course;
mod rules;
mod stripped;

pub use course::{Course, Deadlines, OnPrimaryFailure, Stage, Stop};
pub(crate) use stripped::scheme_and_host;

/// Shortest interval and window. Flagger's floor is 10 s because it scrapes; we do not.
pub const MIN_INTERVAL: Millis = Millis(1_000);
/// Longest interval, window and timeout: one day.
pub const MAX_INTERVAL: Millis = Millis(86_400_000);
/// Most items of any list in a plan.
pub const MAX_ITEMS: usize = 256;

/// Which kind of manifest it came from; it decides how a release advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Flavour {
    /// `flagger.app/v1beta1`: Flagger's semantics.
    Flagger,
    /// `serin.dev/v1alpha1`: the superset.
    Serin,
}

/// How traffic is given to the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// Weights in order; each is left after a check that passed.
    Steps(Vec<WeightPpm>),
    /// No share by weight, only what the match rules place; promoted after so many passed checks.
    Iterations(u32),
}

/// What a step is left after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Advance {
    /// A check at each interval that passed: Flagger's way.
    Interval,
    /// Its own requests have proven it; looked at after every report. Checks are not made.
    Certificate(Certificate),
}

impl Advance {
    /// Its name in manifests.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Certificate(_) => "certificate",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// `request-success-rate`: good answers in percent of all that count, 0 to 100.
    SuccessRate,
    /// `request-duration`: a quantile (0 to 1) of latency in milliseconds.
    Duration {
        /// 0.95 unless the manifest chooses another.
        quantile: f64,
    },
}

/// The values a metric may take; both ends included, as in Flagger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRange {
    /// Least good value.
    pub min: Option<f64>,
    /// Greatest good value.
    pub max: Option<f64>,
}

impl ThresholdRange {
    /// Whether a value is good.
    pub fn contains(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// One threshold check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The metric's name in the manifest.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// Over how long a time up to now.
    pub window: Millis,
    /// What is good.
    pub range: ThresholdRange,
}

/// A metric that is not measured in the proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalMetric {
    /// Its name in the plan.
    pub name: String,
    /// Who is asked.
    pub provider: Provider,
    /// What, ready to be sent: the template with its variables filled in.
    pub query: String,
    /// Over how long a time up to now.
    pub window: Millis,
    /// What is good.
    pub range: ThresholdRange,
}

/// Who outside the proxies is asked and notified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outside {
    /// Hooks, in the manifest's order.
    pub hooks: Vec<Hook>,
    /// Metrics of other servers, looked at together with the hooks of each check.
    pub metrics: Vec<ExternalMetric>,
    /// So many checks in a release may find a metric server blind; one more rolls back. Counted apart from failed checks.
    pub blind_limit: u32,
    /// Who is notified of what happens.
    pub alerts: Vec<Alert>,
}

impl Outside {
    /// Whether any hook has this kind.
    pub fn has(&self, kind: HookKind) -> bool {
        self.hooks.iter().any(|hook| hook.kind == kind)
    }
}

/// How a proven version becomes the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Promotion {
    /// The primary upstream is brought to the new version while the weight stays; then traffic returns to it.
    Copy {
        /// Who does it; without one `serin confirm` ends the wait.
        hook: Option<Hook>,
    },
    /// The roles change; nothing is deployed again.
    Swap,
}

/// A check, hook or gate that this build cannot honour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsupported {
    /// Path in the manifest: `spec.analysis.webhooks[0]`.
    pub field: String,
    /// What it is and why it cannot be honoured.
    pub what: String,
}

/// What was written, typed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Whose plan.
    pub id: CanaryId,
    /// Kind of manifest.
    pub flavour: Flavour,
    /// Which traffic.
    pub scope: Scope,
    /// Upstream that begins as primary.
    pub primary: Upstream,
    /// Upstream that begins as canary.
    pub canary: Upstream,
    /// Who is sent to the canary whatever the weight.
    pub rules: Vec<MatchRule>,
    /// What keeps a user on one side.
    pub sticky: Option<StickyKey>,
    /// How traffic is given.
    pub strategy: Strategy,
    /// Time between two checks.
    pub interval: Millis,
    /// The failed check of this number rolls back; failed checks are never forgiven within a release.
    pub threshold: u32,
    /// What is checked.
    pub checks: Vec<Check>,
    /// What counts as a version's time.
    pub measurement: Measurement,
    /// What may abort the release at any moment, beside the checks; none without success rate or duration checks.
    pub guards: Guards,
    /// What a step is left after.
    pub advance: Advance,
    /// How a proven version becomes the primary.
    pub promotion: Promotion,
    /// What a release does besides climbing its weights.
    pub course: Course,
    /// Who outside the proxies is asked and notified.
    pub outside: Outside,
    /// What makes its releases hold until a person accepts it.
    pub unsupported: Vec<Unsupported>,
}

/// A rule of the plan was broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {value} {rule}")]
pub struct PlanError {
    /// Path in the manifest.
    pub field: String,
    /// The offending value.
    pub value: String,
    /// The rule.
    pub rule: String,
}

/// A spec that kept every rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Spec", into = "Spec")]
pub struct Plan(Spec);

impl Plan {
    /// Checks every rule and reports all that are broken, not only the first.
    ///
    /// # Errors
    /// With at least one broken rule.
    pub fn new(spec: Spec) -> Result<Self, Vec<PlanError>> {
        let broken = rules::broken(&spec);
        if broken.is_empty() { Ok(Self(spec)) } else { Err(broken) }
    }

    /// A short name of exactly this plan, for people and pipelines to compare: two manifests with the same one mean the same.
    pub fn hash(&self) -> String {
        // FNV-1a: whoever can write one manifest need not find another with its hash.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", format!("{:?}", self.0).bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// The longest window that any check looks at.
    pub fn longest_window(&self) -> Millis {
        self.checks.iter().map(|check| check.window).max().unwrap_or(self.interval)
    }
}

impl Deref for Plan {
    type Target = Spec;
    fn deref(&self) -> &Spec {
        &self.0
    }
}

impl From<Plan> for Spec {
    fn from(plan: Plan) -> Self {
        plan.0
    }
}

impl TryFrom<Spec> for Plan {
    type Error = PlanError;
    fn try_from(spec: Spec) -> Result<Self, PlanError> {
        let nothing = || PlanError { field: "spec".into(), value: String::new(), rule: "is not valid".into() };
        Self::new(spec).map_err(|broken| broken.into_iter().next().unwrap_or_else(nothing))
    }
}

/// The weights that `stepWeight` and `maxWeight` mean, in percent: multiples of the step until the maximum is reached.
/// The last may overshoot (20, 40, 60 for a maximum of 50), as in Flagger, but never 100.
pub fn linear_steps(step_percent: f64, max_percent: f64) -> Vec<f64> {
    let mut steps = Vec::new();
    if step_percent <= 0.0 {
        return steps;
    }
    while steps.len() < MAX_ITEMS {
        let next = ((steps.len() + 1) as f64 * step_percent).min(100.0);
        steps.push(next);
        if next >= max_percent.min(100.0) {
            break;
        }
    }
    steps
}

#[cfg(test)]
pub(crate) mod tests;
