//! What a guard holds against the canary, and how its elementary tests combine.
//!
//! Most have one. Of several, the smaller e-value counts where all must be bad, their mean where any may be
//! (docs/statistics.md, sections 2, 3, 7).

use serde::{Deserialize, Serialize};

use crate::base::histogram::Bucket;
use crate::base::time::Micros;
use crate::judgement::latency_baseline::TRACKED;
use crate::judgement::sequential::{Signal, Test};
use crate::routing::measurement::LatencyEnd;
use crate::statistics::boundary::{Allocation, Alone, Boundary, Trials, all_of, any_of, certify, may_forgive};
use crate::worker::tally::Counts;

/// What a guard does when it trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GuardAction {
    /// Says so.
    Notify,
    /// Stops the release from advancing until a person decides.
    Pause,
    /// Aborts the release.
    Abort,
}

/// Which guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GuardName {
    /// The canary's failure rate is above its objective.
    Slo,
    /// It is worse than the primary's by more than a margin, and above a floor.
    Regression,
    /// More of its requests are slow than the quantile allows.
    Latency,
    /// It is slower than the primary by more than a margin, and above a floor.
    LatencyRegression,
    /// It answers with errors of the client's more often than the primary.
    ClientErrors,
    /// Clients leave it, or cannot get rid of their requests, more often than with the primary.
    Abandonment,
    /// The canary's share of the requests is not what the weight says: the evidence is suspect.
    SampleRatio,
}

impl GuardAction {
    /// Its name in messages and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Pause => "pause",
            Self::Abort => "abort",
        }
    }
}

impl GuardName {
    /// Its name in messages and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slo => "slo",
            Self::Regression => "regression",
            Self::Latency => "latency",
            Self::LatencyRegression => "latencyRegression",
            Self::ClientErrors => "clientErrors",
            Self::Abandonment => "abandonment",
            Self::SampleRatio => "sampleRatio",
        }
    }
}

/// What is held against the canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum GuardRule {
    /// Failure rate above this, 0 to 1. With `unless_primary_also`, not while the primary fails as often, as far as a
    /// comparison can tell: a shared outage.
    Slo {
        /// The greatest good failure rate.
        limit: f64,
        /// Whether a shared outage is forgiven.
        unless_primary_also: bool,
    },
    /// Failure rate more than `margin` times the primary's, and above `floor_rate`.
    Regression {
        /// 1 or more.
        margin: f64,
        /// 0 to 1.
        floor_rate: f64,
    },
    /// More than `share` (0 to 1) of the requests fail or take longer than `limit`. With `unless_primary_also`, not while
    /// the primary's do as often, as far as a comparison can tell.
    Latency {
        /// Longer is slow.
        limit: Micros,
        /// 0.05 for a p95.
        share: f64,
        /// Whether a shared slowness is forgiven.
        unless_primary_also: bool,
        /// Where the time ends. To the last byte it depends on the clients too, so only a difference from the primary's
        /// counts, at any weight.
        end: LatencyEnd,
    },
    /// Slower than `margin` times the primary somewhere among the tracked quantiles, and more than `share` of the requests
    /// take longer than `floor_latency`: a canary that is slower, but fast enough by far, is no worse for its users.
    LatencyRegression {
        /// 1 or more.
        margin: f64,
        /// Differences below it do not matter.
        floor_latency: Micros,
        /// 0.05 for a p95.
        share: f64,
    },
    /// Share of answers with a status of 400 to 499 more than `margin` times the primary's, and above `floor_rate`. What
    /// clients do wrong they do with both.
    ClientErrors {
        /// 1 or more.
        margin: f64,
        /// 0 to 1.
        floor_rate: f64,
    },
    /// Share of the requests whose client left, or that had not come in whole for too long, more than `margin` times the
    /// primary's, and above `floor_rate`: a canary that hangs, or stops reading, while clients give up early.
    Abandonment {
        /// 1 or more.
        margin: f64,
        /// 0 to 1.
        floor_rate: f64,
    },
}

/// Requests that count against a version, and all that could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCount {
    /// Those that count against it.
    pub events: u64,
    /// All that could.
    pub trials: u64,
}

impl EventCount {
    /// The events in percent of the trials; none without trials.
    pub fn percent(self) -> Option<f64> {
        (self.trials > 0).then(|| self.events as f64 * 100.0 / self.trials as f64)
    }
}

/// Whether a guard that forgives what the primary suffers too can do so now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Forgiveness {
    /// It does.
    InForce,
    /// The canary has more than half of the traffic: no comparison can carry it.
    AboveHalf,
    /// No requests are drawn at random that could be compared.
    NoDraw,
}

impl GuardRule {
    /// Which guard this is.
    pub const fn name(&self) -> GuardName {
        match self {
            Self::Slo { .. } => GuardName::Slo,
            Self::Regression { .. } => GuardName::Regression,
            Self::Latency { .. } => GuardName::Latency,
            Self::LatencyRegression { .. } => GuardName::LatencyRegression,
            Self::ClientErrors { .. } => GuardName::ClientErrors,
            Self::Abandonment { .. } => GuardName::Abandonment,
        }
    }

    /// Whether it has an alpha of its own. It finds fault with a canary within its limits, so by default a person looks;
    /// that must not make those slower that abort.
    pub const fn is_advisory(&self) -> bool {
        matches!(self, Self::LatencyRegression { .. } | Self::ClientErrors { .. } | Self::Abandonment { .. })
    }

