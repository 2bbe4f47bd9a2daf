//! The way of a release, stage by stage: every strategy is a list of them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Plan, Strategy};
use crate::base::time::Millis;
use crate::routing::table::WeightPpm;

/// What one step of a plan has besides its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// It is not left sooner.
    pub dwell: Millis,
    /// A person must resume it.
    pub pause: bool,
}

/// How long a phase may last before the release is aborted; none: without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// Waiting for the approval to begin.
    pub waiting: Option<Millis>,
    /// From the first traffic (or the last resume) to promotion, or to waiting for its approval.
    pub progressing: Option<Millis>,
    /// Waiting for the approval to promote.
    pub waiting_promotion: Option<Millis>,
    /// Until the primary runs the new version and has its traffic back.
    pub promoting: Option<Millis>,
}

/// What follows by itself when the primary fails and the canary does not. Holding and telling people always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnPrimaryFailure {
    /// The canary keeps its share.
    #[default]
    Hold,
    /// A proven canary takes all traffic.
    Shift,
}

/// What a release does besides climbing its weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Course {
    /// By step, the first first; steps beyond have nothing special.
    pub stops: Vec<Stop>,
    /// Share of the primary's requests that the canary gets a copy of before its first live ones (with iterations: during
    /// them); copies' answers are thrown away.
    pub mirror: Option<WeightPpm>,
    /// Traffic returns to the primary by this share at each interval, rather than at once.
    pub promotion_step: Option<WeightPpm>,
    /// All traffic stays on the proven version for so long, judged, with the former primary ready, before it is promoted.
    pub bake: Option<Millis>,
    /// Promote without analysis.
    pub skip_analysis: bool,
    /// Nothing begins, and what runs stands still (it is still judged, and may be aborted).
    pub suspend: bool,
    /// How long phases may last.
    pub deadlines: Deadlines,
    /// What follows by itself when the primary fails.
    #[serde(default)]
    pub on_primary_failure: OnPrimaryFailure,
}

/// Where traffic goes at one step, and what that step asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The canary's share of what no rule places.
    pub weight: WeightPpm,
    /// Share of the primary's requests that it gets a copy of.
    pub mirror: WeightPpm,
    /// It is not left sooner.
    pub dwell: Millis,
    /// A person must resume it.
    pub pause: bool,
    /// Whether the promotion must be approved before it, and is approved thereby: it gives all traffic to the canary.
    pub needs_approval: bool,
}

impl Plan {
    /// Where traffic goes at a step, 0 being before the first: nothing to the canary.
    ///
    /// Every strategy is a list of stages: [mirror] weights… [bake]; iterations with match rules…; or iterations without
    /// live traffic (blue/green), then all of it, once more checked.
    pub fn stage(&self, step: usize) -> Stage {
        let Some(place) = step.checked_sub(1) else { return Stage::default() };
        let dwell = self.course.bake.unwrap_or_default();
        let baking = Stage { weight: WeightPpm::WHOLE, dwell, needs_approval: true, ..Stage::default() };
        let mirror = self.course.mirror.unwrap_or_default();
        match &self.strategy {
            Strategy::Steps(weights) => {
                let lead = usize::from(self.course.mirror.is_some());
                if place < lead {
                    return Stage { mirror, ..Stage::default() };
                }
                let Stop { dwell, pause } = self.course.stops.get(place - lead).copied().unwrap_or_default();
                let weight = weights.get(place - lead).copied();
                weight.map_or(baking, |weight| Stage { weight, dwell, pause, ..Stage::default() })
            }
            Strategy::Iterations(count) => match place.cmp(&count_of(*count)) {
                Ordering::Less => Stage { mirror, ..Stage::default() },
                Ordering::Equal | Ordering::Greater => baking,
            },
        }
    }

    /// The greatest share that the canary can get: all, or its lane where several versions share the traffic.
    pub fn most(&self) -> WeightPpm {
        self.scope.of_all(WeightPpm::WHOLE)
    }

    /// How many stages there are.
    pub fn last_step(&self) -> usize {
        let bake = usize::from(self.course.bake.is_some() && !self.switches());
        match &self.strategy {
            Strategy::Steps(weights) => usize::from(self.course.mirror.is_some()) + weights.len() + bake,
            Strategy::Iterations(count) => count_of(*count) + usize::from(self.switches()) + bake,
        }
    }

    /// Whether nothing may begin or advance.
    pub const fn is_suspended(&self) -> bool {
        self.0.course.suspend
    }

    /// Blue/green: no request by rule or weight until all of them are switched at once.
    pub fn switches(&self) -> bool {
        matches!(self.strategy, Strategy::Iterations(_)) && self.rules.is_empty()
    }

    /// Whether users' requests, or copies of them, reach the canary at a step; without them there is nothing to judge.
    pub fn is_live(&self, step: usize) -> bool {
        let Stage { weight, mirror, .. } = self.stage(step);
        step > 0 && (weight > WeightPpm::ZERO || mirror > WeightPpm::ZERO || !self.rules.is_empty())
    }

    /// The strategy's name, as Flagger's metrics have it.
    pub fn strategy_name(&self) -> &'static str {
        match self.strategy {
            Strategy::Steps(_) => "canary",
            Strategy::Iterations(_) if self.switches() => "blue-green",
            Strategy::Iterations(_) => "ab-testing",
        }
    }
}

fn count_of(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
