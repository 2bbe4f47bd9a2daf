//! The guards of a release: what the operator set, and what they say together.
//!
//! They share one alpha for the whole release by a weighted mean of their e-values (docs/statistics.md, section 7).
//! Whether the canary gets the share it should is judged apart: if not, the evidence is suspect, not the canary (section
//! 5).

use serde::{Deserialize, Serialize};

use crate::base::time::Micros;
use crate::judgement::latency_baseline::Tracking;
use crate::judgement::sample_ratio::{Ratio, RatioFinding, SampleRatio};
use crate::judgement::sequential::Sequential;
use crate::statistics::boundary::any_of;
use crate::worker::tally::PerVersion;

pub use crate::judgement::guard_rule::{EventCount, GuardAction, GuardName, GuardRule};

/// A rule with what follows when it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// What is held against the canary.
    pub rule: GuardRule,
    /// What follows.
    pub action: GuardAction,
}

/// All guards of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guards {
    /// In the order in which they are shown.
    pub guards: Vec<Guard>,
    /// The bound on a false abort over the whole release, however often one looks.
    pub alpha: f64,
    /// Most failures that are one event: retries of one call, requests of one user.
    pub max_cluster: u32,
    /// Whether the canary gets its share; `None` where the choice is not made for each request.
    pub sample_ratio: Option<SampleRatio>,
}

/// What one guard says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardFinding {
    /// The guard.
    pub guard: Guard,
    /// ln e-value against the canary.
    pub ln_e: f64,
    /// The canary's requests in this release that speak against it, and all that could.
    pub canary: EventCount,
    /// The primary's, for comparison.
    pub primary: EventCount,
}

/// What all guards say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardsVerdict {
    /// Each guard.
    pub findings: Vec<GuardFinding>,
    /// ln of what the sum of shares must reach: ln(1/alpha).
    pub ln_needed: f64,
    /// The canary's share of what the weight placed, if that is judged.
    pub ratio: Option<RatioFinding>,
    /// The gravest action whose guards together reached it, and the guard that contributed most.
    pub tripped: Option<(GuardAction, GuardName)>,
}

impl Guards {
    /// Tests that have seen nothing.
    pub fn begin(&self) -> Sequential {
        Sequential::new(self.guards.iter().flat_map(|guard| guard.rule.tests()).collect(), self.max_cluster)
    }

    /// The latency above which a request is slow, if any guard asks.
    pub fn latency_limit(&self) -> Option<Micros> {
        self.guards.iter().find_map(|guard| match guard.rule {
            GuardRule::Latency { limit, .. } => Some(limit),
            GuardRule::Slo { .. } | GuardRule::Regression { .. } | GuardRule::LatencyRegression { .. } => None,
        })
    }

    /// What must be measured of each slot's latencies besides the limit.
    pub fn tracking(&self) -> Option<Tracking> {
        self.guards.iter().find_map(|guard| match guard.rule {
            GuardRule::LatencyRegression { margin, floor_latency, .. } => Some(Tracking { margin, floor_latency }),
            GuardRule::Slo { .. } | GuardRule::Regression { .. } | GuardRule::Latency { .. } => None,
        })
    }

    /// Whether there is anything to look at.
    pub const fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.sample_ratio.is_none()
    }

    /// What the evidence says now; `seen` are the release's counts, for people; `ratio` what the weight placed.
    pub fn look(&self, sequential: &Sequential, seen: &PerVersion, ratio: &Ratio) -> GuardsVerdict {
        let ln_e = sequential.look();
        let mut next = ln_e.iter().copied();
        let findings: Vec<GuardFinding> = self
            .guards
            .iter()
            .map(|guard| {
                let of_guard: Vec<f64> = next.by_ref().take(guard.rule.tests().len()).collect();
                let (canary, primary) = (guard.rule.of(&seen.canary), guard.rule.of(&seen.primary));
                GuardFinding { guard: *guard, ln_e: guard.rule.combine(&of_guard), canary, primary }
            })
            .collect();
        let ln_needed = -libm::log(self.alpha);
        let ratio = self.sample_ratio.as_ref().map(|rule| ratio.check_sample_ratio(rule));
        let suspect = |action| ratio.as_ref().is_some_and(|found| found.is_tripped() && found.action == action);
        let tripped = [GuardAction::Abort, GuardAction::Pause, GuardAction::Notify].into_iter().find_map(|action| {
            let guard = tripped_guard(&findings, action, ln_needed);
            Some((action, guard.or_else(|| suspect(action).then_some(GuardName::SampleRatio))?))
        });
        GuardsVerdict { findings, ln_needed, ratio, tripped }
    }
}

