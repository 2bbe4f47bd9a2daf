//! The guards: which counts of a slot are trials and events, against which boundary.
//!
//! A slot is a stretch of time under one epoch whose length was fixed before it began. Trials are counted when their
//! request starts and belong, with their outcome, to the slot in which it started. What is not known yet is taken
//! against the verdict "bad": a pending canary request has not failed; for comparisons a pending primary request HAS
//! failed, or a shared incident in which the canary fails fast and the primary times out would abort a healthy canary.
//!
//! A guard that forgives what both suffer has one of two innocent explanations: the canary keeps its limit, or it is no worse
//! than the primary. Which one may change from one block of slots to the next, so the smaller likelihood ratio counts
//! in each: the smaller of two e-values over a whole release would let a canary that is lawfully worse than its primary
//! save up evidence for the first incident that both share.

use serde::{Deserialize, Serialize};

use crate::statistics::mixture::{ALTERNATIVES, BlockLengths, Explained, G8, ln_sum_exp};

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

/// How a slot's requests came to be divided between the versions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// The canary's share, above 0 to 1.
    pub weight: f64,
    /// Whether each request was drawn on its own. Then the share of the canary among requests of one kind is known before
    /// any is counted, so that a slot may be looked at while it is open.
    pub is_drawn: bool,
}

/// Both versions in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The canary's.
    pub canary: Trials,
    /// The primary's.
    pub primary: Trials,
    /// How they were divided; `None` where no draw did it: then there is nothing to compare with.
    pub split: Option<Allocation>,
}

/// What a guard holds against the canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Boundary {
    /// Its event probability is above this (0 to 1, both excluded).
    Absolute(f64),
    /// It is more than this many times the primary's (1 or more).
    Relative(f64),
    /// In one slot it is both: above `limit` and more than `margin` times the primary's.
    Both {
        /// As in [`Boundary::Absolute`].
        limit: f64,
        /// As in [`Boundary::Relative`].
        margin: f64,
        /// What counts where there is no comparison.
        alone: Alone,
    },
}

/// What a test that compares says of a slot in which no comparison can carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Alone {
    /// The limit decides: with more than half of the traffic on the canary, without a draw, or without a primary request.
    Limit,
    /// Nothing.
    Nothing,
}

/// Above this share of the canary a comparison needs so many failures that the limit decides alone: 8 of a total failure at
/// a half, 87 at nine tenths.
const MOST_FORGIVEN: f64 = 0.5;
/// How much more than its weight the canary's share of the drawn requests may be, as the sample ratio tolerates it.
const SHARE_TOLERANCE: f64 = 1.05;
/// A block's slots at most: with slots of 100 ms, 10 s.
const MOST_SLOTS_IN_BLOCK: f64 = 100.0;
/// The greatest odds ratio of a comparison.
const MOST_RATIO: f64 = 300.0;

impl Boundary {
    /// ln likelihood ratios of a slot's pair; `None` when it says nothing. With clusters of up to `max_cluster` events
    /// that are one cause (retries, one user), all counts are divided by it (docs/statistics.md, section 6).
    pub fn ln_ratios(self, pair: &Pair, max_cluster: u32) -> Option<Explained> {
        let per_cluster = |count: u64| count as f64 / f64::from(max_cluster.max(1));
        let canary = &pair.canary;
        match self {
            Self::Absolute(theta0) if canary.started > 0 => {
                let ratios = G8.ln_ratios_of(per_cluster(canary.events), per_cluster(canary.started), theta0);
                Some(Explained::by_one(ratios))
            }
            Self::Absolute(_) => None,
            Self::Relative(margin) => {
                let all = pair.all_events();
                let share = pair.counted_share(margin).filter(|_| all > 0)?;
                Some(Explained::by_one(G8.ln_ratios_of(per_cluster(canary.events), per_cluster(all), share)))
            }
            Self::Both { limit, alone, .. } => {
                let absolute = G8.ln_ratios_of(per_cluster(canary.events), per_cluster(canary.started), limit);
                let Some(share) = self.share(pair) else {
                    return (alone == Alone::Limit && canary.started > 0).then(|| Explained::by_one(absolute));
                };
                // Of a drawn slot the primary's failures count without a request of the canary too: leaving them out would
                // choose by what the draw gave.
                let (events, all) = (per_cluster(canary.events), per_cluster(pair.all_events()));
                let relative = G8.ratios.map(|ratio| ln_compared(ratio, events, all, share));
                Some(Explained { first: absolute, second: relative })
            }
        }
    }

