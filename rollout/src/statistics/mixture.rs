//! The primitive behind every guard: a mixture of likelihood ratios on a fixed grid of odds ratios.
//!
//! A stream of trials, each with (given the past) event probability at most `theta0` under the null hypothesis. Component
//! j multiplies its wealth by (1 + (R_j - 1) x) / (1 + (R_j - 1) theta0) for a trial x in {0, 1}, whose mean is at most 1
//! under the null; so each component, and their mixture, is a supermartingale from 1, and it exceeds 1/alpha ever with
//! probability alpha at most (Ville). It depends on counts only: one may look after every batch, any number of times,
//! in any order.

use serde::{Deserialize, Serialize};

/// Number of alternatives in a grid.
pub const ALTERNATIVES: usize = 8;

/// Odds ratios against the boundary, with prior weights. Logarithms are literals: no platform's `ln` is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Odds ratios R_j.
    pub ratios: [f64; ALTERNATIVES],
    /// ln R_j.
    ln_ratios: [f64; ALTERNATIVES],
    /// ln w_j.
    ln_weights: [f64; ALTERNATIVES],
}

/// ln(1/15) and ln(2/15).
const LN_1_15: f64 = -2.708_050_201_102_21;
const LN_2_15: f64 = -2.014_903_020_542_264_7;
/// ln(1/8).
const LN_1_8: f64 = -2.079_441_541_679_835_7;

/// "G8": 1.29 to 1.5 times the information bound for faults of 2 to 20 % against 1 %, without knowing the fault's rate.
pub const G8: Grid = Grid {
    ratios: [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 300.0],
    ln_ratios: [
        0.223_143_551_314_209_76,
        0.405_465_108_108_164_4,
        std::f64::consts::LN_2,
        1.098_612_288_668_109_8,
        1.609_437_912_434_100_3,
        std::f64::consts::LN_10,
        3.401_197_381_662_155_5,
        5.703_782_474_656_201,
    ],
    ln_weights: [LN_1_15, LN_2_15, LN_2_15, LN_2_15, LN_2_15, LN_2_15, LN_2_15, LN_2_15],
};

/// Finer near 1: for the sample ratio, whose trials are many and whose deviations are small.
pub const SRM_GRID: Grid = Grid {
    ratios: [1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 16.0, 256.0],
    ln_ratios: [
        0.048_790_164_169_432,
        0.095_310_179_804_324_87,
        0.182_321_556_793_954_62,
        0.405_465_108_108_164_4,
        std::f64::consts::LN_2,
        1.386_294_361_119_890_6,
        2.772_588_722_239_781,
        5.545_177_444_479_562,
    ],
    ln_weights: [LN_1_8; ALTERNATIVES],
};

/// ln of wealth, or of likelihood ratios, per alternative. Sums of these over batches are the whole state of a test.
pub type PerAlternative = [f64; ALTERNATIVES];

impl Grid {
    /// ln likelihood ratio of `events` among `trials` against the boundary `theta0` (0 < theta0 < 1), per alternative.
    pub fn ln_ratios_of(&self, events: f64, trials: f64, theta0: f64) -> PerAlternative {
        std::array::from_fn(|j| {
            let (ratio, ln_ratio) = (at(&self.ratios, j), at(&self.ln_ratios, j));
            events * ln_ratio - trials * libm::log1p((ratio - 1.0) * theta0)
        })
    }

    /// ln of the mixture of wealths.
    pub fn ln_mixture(&self, ln_wealth: &PerAlternative) -> f64 {
        ln_sum_exp(&std::array::from_fn::<f64, ALTERNATIVES, _>(|j| at(&self.ln_weights, j) + at(ln_wealth, j)))
    }

    /// ln e-value of all counts since the start, without restarts.
    pub fn ln_e(&self, events: f64, trials: f64, theta0: f64) -> f64 {
        self.ln_mixture(&self.ln_ratios_of(events, trials, theta0))
    }
}

/// How often wealth may be staked anew; H below belongs to it.
const MAX_STARTS: u32 = 1 << 20;
/// The sum of 1/k over all possible starts: what makes the stakes add up to 1.
const HARMONIC: f64 = 14.440_159_752_937_522;
/// Drift since the last start at which another is worth its stake.
const RESTART_AT: f64 = -1.0;
/// Share of wealth that is staked at the very start and never restarted.
pub const STAKED_AT_START: f64 = 0.75;

/// ln likelihood ratios of a batch under two explanations of which one holds: of a test with one, twice the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explained {
    /// If the first one holds.
    pub first: PerAlternative,
    /// If the second one does.
    pub second: PerAlternative,
}

impl Explained {
    /// A batch that says nothing.
    pub const NOTHING: Self = Self { first: [0.0; ALTERNATIVES], second: [0.0; ALTERNATIVES] };

    /// There is only one.
    pub const fn by_one(ln_ratios: PerAlternative) -> Self {
        Self { first: ln_ratios, second: ln_ratios }
    }
}

/// Batches in a block, for each alternative. Which explanation holds may change from block to block; within one it is the
/// same, so that each block counts with the smaller of its two sums. Fixed beforehand.
pub type BlockLengths = [u32; ALTERNATIVES];

