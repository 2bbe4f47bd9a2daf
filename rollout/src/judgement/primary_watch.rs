//! The primary is watched as the canary is: the same limits, with exchanged roles. Once the canary is proven, a primary
//! that breaks would otherwise break unseen, and a promotion would send everyone there.
//!
//! A limit is broken where the primary fails more often than it allows AND more often than the canary, which a shared
//! outage does not show. Where the canary's users are none that the split placed (only match rules, copies, or the end of
//! a promotion), there is nothing to compare with, and the limit alone decides. Which of both is in force is known before
//! the requests: by the weight of their epoch.
//!
//! What is found here never counts toward an abort, and has an alpha of its own. It holds until the primary is certified
//! again: by the requests that began after it was last found failing.

use serde::{Deserialize, Serialize};

use crate::judgement::guard_rule::{EventCount, GuardRule};
use crate::judgement::guards::Guards;
use crate::judgement::sequential::{Observed, ObservedSlot, Sequential, Signal, SlotKey, Test};
use crate::routing::table::Epoch;
use crate::statistics::boundary::{Allocation, Alone, Boundary, any_of};
use crate::worker::tally::{Counts, PerVersion, Slot};

/// The bound on finding a primary failing that is within its limits.
pub const PRIMARY_ALPHA: f64 = 0.01;
/// The chance of finding one healthy again that is exactly at its limit.
const HEALTHY_ALPHA: f64 = 0.05;

/// What is held against the primary, and what speaks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryFinding {
    /// The limit.
    pub rule: GuardRule,
    /// ln e-value against the primary.
    pub ln_e: f64,
    /// The primary's requests of the step that speak against it, and all that could.
    pub primary: EventCount,
    /// The canary's, for comparison.
    pub canary: EventCount,
}

/// What is known of the primary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryVerdict {
    /// Each limit.
    pub findings: Vec<PrimaryFinding>,
    /// ln of what their weighted evidence must reach.
    pub ln_needed: f64,
    /// The limit that it was found to break, until it is certified again.
    pub failing: Option<GuardRule>,
}

/// What a look found that is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryNews {
    /// The primary fails.
    Fails,
    /// It is healthy again.
    Recovered,
}

/// The tests with exchanged roles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryWatch {
    rules: Vec<GuardRule>,
    max_cluster: u32,
    /// On slots in which the split gives the canary users: limit and comparison together.
    compared: Sequential,
    /// On all others: the limits.
    alone: Sequential,
    /// The last slot that was opened.
    newest: Option<SlotKey>,
    /// Slots up to this one have been judged: what they showed is known.
    judged: Option<SlotKey>,
    failing: Option<GuardRule>,
    /// The primary's requests in later slots: what may certify it again.
    since: Counts,
}

impl PrimaryWatch {
    /// Has seen nothing; watches what began under the guards' limits.
    pub fn new(guards: &Guards) -> Self {
        let rules: Vec<GuardRule> = guards.guards.iter().map(|guard| guard.rule).filter(is_watched).collect();
        let (compared, alone) = begin(&rules, guards.max_cluster);
        let (newest, judged, failing, since) = (None, None, None, Counts::default());
        Self { rules, max_cluster: guards.max_cluster, compared, alone, newest, judged, failing, since }
    }

    /// The limit that the primary was found to break, until it is certified again.
    pub const fn failing(&self) -> Option<&GuardRule> {
        self.failing.as_ref()
    }

    /// Another upstream is the primary under this epoch and later ones: what the former one did says nothing about it.
    pub fn exchange_roles(&mut self, first: Epoch) {
        self.newest = Some(SlotKey { epoch: Epoch(first.0.saturating_sub(1)), slot: Slot::MERGED });
        self.begin_anew();
    }

    /// What the slots up to the newest have shown is known.
    fn begin_anew(&mut self) {
        (self.compared, self.alone) = begin(&self.rules, self.max_cluster);
        (self.judged, self.failing, self.since) = (self.newest, None, Counts::default());
    }

    /// Primary requests that the split placed. Under an epoch without a split all are of one slot (`is_slotted` is false
    /// then), and those that arrive from now on count.
    pub fn fold(&mut self, key: SlotKey, counts: &Counts, is_slotted: bool) {
        let is_new = !is_slotted || self.judged.is_none_or(|judged| key > judged);
        if self.failing.is_some() && key.slot != Slot::MERGED && is_new {
            self.since.merge(counts);
        }
    }

