//! One plan's guards, checks and certificates over evidence that was recorded, perhaps under another plan.
//!
//! The evidence is folded and judged by the very functions that judge a running release. Only what those do not decide is
//! here: when a guard first reached what it needs, and what would have been certified. The weights are history's.

use serde::{Deserialize, Serialize};

use crate::base::histogram::Bucket;
use crate::base::names::CanaryId;
use crate::base::time::{Micros, Millis};
use crate::judgement::certificate::{Certificate, certifiable};
use crate::judgement::evidence::Evidence;
use crate::judgement::guards::{Guard, GuardAction, GuardName, GuardsVerdict};
use crate::judgement::sample_ratio::SampleRatio;
use crate::release::plan::{Advance, Plan};
use crate::release::text;
use crate::release::threshold_checks::{CheckResult, check};
use crate::routing::outcome::FailureClass;
use crate::routing::table::{Epoch, Version, WeightPpm};
use crate::worker::messages::{Incarnation, Report};
use crate::worker::tally::{Counts, Timed};

/// What one plan says of a recorded release. Times are milliseconds since the release began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// What would have aborted the release first; `None`: nothing, as far as the record goes.
    pub abort: Option<Abort>,
    /// Trips in the order of time; of each guard for each action the first.
    pub trips: Vec<GuardTrip>,
    /// How near each guard came.
    pub guards: Vec<Reached>,
    /// What a step is left after: `interval` or `certificate`.
    pub advance: String,
    /// The threshold checks at their ticks; a plan that advances on certificate makes none.
    pub checks: Checks,
    /// When each step that was taken would have been certified, with what was counted under it; `None`: not in its time.
    pub certified: Vec<Option<Certified>>,
    /// Whether there is an objective that a step can be certified against.
    pub certifies: bool,
    /// The latency limit is another than the recorded one, so slow requests are taken from histograms: 0.8 % coarse, and
    /// a request that was pending is seen only when it ended.
    pub latency_estimated: bool,
}

/// What aborts a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// When.
    pub since_ms: u64,
    /// The guard; `None`: the threshold checks.
    pub guard: Option<GuardName>,
    /// Canary requests begun until then.
    pub canary_requests: u64,
    /// Those of them known to have failed.
    pub canary_failed: u64,
}

/// A guard trips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardTrip {
    /// When.
    pub since_ms: u64,
    /// The guard that contributed most.
    pub guard: GuardName,
    /// What follows.
    pub action: GuardAction,
    /// Canary requests begun until then.
    pub canary_requests: u64,
    /// Those of them known to have failed.
    pub canary_failed: u64,
    /// With its numbers, in one line.
    pub message: String,
}

/// How near a guard came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// The guard.
    pub guard: GuardName,
    /// What it holds against the canary, in words.
    pub rule: String,
    /// What follows when it trips.
    pub action: GuardAction,
    /// The greatest natural logarithm of its e-value.
    pub ln_e: f64,
    /// What it needs to trip alone.
    pub ln_needed: f64,
    /// When it was greatest; 0 before any evidence.
    pub since_ms: u64,
}

impl Reached {
    /// How far it came, 0 to 100 percent of what it needs alone.
    pub fn percent(&self) -> f64 {
        (self.ln_e / self.ln_needed * 100.0).clamp(0.0, 100.0)
    }
}

/// Threshold checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// Looks taken.
    pub looks: u32,
    /// Those that failed.
    pub failed: u32,
    /// The number that rolls back.
    pub threshold: u32,
    /// When the first failed.
    pub first_failed_ms: Option<u64>,
    /// Why, in one line.
    pub first_failed: Option<String>,
}

/// A step is good enough, with 5 % probability of a mistake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certified {
    /// When.
    pub since_ms: u64,
    /// Canary requests of this step begun until then.
    pub canary_requests: u64,
}

/// One plan over one release.
#[derive(Clone, Debug)]
pub struct Rejudge {
    plan: Plan,
    began: Millis,
    evidence: Evidence,
    /// Longer is slow, where slow requests must be counted anew.
    limit: Option<Micros>,
    steps: Vec<Counts>,
    judged: Judged,
}