/// A test with paid restarts: as quick against a version that turns bad after an hour as against one bad from the start,
/// with one bound on false alarms at any time (anytime-valid). An e-detector whose start weights sum to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wealth {
    /// ln wealth since the start.
    since_start: PerAlternative,
    /// ln wealth of all restarts together.
    restarted: [Option<f64>; ALTERNATIVES],
    /// Drift since the last restart.
    drift: PerAlternative,
    /// Stakes spent on restarts.
    spent: PerAlternative,
    /// Restarts so far.
    starts: [u32; ALTERNATIVES],
    /// The blocks that are not over: how many batches each has, and its sum by either explanation. What is above is without
    /// them.
    blocks: [Block; ALTERNATIVES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Block {
    batches: u32,
    first: f64,
    second: f64,
}

impl Block {
    const fn least(&self) -> f64 {
        self.first.min(self.second)
    }
}

/// Alternatives on which a new stake is laid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stakes([bool; ALTERNATIVES]);

impl Default for Wealth {
    fn default() -> Self {
        let nothing = [0.0; ALTERNATIVES];
        Self {
            since_start: nothing,
            restarted: [None; ALTERNATIVES],
            drift: nothing,
            spent: nothing,
            starts: [0; ALTERNATIVES],
            blocks: [Block::default(); ALTERNATIVES],
        }
    }
}

impl Wealth {
    /// Which alternatives are worth a new stake before the next batch: those whose drift fell, or all when `forced` (the
    /// load has just changed, a likely moment for a fault). Decided on the past only, so validity is untouched. A stake is laid
    /// between two blocks: forced ones end those that are not over.
    pub fn due(&self, forced: bool) -> Stakes {
        Stakes(std::array::from_fn(|j| {
            let starts = self.starts.get(j).copied().unwrap_or(MAX_STARTS);
            let is_between = self.blocks.get(j).is_none_or(|block| block.batches == 0);
            let is_worth_it = is_between && at(&self.drift, j) <= RESTART_AT;
            starts < MAX_STARTS && (forced || starts == 0 || is_worth_it)
        }))
    }

    /// Stakes anew what [`Wealth::due`] named.
    pub fn stake(&mut self, stakes: &Stakes) {
        for (j, _) in stakes.0.iter().enumerate().filter(|(_, is_due)| **is_due) {
            self.end_block(j);
            let (Some(starts), Some(drift)) = (self.starts.get_mut(j), self.drift.get_mut(j)) else { continue };
            *starts += 1;
            *drift = 0.0;
            let stake = 1.0 / (f64::from(*starts) * HARMONIC);
            if let (Some(spent), Some(restarted)) = (self.spent.get_mut(j), self.restarted.get_mut(j)) {
                *spent += stake;
                let ln_stake = libm::log(stake);
                *restarted = Some(restarted.map_or(ln_stake, |held| ln_sum_exp(&[held, ln_stake])));
            }
        }
    }

    /// A batch, as its ln likelihood ratios.
    pub fn bet(&mut self, ln_ratios: &PerAlternative) {
        self.bet_explained(&Explained::by_one(*ln_ratios), &[1; ALTERNATIVES]);
    }

    /// A batch with two explanations, of blocks so long.
    pub fn bet_explained(&mut self, batch: &Explained, lengths: &BlockLengths) {
        for j in 0..ALTERNATIVES {
            let Some(block) = self.blocks.get_mut(j) else { continue };
            block.batches += 1;
            block.first += at(&batch.first, j);
            block.second += at(&batch.second, j);
            if block.batches >= lengths.get(j).copied().unwrap_or(1) {
                self.end_block(j);
            }
        }
    }

    fn end_block(&mut self, j: usize) {
        let Some(block) = self.blocks.get_mut(j).map(std::mem::take) else { return };
        let more = block.least();
        for sum in [self.since_start.get_mut(j), self.drift.get_mut(j)].into_iter().flatten() {
            *sum += more;
        }
        if let Some(Some(restarted)) = self.restarted.get_mut(j) {
            *restarted += more;
        }
    }

    /// ln e-value: reject when it reaches ln(1/alpha).
    pub fn ln_e(&self, grid: &Grid) -> f64 {
        let (ln_kept, ln_rest) = (libm::log(STAKED_AT_START), libm::log(1.0 - STAKED_AT_START));
        let mixed: PerAlternative = std::array::from_fn(|j| {
            // What was not staked is cash; rounding may overspend it by a hair.
            let cash = (1.0 - at(&self.spent, j)).max(0.0);
            let open = self.blocks.get(j).map_or(0.0, Block::least);
            let restarted = self.restarted.get(j).copied().flatten().unwrap_or(f64::NEG_INFINITY);
            let ln_restarts = ln_sum_exp(&[restarted + open, libm::log(cash)]);
            ln_sum_exp(&[ln_kept + at(&self.since_start, j) + open, ln_rest + ln_restarts])
        });
        grid.ln_mixture(&mixed)
    }

    /// Restarts so far, per alternative.
    pub const fn starts(&self) -> &[u32; ALTERNATIVES] {
        &self.starts
    }
}

/// ln of the sum of exponentials, without overflow; minus infinity for nothing.
pub fn ln_sum_exp(terms: &[f64]) -> f64 {
    let greatest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if greatest == f64::NEG_INFINITY {
        return greatest;
    }
    greatest + libm::log(terms.iter().map(|term| libm::exp(term - greatest)).sum())
}

fn at(values: &PerAlternative, j: usize) -> f64 {
    values.get(j).copied().unwrap_or(f64::NAN)
}