    /// Whether it forgives what the primary suffers too, as far as a comparison can tell.
    pub const fn forgives(&self) -> bool {
        match self {
            Self::Slo { unless_primary_also, .. } => *unless_primary_also,
            Self::Latency { unless_primary_also, end, .. } => {
                *unless_primary_also && matches!(end, LatencyEnd::ResponseHeaders)
            }
            _ => false,
        }
    }

    /// Whether what the primary suffers too is forgiven for requests that are divided like this; `None` where it never is.
    pub fn forgiveness(&self, split: Option<Allocation>) -> Option<Forgiveness> {
        let now = match split {
            None => Forgiveness::NoDraw,
            Some(split) if !may_forgive(split.weight) => Forgiveness::AboveHalf,
            Some(_) => Forgiveness::InForce,
        };
        self.forgives().then_some(now)
    }

    /// The events among the trials that some requests are for this rule.
    pub fn of(&self, counts: &Counts) -> EventCount {
        let timed = counts.timed.begun.saturating_sub(counts.timed.void);
        let started = counts.started.saturating_sub(counts.void);
        let (events, trials) = match self {
            Self::Slo { .. } | Self::Regression { .. } => (counts.failed.total(), started),
            Self::ClientErrors { .. } => (counts.client_errors, started),
            Self::Abandonment { .. } => (counts.unserved, started),
            Self::Latency { .. } => (counts.timed.slow, timed),
            Self::LatencyRegression { floor_latency, .. } => {
                (counts.latency.count_above(Bucket::of(*floor_latency)), timed)
            }
        };
        EventCount { events, trials }
    }

    /// The greatest good share of events, 0 to 1, where the canary alone decides.
    pub const fn limit(&self) -> Option<f64> {
        match self {
            Self::Slo { limit, .. } => Some(*limit),
            Self::Latency { share, .. } => Some(*share),
            Self::Regression { .. }
            | Self::LatencyRegression { .. }
            | Self::ClientErrors { .. }
            | Self::Abandonment { .. } => None,
        }
    }

    /// ln e-value that the canary is within the limit, on these counts alone; `None` for comparisons, which cannot be
    /// certified in a useful time (docs/statistics.md, section 4: they cost failures, not requests).
    pub fn certify(&self, counts: &Counts, max_cluster: u32) -> Option<f64> {
        Some(certify(self.trials(counts), self.limit()?, max_cluster))
    }

    /// The canary's requests as trials of a certificate: a client that left says nothing, nor one that is still sending.
    pub(crate) fn trials(&self, counts: &Counts) -> Trials {
        match self {
            Self::Slo { .. } | Self::Regression { .. } | Self::ClientErrors { .. } | Self::Abandonment { .. } => {
                Trials {
                    started: counts.received.saturating_sub(counts.void).saturating_sub(counts.abandoned),
                    events: counts.failed.total(),
                    pending: counts.received_pending(),
                }
            }
            // A pending request may have been counted as slow for its age: then it counts against the canary twice.
            Self::Latency { .. } | Self::LatencyRegression { .. } => Trials {
                started: counts.timed.begun.saturating_sub(counts.timed.void).saturating_sub(counts.timed.left),
                events: counts.timed.slow,
                pending: counts.timed.pending(),
            },
        }
    }

    pub(crate) fn tests(&self) -> Vec<Test> {
        let absolute_or = |is_both: bool, limit, alone| match is_both {
            true => Boundary::Both { limit, margin: 1.0, alone },
            false => Boundary::Absolute(limit),
        };
        let one = |signal, boundary| vec![Test { signal, boundary }];
        let beyond = |limit, margin| Boundary::Both { limit, margin, alone: Alone::Nothing };
        match *self {
            Self::Slo { limit, unless_primary_also } => {
                one(Signal::Failed, absolute_or(unless_primary_also, limit, Alone::Limit))
            }
            Self::Regression { margin, floor_rate } => one(Signal::Failed, beyond(floor_rate, margin)),
            Self::Latency { share, end: LatencyEnd::LastByte, .. } => one(Signal::Slow, beyond(share, 1.0)),
            Self::Latency { share, unless_primary_also, .. } => {
                one(Signal::Slow, absolute_or(unless_primary_also, share, Alone::Limit))
            }
            Self::ClientErrors { margin, floor_rate } => one(Signal::ClientError, beyond(floor_rate, margin)),
            Self::Abandonment { margin, floor_rate } => one(Signal::Unserved, beyond(floor_rate, margin)),
            Self::LatencyRegression { share, .. } => {
                let above = |n| Test { signal: Signal::Above(n), boundary: Boundary::Relative(1.0) };
                let floor = Test { signal: Signal::OverFloor, boundary: Boundary::Absolute(share) };
                (0..TRACKED.len()).map(above).chain([floor]).collect()
            }
        }
    }

    /// The guard's ln e-value from those of its tests, in the order of [`GuardRule::tests`].
    pub(crate) fn combine(&self, ln_e: &[f64]) -> f64 {
        match (self, ln_e.split_last()) {
            (Self::LatencyRegression { .. }, Some((floor, above))) => {
                let share = 1.0 / above.len() as f64;
                let any = any_of(&above.iter().map(|ln_e| (share, *ln_e)).collect::<Vec<_>>());
                all_of(&[any, *floor])
            }
            _ => all_of(ln_e),
        }
    }
}