impl Rejudge {
    /// Begins with a release; `recorded` is the plan under which its evidence was counted, `past` what was known then.
    pub fn new(plan: Plan, recorded: &Plan, past: &Evidence, began: Millis) -> Self {
        let mut evidence = past.clone();
        evidence.begin_release(past.since(), plan.longest_window(), &plan.guards);
        let limit = plan.guards.latency_limit().filter(|limit| recorded.guards.latency_limit() != Some(*limit));
        let certifies = certifiable(&plan.guards).next().is_some();
        let threshold = plan.threshold;
        let checks = Checks { looks: 0, failed: 0, threshold, first_failed_ms: None, first_failed: None };
        let guards = plan.guards.guards.iter().map(|guard| reached(guard, plan.guards.ln_needed(guard)));
        let judged = Judged {
            abort: None,
            trips: Vec::new(),
            guards: guards.chain(plan.guards.sample_ratio.as_ref().map(reached_by_share)).collect(),
            advance: plan.advance.name().into(),
            checks,
            certified: Vec::new(),
            certifies,
            latency_estimated: limit.is_some(),
        };
        Self { plan, began, evidence, limit, steps: Vec::new(), judged }
    }

    /// The plan.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// An entry with a split was issued; with `is_sticky` it draws users.
    pub fn weigh(&mut self, epoch: Epoch, weight: WeightPpm, is_sticky: bool) {
        self.evidence.weigh(epoch, weight, is_sticky);
    }

    /// A step began, or got another share: checks look at what starts under `first` or a later epoch.
    pub fn begin_step(&mut self, first: Epoch) {
        self.evidence.begin_step(first);
    }

    /// Whether its steps are left after checks; a plan that advances on certificate makes none.
    pub fn has_checks(&self) -> bool {
        matches!(self.plan.advance, Advance::Interval)
    }

    /// A report that was not folded before; `step_of` says which step an epoch belongs to, 1 for the first.
    pub fn fold(
        &mut self,
        id: &CanaryId,
        worker: Incarnation,
        report: &Report,
        step_of: impl Fn(Epoch) -> Option<usize>,
        now: Millis,
    ) {
        for (stratum, counts) in report.strata.iter().filter(|(stratum, _)| stratum.canary == *id) {
            let counts = self.limit.map_or_else(|| counts.clone(), |limit| at_limit(counts, limit));
            self.evidence.fold(stratum, &counts, now);
            if stratum.version == Version::Canary
                && let Some(step) = step_of(stratum.epoch).and_then(|step| step.checked_sub(1))
            {
                if self.steps.len() <= step {
                    self.steps.resize(step + 1, Counts::default());
                }
                self.steps.iter_mut().skip(step).take(1).for_each(|held| held.merge(&counts));
            }
        }
        for watermark in report.watermarks.iter().filter(|watermark| watermark.canary == *id) {
            self.evidence.watermark(worker, watermark, now);
        }
    }

    /// Looks at the guards; `counts` says whether a trip has consequences now.
    pub fn look(&mut self, counts: bool, now: Millis) {
        if self.plan.guards.is_empty() {
            return;
        }
        let Some(verdict) = self.evidence.look(&self.plan.guards, now) else { return };
        self.reach(&verdict, now);
        // As in a release: each guard acts once, and an aborted release is not aborted again.
        let is_known = |found| {
            self.judged.trips.iter().any(|it| (it.action, it.guard) == found || it.action == GuardAction::Abort)
        };
        if let Some((action, guard)) = verdict.tripped
            && counts
            && !is_known((action, guard))
        {
            let (canary_requests, canary_failed) = self.seen();
            let since_ms = now.since(self.began).0;
            let message = text::guards(&verdict);
            self.judged.trips.push(GuardTrip { since_ms, guard, action, canary_requests, canary_failed, message });
            if action == GuardAction::Abort {
                self.abort(Some(guard), now);
            }
        }
    }

    /// Looks at the checks, as on a tick.
    pub fn check(&mut self, now: Millis) {
        if self.judged.abort.is_some() || !self.has_checks() {
            return;
        }
        let verdict = check(&self.plan, &self.evidence, now);
        self.judged.checks.looks += 1;
        if verdict.answer == CheckResult::Fail {
            let checks = &mut self.judged.checks;
            checks.failed += 1;
            checks.first_failed_ms.get_or_insert(now.since(self.began).0);
            checks.first_failed.get_or_insert_with(|| text::verdict(&verdict));
            if checks.failed >= checks.threshold {
                self.abort(None, now);
            }
        }
    }

