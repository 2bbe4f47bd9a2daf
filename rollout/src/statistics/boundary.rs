//! The guards: which counts of a slot are trials and events, against which boundary.
//!
//! A slot is a stretch of time under one epoch whose length was fixed before it began. Trials are counted when their
//! request starts and belong, with their outcome, to the slot in which it started. What is not known yet is taken
//! against the verdict "bad": a pending canary request has not failed; for comparisons a pending primary request HAS
//! failed, or a shared incident in which the canary fails fast and the primary times out would abort a healthy canary.

use serde::{Deserialize, Serialize};

use crate::statistics::mixture::{G8, PerAlternative, ln_sum_exp};

/// One version's requests in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// Requests that started in the slot and are trials: not void as far as known.
    pub started: u64,
    /// Those of them known to be events: failed, or slow, as the guard counts.
    pub events: u64,
    /// Those whose outcome is not known yet.
    pub pending: u64,
}

/// Both versions in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The canary's.
    pub canary: Trials,
    /// The primary's.
    pub primary: Trials,
}

/// What a guard holds against the canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Boundary {
    /// Its event probability is above this (0 to 1, both excluded).
    Absolute(f64),
    /// It is more than this many times the primary's (1 or more).
    Relative(f64),
}

impl Boundary {
    /// ln likelihood ratios of a slot's pair; `None` when it says nothing. With clusters of up to `max_cluster` events
    /// that are one cause (retries, one user), all counts are divided by it (docs/statistics.md, section 6).
    pub fn ln_ratios(self, pair: &Pair, max_cluster: u32) -> Option<PerAlternative> {
        let per_cluster = |count: u64| count as f64 / f64::from(max_cluster.max(1));
        let Pair { canary, primary } = pair;
        match self {
            Self::Absolute(theta0) if canary.started > 0 => {
                Some(G8.ln_ratios_of(per_cluster(canary.events), per_cluster(canary.started), theta0))
            }
            Self::Absolute(_) => None,
            Self::Relative(margin) => {
                let events = canary.events;
                let all = events.saturating_add(primary.events).saturating_add(primary.pending);
                if canary.started == 0 || primary.started == 0 || all == 0 {
                    return None;
                }
                let share = margin * canary.started as f64 / (margin * canary.started as f64 + primary.started as f64);
                Some(G8.ln_ratios_of(per_cluster(events), per_cluster(all), share))
            }
        }
    }
}

/// ln e-value that the canary's event probability is below `limit`: what certifies it for the next step. Pending
/// requests count as trials without success.
pub fn certify(trials: Trials, limit: f64, max_cluster: u32) -> f64 {
    let per_cluster = |count: u64| count as f64 / f64::from(max_cluster.max(1));
    let good = trials.started.saturating_sub(trials.events).saturating_sub(trials.pending);
    G8.ln_e(per_cluster(good), per_cluster(trials.started), 1.0 - limit)
}

/// Either of several tests, each with its share of the evidence; shares sum to 1. Valid under any dependence, and never
/// worse than dividing alpha among them.
pub fn any_of(weighted: &[(f64, f64)]) -> f64 {
    let terms: Vec<f64> = weighted.iter().map(|(share, ln_e)| libm::log(*share) + ln_e).collect();
    ln_sum_exp(&terms)
}

/// All of several tests must reject: no correction is needed.
pub fn all_of(ln_e: &[f64]) -> f64 {
    ln_e.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The p-value that may be quoted at any time: from the greatest ln e-value so far.
pub fn running_p(greatest_ln_e: f64) -> f64 {
    libm::exp(-greatest_ln_e).min(1.0)
}