    /// A slot as it is known now, in their order. It is compared where a split gives the canary users under its epoch.
    pub fn observe(&mut self, key: SlotKey, seen: &ObservedSlot, is_closed: bool) {
        if self.judged.is_some_and(|judged| key <= judged) {
            return;
        }
        let tests = if seen.split.is_some() { &mut self.compared } else { &mut self.alone };
        if self.newest.is_none_or(|newest| key > newest) {
            tests.open(key, self.newest.is_none_or(|newest| key.epoch > newest.epoch));
            self.newest = Some(key);
        }
        tests.observe(key, exchanged(seen), is_closed);
    }

    /// What they say, and what of it is news.
    pub fn look(&mut self, seen: &PerVersion) -> (PrimaryVerdict, Option<PrimaryNews>) {
        let findings = self.findings(seen);
        let ln_needed = -libm::log(PRIMARY_ALPHA);
        let ln_e = weighted(&findings.iter().map(|finding| finding.ln_e).collect::<Vec<f64>>());
        let worst = findings.iter().max_by(|a, b| a.ln_e.total_cmp(&b.ln_e)).map(|finding| finding.rule);
        let mut news = None;
        if let Some(rule) = worst.filter(|_| ln_e >= ln_needed) {
            news = self.failing.is_none().then_some(PrimaryNews::Fails);
            // While it goes on failing it is found again and again, and what may certify it begins anew each time.
            self.begin_anew();
            self.failing = Some(rule);
        } else if self.failing.is_some_and(|broken| self.rules.iter().all(|rule| self.is_certified(rule, &broken))) {
            self.begin_anew();
            news = Some(PrimaryNews::Recovered);
        }
        (PrimaryVerdict { findings, ln_needed, failing: self.failing }, news)
    }

    /// By every limit, not only the one that it broke: one failure may break several. Without a trial, as of latency when
    /// nobody measures it any more, there is nothing to hold against it by another.
    fn is_certified(&self, rule: &GuardRule, broken: &GuardRule) -> bool {
        let is_seen = rule == broken || rule.of(&self.since).trials > 0;
        let ln_e = || rule.certify(&self.since, self.max_cluster);
        !is_seen || ln_e().is_some_and(|ln_e| ln_e >= -libm::log(HEALTHY_ALPHA))
    }

    fn findings(&self, seen: &PerVersion) -> Vec<PrimaryFinding> {
        let looks = self.compared.looks().into_iter().chain(self.alone.looks());
        let nearest = |a: &Vec<f64>, b: &Vec<f64>| weighted(a).total_cmp(&weighted(b));
        let finding = |(rule, ln_e): (&GuardRule, f64)| PrimaryFinding {
            rule: *rule,
            // Slots with and without a split are tested apart, each with half of alpha.
            ln_e: ln_e - std::f64::consts::LN_2,
            primary: rule.of(&seen.primary),
            canary: rule.of(&seen.canary),
        };
        self.rules.iter().zip(looks.max_by(nearest).unwrap_or_default()).map(finding).collect()
    }
}

/// ln e-value of several limits together, each with an equal share.
fn weighted(ln_e: &[f64]) -> f64 {
    let share = 1.0 / ln_e.len().max(1) as f64;
    any_of(&ln_e.iter().map(|ln_e| (share, *ln_e)).collect::<Vec<_>>())
}

/// Those that one version breaks by itself. A primary that is worse than the canary but within its limits is no failure:
/// the canary may be better.
const fn is_watched(rule: &GuardRule) -> bool {
    matches!(rule, GuardRule::Slo { .. } | GuardRule::Latency { .. })
}

fn begin(rules: &[GuardRule], max_cluster: u32) -> (Sequential, Sequential) {
    let tests = |rule: &GuardRule| match rule {
        GuardRule::Latency { .. } => (Signal::Slow, rule.limit()),
        _ => (Signal::Failed, rule.limit()),
    };
    let limits = || rules.iter().map(tests).filter_map(|(signal, limit)| Some((signal, limit?)));
    let both = |limit| Boundary::Both { limit, margin: 1.0, alone: Alone::Nothing };
    let compared = limits().map(|(signal, limit)| Test { signal, boundary: both(limit) });
    let alone = limits().map(|(signal, limit)| Test { signal, boundary: Boundary::Absolute(limit) });
    (Sequential::new(compared.collect(), max_cluster), Sequential::new(alone.collect(), max_cluster))
}

/// What rules and copies brought to the canary is compared with nothing.
fn exchanged(seen: &ObservedSlot) -> ObservedSlot {
    let split = seen.split.map(|split| Allocation { weight: 1.0 - split.weight, ..split });
    ObservedSlot { canary: seen.primary, primary: seen.canary, unsplit: Observed::NOTHING, split }
}