    /// Slots in a block, for each alternative: as many as it takes for good requests to cost it one nat, if a slot holds as
    /// many of the canary as slots are made for. Shorter blocks collect the worse of both explanations: a canary is then
    /// found only where it is worse than the limit AND the primary together.
    pub fn block_lengths(self, expected_in_slot: f64, max_cluster: u32) -> BlockLengths {
        let Self::Both { limit, .. } = self else { return [1; ALTERNATIVES] };
        G8.ratios.map(|ratio| {
            let requests = f64::from(max_cluster.max(1)) / libm::log1p((ratio - 1.0) * limit);
            (requests / expected_in_slot).round().clamp(1.0, MOST_SLOTS_IN_BLOCK) as u32
        })
    }

    /// Whether it may be asked of a slot that is still open. Looking at the shares that were counted in one would let
    /// their fluctuation decide when it ends.
    pub const fn may_be_open(self, pair: &Pair) -> bool {
        match (self, pair.split) {
            (Self::Absolute(_), _) => true,
            (Self::Relative(_), _) => false,
            (Self::Both { alone: Alone::Nothing, .. }, _) => false,
            (Self::Both { .. }, None) => true,
            (Self::Both { .. }, Some(split)) => split.is_drawn || !may_forgive(split.weight),
        }
    }

    /// The greatest share of the events that can be the canary's if the comparison finds nothing; `None` where there is no
    /// comparison.
    fn share(self, pair: &Pair) -> Option<f64> {
        let Self::Both { margin, alone, .. } = self else { return None };
        let split = pair.split.filter(|split| alone == Alone::Nothing || may_forgive(split.weight))?;
        // What only a comparison decides goes by the share that was counted, which no router can bend.
        if alone == Alone::Nothing || !split.is_drawn {
            pair.counted_share(margin)
        } else {
            forgiven_share(split.weight)
        }
    }
}

/// Whether what both versions suffer may be forgiven a canary with this weight (0 to 1).
pub const fn may_forgive(weight: f64) -> bool {
    weight <= MOST_FORGIVEN
}

/// The greatest share of the events that is the canary's if it is no worse than the primary, where requests are drawn with
/// this weight (0 to 1) and what both suffer is forgiven; `None` where the limit decides alone.
pub fn forgiven_share(weight: f64) -> Option<f64> {
    (weight > 0.0 && may_forgive(weight)).then_some(weight * SHARE_TOLERANCE)
}

impl Pair {
    /// What speaks against either version, with what is not known yet of the primary's: it may be the same incident.
    const fn all_events(&self) -> u64 {
        self.canary.events.saturating_add(self.primary.events).saturating_add(self.primary.pending)
    }

    /// The canary's share of the events if it had `margin` times the primary's rate; `None` where a side had no request.
    fn counted_share(&self, margin: f64) -> Option<f64> {
        let (canary, primary) = (margin * self.canary.started as f64, self.primary.started as f64);
        (canary > 0.0 && primary > 0.0).then(|| canary / (canary + primary))
    }
}

/// ln likelihood ratio of a comparison that stands beside an absolute alternative of odds ratio `ratio`: the odds ratio with
/// which a failure of the canary alone gains the same, `ratio`, or as near to it as a share allows.
fn ln_compared(ratio: f64, events: f64, all: f64, share: f64) -> f64 {
    let left = 1.0 - ratio * share;
    let paired = if left > 0.0 { (ratio * (1.0 - share) / left).min(MOST_RATIO) } else { MOST_RATIO };
    events * libm::log(paired) - all * libm::log1p((paired - 1.0) * share)
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
