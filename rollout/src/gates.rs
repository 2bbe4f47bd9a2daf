//! The gates of a release: what the operator set, which elementary tests that takes, and what they say together.
//!
//! Each gate is a formula over elementary tests: the smaller of two where both must be bad, the mean where either may be.
//! The gates share one alpha for the whole release by a weighted mean of their e-values (statistics.md, section 7).

use serde::{Deserialize, Serialize};

use crate::gate::{Boundary, all_of, any_of};
use crate::sequential::{Sequential, Signal, Test};
use crate::tally::{Counts, PerVersion};
use crate::time::Micros;

/// What a gate does when it trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Says so.
    Notify,
    /// Stops the release from advancing until a person decides.
    Pause,
    /// Cuts the canary.
    Abort,
}

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GateName {
    /// The canary's failure rate is above its objective.
    Slo,
    /// It is worse than the primary's by more than a margin, and above a floor.
    Regression,
    /// More of its requests are slow than the quantile allows.
    Latency,
}

impl Action {
    /// Its name in messages and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Pause => "pause",
            Self::Abort => "abort",
        }
    }
}

impl GateName {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slo => "slo",
            Self::Regression => "regression",
            Self::Latency => "latency",
        }
    }
}

/// What is held against the canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Rule {
    /// Failure rate above this, 0 to 1. With `unless_primary_also`, not while the primary fails as often: a shared outage.
    Slo {
        /// The greatest good failure rate.
        limit: f64,
        /// Whether a shared outage is forgiven.
        unless_primary_also: bool,
    },
    /// Failure rate more than `margin` times the primary's, and above `floor`.
    Regression {
        /// 1 or more.
        margin: f64,
        /// 0 to 1.
        floor: f64,
    },
    /// More than `share` (0 to 1) of the requests fail or take longer than `limit`.
    Latency {
        /// Longer is slow.
        limit: Micros,
        /// 0.05 for a p95.
        share: f64,
    },
}

impl Rule {
    /// Which gate this is.
    pub const fn name(&self) -> GateName {
        match self {
            Self::Slo { .. } => GateName::Slo,
            Self::Regression { .. } => GateName::Regression,
            Self::Latency { .. } => GateName::Latency,
        }
    }

    /// Events and trials among some requests.
    fn of(&self, counts: &Counts) -> (u64, u64) {
        let events = match self {
            Self::Slo { .. } | Self::Regression { .. } => counts.failed.total(),
            Self::Latency { .. } => counts.slow,
        };
        (events, counts.started.saturating_sub(counts.void))
    }

    fn tests(&self) -> Vec<Test> {
        let failed = |boundary| Test { signal: Signal::Failed, boundary };
        match *self {
            Self::Slo { limit, unless_primary_also: false } => vec![failed(Boundary::Absolute(limit))],
            Self::Slo { limit, unless_primary_also: true } => {
                vec![failed(Boundary::Absolute(limit)), failed(Boundary::Relative(1.0))]
            }
            Self::Regression { margin, floor } => {
                vec![failed(Boundary::Relative(margin)), failed(Boundary::Absolute(floor))]
            }
            Self::Latency { share, .. } => {
                vec![Test { signal: Signal::Slow, boundary: Boundary::Absolute(share) }]
            }
        }
    }
}

/// A rule with what follows when it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// What is held against the canary.
    pub rule: Rule,
    /// What follows.
    pub action: Action,
}

/// All gates of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// In the order in which they are shown.
    pub gates: Vec<Gate>,
    /// The bound on a false abort over the whole release, however often one looks.
    pub alpha: f64,
    /// Most failures that are one event: retries of one call, requests of one user.
    pub max_cluster: u32,
}

/// What one gate says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateFinding {
    /// The gate.
    pub gate: Gate,
    /// ln e-value against the canary.
    pub ln_e: f64,
    /// The canary's requests in this release that speak against it, and all that could.
    pub canary: (u64, u64),
    /// The primary's, for comparison.
    pub primary: (u64, u64),
}

/// What all gates say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatesVerdict {
    /// Each gate.
    pub findings: Vec<GateFinding>,
    /// ln of what the sum of shares must reach: ln(1/alpha).
    pub needed: f64,
    /// The gravest action whose gates together reached it, and the gate that contributed most.
    pub tripped: Option<(Action, GateName)>,
}

impl Gates {
    /// Tests that have seen nothing.
    pub fn begin(&self) -> Sequential {
        Sequential::new(self.gates.iter().flat_map(|gate| gate.rule.tests()).collect(), self.max_cluster)
    }