    /// Looks whether a step is certified on its own counts.
    pub fn certify(&mut self, step: usize, now: Millis) {
        let Some(index) = step.checked_sub(1) else { return };
        if self.judged.certified.len() <= index {
            self.judged.certified.resize(step, None);
        }
        let (Some(counts), Some(None)) = (self.steps.get(index), self.judged.certified.get(index)) else { return };
        let certificate = match self.plan.advance {
            Advance::Certificate(certificate) => certificate,
            Advance::Interval => Certificate::USUAL,
        };
        if certificate.certify(&self.plan.guards, counts).is_certified() {
            let found = Certified { since_ms: now.since(self.began).0, canary_requests: counts.started };
            self.judged.certified.iter_mut().skip(index).take(1).for_each(|held| *held = Some(found.clone()));
        }
    }

    /// Canary requests counted under a step: begun, failed, slow.
    pub fn counted(&self, step: usize) -> (u64, u64, u64) {
        let counts = step.checked_sub(1).and_then(|index| self.steps.get(index));
        counts.map_or((0, 0, 0), |counts| (counts.started, counts.failed.total(), counts.timed.slow))
    }

    /// Canary requests begun so far, and those of them known to have failed.
    pub fn seen(&self) -> (u64, u64) {
        let release = self.evidence.release();
        (release.canary.started, release.canary.failed.total())
    }

    /// What it comes to after `steps` steps.
    pub fn finish(mut self, steps: usize) -> Judged {
        self.judged.certified.resize(steps, None);
        self.judged
    }

    fn abort(&mut self, guard: Option<GuardName>, now: Millis) {
        let (canary_requests, canary_failed) = self.seen();
        let since_ms = now.since(self.began).0;
        self.judged.abort.get_or_insert(Abort { since_ms, guard, canary_requests, canary_failed });
    }

    fn reach(&mut self, verdict: &GuardsVerdict, now: Millis) {
        let share = verdict.ratio.iter().map(|found| found.ln_e);
        let found = verdict.findings.iter().map(|finding| finding.ln_e).chain(share);
        for (held, ln_e) in self.judged.guards.iter_mut().zip(found) {
            if ln_e > held.ln_e {
                (held.ln_e, held.since_ms) = (ln_e, now.since(self.began).0);
            }
        }
    }
}

/// Before any evidence: an e-value of 1.
fn reached(guard: &Guard, ln_needed: f64) -> Reached {
    let (name, rule) = (guard.rule.name(), text::rule(&guard.rule));
    Reached { guard: name, rule, action: guard.action, ln_e: 0.0, ln_needed, since_ms: 0 }
}

/// The same for the canary's share, which has its own alpha.
fn reached_by_share(rule: &SampleRatio) -> Reached {
    let tolerance = text::number(rule.tolerance * 100.0);
    let (guard, action) = (GuardName::SampleRatio, rule.action);
    let rule_in_words = format!("the canary's share within {tolerance} % of its weight");
    Reached { guard, rule: rule_in_words, action, ln_e: 0.0, ln_needed: -libm::log(rule.alpha), since_ms: 0 }
}

/// Counts as under another latency limit. Histograms do not tell failures from successes: timeouts are taken as longer
/// than the limit, other failures as faster; all failures are slow anyway. Clients that left late under the recorded limit
/// are taken as late under this one.
fn at_limit(counts: &Counts, limit: Micros) -> Counts {
    let above = counts.latency.count_above(Bucket::of(limit));
    let timeouts = counts.failed.of(FailureClass::Timeout);
    // Failures of a warm-up, and of requests that had not come in whole, were never trials of latency.
    let failed = counts.failed.total().saturating_sub(timeouts).min(counts.timed.slow);
    let slow = failed.saturating_add(above.max(timeouts.min(counts.timed.slow)));
    let answered = counts.latency.count();
    let left_late = counts.timed.ended.saturating_sub(answered);
    let timed = Timed { slow: slow.min(answered).saturating_add(left_late), ..counts.timed };
    Counts { timed, ..counts.clone() }
}