impl GuardsVerdict {
    /// How far the evidence has come toward an abort, 0 to 1: its ln against what is needed.
    pub fn toward_abort(&self) -> f64 {
        let share = 1.0 / self.findings.len().max(1) as f64;
        let cutting = self.findings.iter().filter(|finding| finding.guard.action == GuardAction::Abort);
        let weighted: Vec<(f64, f64)> = cutting.map(|finding| (share, finding.ln_e)).collect();
        // With nothing seen the mean of the e-values is below 1 when some guards do not abort.
        (any_of(&weighted) / self.ln_needed).clamp(0.0, 1.0)
    }
}

/// The guard that contributed most, if those with this action together reach what is needed. Each guard has an equal share
/// of alpha, whatever its action.
fn tripped_guard(findings: &[GuardFinding], action: GuardAction, ln_needed: f64) -> Option<GuardName> {
    let share = 1.0 / findings.len() as f64;
    let of_action: Vec<&GuardFinding> = findings.iter().filter(|finding| finding.guard.action == action).collect();
    let weighted: Vec<(f64, f64)> = of_action.iter().map(|finding| (share, finding.ln_e)).collect();
    if weighted.is_empty() || any_of(&weighted) < ln_needed {
        return None;
    }
    of_action.into_iter().max_by(|a, b| a.ln_e.total_cmp(&b.ln_e)).map(|finding| finding.guard.rule.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::sequential::{Observed, ObservedSlot, SlotKey};
    use crate::routing::table::Epoch;
    use crate::worker::tally::Slot;

    fn guards(action: GuardAction) -> Guards {
        let guard = |rule| Guard { rule, action };
        Guards {
            guards: vec![
                guard(GuardRule::Slo { limit: 0.01, unless_primary_also: false }),
                guard(GuardRule::Regression { margin: 1.5, floor_rate: 0.005 }),
                guard(GuardRule::Latency { limit: Micros(500_000), share: 0.05, unless_primary_also: false }),
            ],
            alpha: 0.01,
            max_cluster: 1,
            sample_ratio: None,
        }
    }

    fn verdict(guards: &Guards, canary: Observed, primary: Observed, slots: u32) -> GuardsVerdict {
        let mut tests = guards.begin();
        for number in 0..slots {
            let key = SlotKey { epoch: Epoch(1), slot: Slot(number) };
            tests.open(key, false);
            tests.observe(key, ObservedSlot { canary, primary, ..ObservedSlot::NOTHING }, true);
        }
        guards.look(&tests, &PerVersion::default(), &Ratio::default())
    }

    const fn seen(started: u64, failed: u64, slow: u64) -> Observed {
        Observed { started, failed, timed: started, slow, ..Observed::NOTHING }
    }

    #[test]
    fn a_total_failure_trips_within_a_few_requests_and_names_its_guard() {
        let verdict = verdict(&guards(GuardAction::Abort), seen(4, 4, 4), seen(36, 0, 0), 1);
        assert_eq!(verdict.tripped, Some((GuardAction::Abort, GuardName::Slo)));
    }

    #[test]
    fn a_slow_canary_trips_the_latency_guard() {
        let verdict = verdict(&guards(GuardAction::Pause), seen(10, 0, 3), seen(90, 0, 0), 4);
        assert_eq!(verdict.tripped, Some((GuardAction::Pause, GuardName::Latency)));
    }

    #[test]
    fn a_healthy_one_trips_nothing() {
        assert_eq!(verdict(&guards(GuardAction::Abort), seen(10, 0, 0), seen(90, 1, 2), 500).tripped, None);
    }

    #[test]
    fn a_shared_outage_is_forgiven_where_that_is_configured() {
        let outage = |unless_primary_also| {
            let rule = GuardRule::Slo { limit: 0.01, unless_primary_also };
            let guards = Guards {
                guards: vec![Guard { rule, action: GuardAction::Abort }],
                alpha: 0.01,
                max_cluster: 1,
                sample_ratio: None,
            };
            verdict(&guards, seen(10, 5, 5), seen(90, 45, 45), 5).tripped
        };
        assert_eq!(outage(false), Some((GuardAction::Abort, GuardName::Slo)));
        assert_eq!(outage(true), None);
    }
}