    /// The latency above which a request is slow, if any gate asks.
    pub fn latency_limit(&self) -> Option<Micros> {
        self.gates.iter().find_map(|gate| match gate.rule {
            Rule::Latency { limit, .. } => Some(limit),
            Rule::Slo { .. } | Rule::Regression { .. } => None,
        })
    }

    /// What the evidence says now; `seen` are the release's counts, for people.
    pub fn judge(&self, sequential: &Sequential, seen: &PerVersion) -> GatesVerdict {
        let ln_e = sequential.look();
        let mut next = ln_e.iter().copied();
        let findings: Vec<GateFinding> = self
            .gates
            .iter()
            .map(|gate| {
                let of_gate: Vec<f64> = next.by_ref().take(gate.rule.tests().len()).collect();
                let (canary, primary) = (gate.rule.of(&seen.canary), gate.rule.of(&seen.primary));
                GateFinding { gate: *gate, ln_e: all_of(&of_gate), canary, primary }
            })
            .collect();
        let needed = -libm::log(self.alpha);
        let tripped = [Action::Abort, Action::Pause, Action::Notify]
            .into_iter()
            .find_map(|action| Some((action, tripped(&findings, action, needed)?)));
        GatesVerdict { findings, needed, tripped }
    }
}

/// The gate that contributed most, if those with this action together reach what is needed. Each gate has an equal share
/// of alpha, whatever its action.
fn tripped(findings: &[GateFinding], action: Action, needed: f64) -> Option<GateName> {
    let share = 1.0 / findings.len() as f64;
    let of_action: Vec<&GateFinding> = findings.iter().filter(|finding| finding.gate.action == action).collect();
    let weighted: Vec<(f64, f64)> = of_action.iter().map(|finding| (share, finding.ln_e)).collect();
    if weighted.is_empty() || any_of(&weighted) < needed {
        return None;
    }
    of_action.into_iter().max_by(|a, b| a.ln_e.total_cmp(&b.ln_e)).map(|finding| finding.gate.rule.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential::{Observed, ObservedSlot, SlotKey};
    use crate::table::Epoch;
    use crate::tally::Slot;

    fn gates(action: Action) -> Gates {
        let gate = |rule| Gate { rule, action };
        Gates {
            gates: vec![
                gate(Rule::Slo { limit: 0.01, unless_primary_also: false }),
                gate(Rule::Regression { margin: 1.5, floor: 0.005 }),
                gate(Rule::Latency { limit: Micros(500_000), share: 0.05 }),
            ],
            alpha: 0.01,
            max_cluster: 1,
        }
    }

    fn verdict(gates: &Gates, canary: Observed, primary: Observed, slots: u32) -> GatesVerdict {
        let mut tests = gates.begin();
        for number in 0..slots {
            let key = SlotKey { epoch: Epoch(1), slot: Slot(number) };
            tests.open(key, false);
            tests.observe(key, ObservedSlot { canary, primary, ..ObservedSlot::default() }, true);
        }
        gates.judge(&tests, &PerVersion::default())
    }

    const fn seen(started: u64, failed: u64, slow: u64) -> Observed {
        Observed { started, pending: 0, failed, slow, above: [0; 4] }
    }

    #[test]
    fn a_total_failure_trips_within_a_few_requests_and_names_its_gate() {
        let verdict = verdict(&gates(Action::Abort), seen(4, 4, 4), seen(36, 0, 0), 1);
        assert_eq!(verdict.tripped, Some((Action::Abort, GateName::Slo)));
    }

    #[test]
    fn a_slow_canary_trips_the_latency_gate() {
        let verdict = verdict(&gates(Action::Pause), seen(10, 0, 3), seen(90, 0, 0), 4);
        assert_eq!(verdict.tripped, Some((Action::Pause, GateName::Latency)));
    }

    #[test]
    fn a_healthy_one_trips_nothing() {
        assert_eq!(verdict(&gates(Action::Abort), seen(10, 0, 0), seen(90, 1, 2), 500).tripped, None);
    }

    #[test]
    fn a_shared_outage_is_forgiven_where_that_is_configured() {
        let outage = |unless_primary_also| {
            let rule = Rule::Slo { limit: 0.01, unless_primary_also };
            let gates = Gates { gates: vec![Gate { rule, action: Action::Abort }], alpha: 0.01, max_cluster: 1 };
            verdict(&gates, seen(10, 5, 5), seen(90, 45, 45), 5).tripped
        };
        assert_eq!(outage(false), Some((Action::Abort, GateName::Slo)));
        assert_eq!(outage(true), None);
    }
}
