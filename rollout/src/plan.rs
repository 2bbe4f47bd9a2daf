//! The operator's intent, in a form that cannot be held invalid.
//!
//! A [`Spec`] is what was written, with types but without promises; a [`Plan`] is a spec that kept every rule below.
//! Whoever has a `Plan` need not check it again.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::gates::Gates;
use crate::matching::MatchRule;
use crate::names::{CanaryId, Upstream};
use crate::table::{Scope, StickyKey, WeightPpm};
use crate::time::Millis;

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

/// Whom to tell that the primary must be brought to the new version, and wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Name in messages.
    pub name: String,
    /// Where to POST.
    pub url: String,
    /// How long one call may take.
    pub timeout: Millis,
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
    /// What may cut the canary at any moment, beside the checks; none without success rate or duration checks.
    pub gates: Gates,
    /// How a proven version becomes the primary.
    pub promotion: Promotion,
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
        let mut broken = Rules::default();
        broken.routing(&spec);
        broken.strategy(&spec.strategy);
        broken.timing(&spec);
        spec.checks.iter().enumerate().for_each(|(n, check)| broken.check(n, check));
        if broken.0.is_empty() { Ok(Self(spec)) } else { Err(broken.0) }
    }

    /// The canary's share at a step, 0 being before the first: no traffic.
    pub fn weight_at(&self, step: usize) -> WeightPpm {
        match &self.strategy {
            Strategy::Steps(weights) => {
                step.checked_sub(1).and_then(|n| weights.get(n)).copied().unwrap_or(WeightPpm::ZERO)
            }
            Strategy::Iterations(_) => WeightPpm::ZERO,
        }
    }

    /// How many checks must pass from the first traffic to promotion.
    pub fn last_step(&self) -> usize {
        match &self.strategy {
            Strategy::Steps(weights) => weights.len(),
            Strategy::Iterations(count) => usize::try_from(*count).unwrap_or(usize::MAX),
        }
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

#[derive(Default)]
struct Rules(Vec<PlanError>);

impl Rules {
    fn broken(&mut self, field: impl Into<String>, value: impl std::fmt::Display, rule: impl Into<String>) {
        self.0.push(PlanError { field: field.into(), value: value.to_string(), rule: rule.into() });
    }

    fn routing(&mut self, spec: &Spec) {
        if spec.primary == spec.canary {
            self.broken(
                "spec.upstreams.canary",
                &spec.canary,
                "is also the primary; the two must be different upstreams",
            );
        }
        if spec.scope.hosts.is_empty() {
            self.broken("spec.service.hosts", "[]", "is empty; without it the service's own names are used");
        }
        if !spec.scope.path_prefix.starts_with('/') {
            self.broken("spec.service.match", &spec.scope.path_prefix, "must begin with /");
        }
        for (length, field) in [
            (spec.scope.hosts.len(), "spec.service.hosts"),
            (spec.rules.len(), "spec.analysis.match"),
            (spec.checks.len(), "spec.analysis.metrics"),
        ] {
            if length > MAX_ITEMS {
                self.broken(field, length, format!("items are too many; at most {MAX_ITEMS}"));
            }
        }
        for (n, rule) in spec.rules.iter().enumerate().filter(|(_, rule)| rule.is_empty()) {
            let _ = rule;
            self.broken(format!("spec.analysis.match[{n}]"), "{}", "has no condition and would match every request");
        }
    }

    fn strategy(&mut self, strategy: &Strategy) {
        match strategy {
            Strategy::Steps(weights) => self.weights(weights),
            Strategy::Iterations(0) => {
                self.broken("spec.analysis.iterations", 0, "must be at least 1");
            }
            Strategy::Iterations(_) => {}
        }
    }

    fn weights(&mut self, weights: &[WeightPpm]) {
        const FIELD: &str = "spec.analysis.stepWeights";
        if weights.is_empty() || weights.len() > MAX_ITEMS {
            self.broken(FIELD, weights.len(), format!("items; there must be 1 to {MAX_ITEMS}"));
        }
        let mut last = WeightPpm::ZERO;
        for (n, weight) in weights.iter().enumerate() {
            if *weight <= last {
                let rule = "must be greater than the step before it (and the first greater than 0)";
                self.broken(format!("{FIELD}[{n}]"), weight.percent(), rule);
            }
            last = *weight;
        }
    }

    fn timing(&mut self, spec: &Spec) {
        self.span("spec.analysis.interval", spec.interval);
        if spec.threshold == 0 {
            self.broken("spec.analysis.threshold", 0, "must be at least 1: the failed check of this number rolls back");
        }
        if let Promotion::Copy { hook: Some(hook) } = &spec.promotion {
            if hook.timeout == Millis(0) || hook.timeout > MAX_INTERVAL {
                self.broken("spec.promotion.hook.timeout", millis(hook.timeout), "must be from 1ms to 24h");
            }
            if !(hook.url.starts_with("http://") || hook.url.starts_with("https://")) {
                self.broken("spec.promotion.hook.url", &hook.url, "must begin with http:// or https://");
            }
        }
    }

    fn check(&mut self, n: usize, check: &Check) {
        let field = format!("spec.analysis.metrics[{n}]");
        self.span(&format!("{field}.interval"), check.window);
        let ThresholdRange { min, max } = check.range;
        for (end, value) in [("min", min), ("max", max)] {
            let Some(value) = value else { continue };
            let (low, high) = match check.metric {
                Metric::SuccessRate => (0.0, 100.0),
                Metric::Duration { .. } => (0.0, 86_400_000.0),
            };
            if !(low..=high).contains(&value) {
                self.broken(format!("{field}.thresholdRange.{end}"), value, format!("must be from {low} to {high}"));
            }
        }
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.broken(format!("{field}.thresholdRange.min"), min, format!("is greater than max, {max}"));
        }
        if let Metric::Duration { quantile } = check.metric
            && !(quantile > 0.0 && quantile < 1.0)
        {
            self.broken(format!("{field}.quantile"), quantile, "must lie between 0 and 1, both excluded");
        }
    }

    fn span(&mut self, field: &str, span: Millis) {
        if span < MIN_INTERVAL || span > MAX_INTERVAL {
            self.broken(field, millis(span), "must be from 1s to 24h");
        }
    }
}

fn millis(span: Millis) -> String {
    if span.0.is_multiple_of(1000) { format!("{}s", span.0 / 1000) } else { format!("{}ms", span.0) }
}

#[cfg(test)]
pub(crate) mod tests;
