//! The guards of a release: what the operator set, and what they say together.
//!
//! Those that abort share one alpha for the whole release by a weighted mean of their e-values (docs/statistics.md, section
//! 7); those that find fault with a canary within its limits have an alpha each. Whether the canary gets the share it
//! should is judged apart: if not, the evidence is suspect, not the canary (section 5).

use serde::{Deserialize, Serialize};

use crate::base::time::Micros;
use crate::judgement::latency_baseline::Tracking;
use crate::judgement::sample_ratio::{Ratio, RatioFinding, SampleRatio};
use crate::judgement::sequential::Sequential;
use crate::statistics::boundary::any_of;
use crate::worker::tally::PerVersion;

pub use crate::judgement::guard_rule::{EventCount, Forgiveness, GuardAction, GuardName, GuardRule};

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
    /// ln of what it must reach to trip alone.
    pub ln_needed: f64,
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
    /// How far the evidence has come toward an abort, 0 to 1: its ln against what is needed.
    pub toward_abort: f64,
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
            _ => None,
        })
    }

    /// What must be measured of each slot's latencies besides the limit.
    pub fn tracking(&self) -> Option<Tracking> {
        self.guards.iter().find_map(|guard| match guard.rule {
            GuardRule::LatencyRegression { margin, floor_latency, .. } => Some(Tracking { margin, floor_latency }),
            _ => None,
        })
    }

    /// Whether there is anything to look at.
    pub const fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.sample_ratio.is_none()
    }

    /// What the evidence says now; `seen` are the release's counts, for people; `ratio` what the weight placed.
    pub fn look(&self, sequential: &Sequential, seen: &PerVersion, ratio: &Ratio) -> GuardsVerdict {
        let looks = sequential.looks().into_iter().map(|look| self.findings(&look, seen));
        // What no single moment shows, none shows.
        let nearest = |a: &Vec<GuardFinding>, b: &Vec<GuardFinding>| self.progress(a).total_cmp(&self.progress(b));
        let findings = looks.max_by(nearest).unwrap_or_default();
        let ratio = self.sample_ratio.as_ref().map(|rule| ratio.check_sample_ratio(rule));
        let suspect = |action| ratio.as_ref().is_some_and(|found| found.is_tripped() && found.action == action);
        let tripped = ACTIONS.into_iter().find_map(|action| {
            let guard = self.tripped_guard(&findings, action);
            Some((action, guard.or_else(|| suspect(action).then_some(GuardName::SampleRatio))?))
        });
        let toward_abort = self.toward(&findings, GuardAction::Abort).clamp(0.0, 1.0);
        GuardsVerdict { findings, toward_abort, ratio, tripped }
    }

    /// What each guard says at one moment, given what its tests do.
    fn findings(&self, look: &[f64], seen: &PerVersion) -> Vec<GuardFinding> {
        let mut next = look.iter().copied();
        let finding = |guard: &Guard| {
            let of_guard: Vec<f64> = next.by_ref().take(guard.rule.tests().len()).collect();
            GuardFinding {
                guard: *guard,
                ln_e: guard.rule.combine(&of_guard),
                ln_needed: self.ln_needed(guard),
                canary: guard.rule.of(&seen.canary),
                primary: guard.rule.of(&seen.primary),
            }
        };
        self.guards.iter().map(finding).collect()
    }

    /// Guards that divide the alpha of an abort.
    fn sharing(&self) -> f64 {
        self.guards.iter().filter(|guard| !guard.rule.is_advisory()).count().max(1) as f64
    }

    /// ln of what the e-value of one of its guards must reach to trip alone.
    pub fn ln_needed(&self, guard: &Guard) -> f64 {
        if guard.rule.is_advisory() { -libm::log(ADVISORY_ALPHA) } else { libm::log(self.sharing() / self.alpha) }
    }

    /// How far those with this action have come, 1 where they trip: together, or one with an alpha of its own.
    fn toward(&self, findings: &[GuardFinding], action: GuardAction) -> f64 {
        let of_action = || findings.iter().filter(move |finding| finding.guard.action == action);
        let alone = of_action().filter(|finding| finding.guard.rule.is_advisory());
        let alone = alone.map(|finding| finding.ln_e / finding.ln_needed).fold(0.0, f64::max);
        let share = 1.0 / self.sharing();
        let shared = of_action().filter(|finding| !finding.guard.rule.is_advisory());
        let shared: Vec<(f64, f64)> = shared.map(|finding| (share, finding.ln_e)).collect();
        if shared.is_empty() { alone } else { alone.max(any_of(&shared) / -libm::log(self.alpha)) }
    }

    /// By what a moment is chosen: whoever would trip at it, and how near the others are.
    fn progress(&self, findings: &[GuardFinding]) -> f64 {
        let actions = ACTIONS.into_iter().zip([4.0, 2.0, 1.0]);
        actions.map(|(action, rank)| rank * f64::from(self.toward(findings, action) >= 1.0)).sum::<f64>()
            + self.toward(findings, GuardAction::Abort).clamp(0.0, 1.0) / 2.0
    }

    /// The guard that contributed most, if those with this action trip.
    fn tripped_guard(&self, findings: &[GuardFinding], action: GuardAction) -> Option<GuardName> {
        if self.toward(findings, action) < 1.0 {
            return None;
        }
        let of_action = findings.iter().filter(|finding| finding.guard.action == action);
        let by_evidence = |finding: &&GuardFinding| finding.ln_e - finding.ln_needed;
        let most = of_action.max_by(|a, b| by_evidence(a).total_cmp(&by_evidence(b)));
        most.map(|finding| finding.guard.rule.name())
    }
}

/// The gravest first.
const ACTIONS: [GuardAction; 3] = [GuardAction::Abort, GuardAction::Pause, GuardAction::Notify];
/// The bound on a false alarm, over the whole release, of each guard that does not share the abort's alpha.
const ADVISORY_ALPHA: f64 = 0.001;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::sequential::{Observed, ObservedSlot, SlotKey};
    use crate::routing::measurement::LatencyEnd;
    use crate::routing::table::Epoch;
    use crate::statistics::boundary::Allocation;
    use crate::worker::tally::Slot;

    fn guards(action: GuardAction) -> Guards {
        let guard = |rule| Guard { rule, action };
        Guards {
            guards: vec![
                guard(GuardRule::Slo { limit: 0.01, unless_primary_also: false }),
                guard(GuardRule::Regression { margin: 1.5, floor_rate: 0.005 }),
                guard(GuardRule::Latency {
                    limit: Micros(500_000),
                    share: 0.05,
                    unless_primary_also: false,
                    end: LatencyEnd::ResponseHeaders,
                }),
            ],
            alpha: 0.01,
            max_cluster: 1,
            sample_ratio: None,
        }
    }

    const TENTH: Option<Allocation> = Some(Allocation { weight: 0.1, is_drawn: true });

    fn verdict(guards: &Guards, canary: Observed, primary: Observed, slots: u32) -> GuardsVerdict {
        let mut tests = guards.begin();
        for number in 0..slots {
            let key = SlotKey { epoch: Epoch(1), slot: Slot(number) };
            tests.open(key, false);
            tests.observe(key, ObservedSlot { canary, primary, split: TENTH, ..ObservedSlot::NOTHING }, true);
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
