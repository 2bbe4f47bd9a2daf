//! When a step may be left: every guard that the canary alone decides is certified, on this step's own requests.
//!
//! The same primitive with successes for failures. All guards must certify at every step, so no alpha is divided: the chance
//! to promote a canary that is at its limit throughout is at most `alpha` (docs/statistics.md, section 4). What is pending
//! counts as no success. Not aborted is not certified: without enough requests a release holds.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::judgement::gone_workers::LeftOut;
use crate::judgement::guards::{EventCount, GuardAction, GuardRule, Guards};
use crate::routing::measurement::LatencyEnd;
use crate::statistics::boundary::{Trials, certify};
use crate::worker::tally::Counts;

/// How a release advances on certificate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The chance of certifying a step of a canary that is exactly at its limit; far less for a worse one.
    pub alpha: f64,
    /// The least time on a step: what needs time to show, shows.
    pub min_dwell: Millis,
    /// When too few of the requests have been good, or too few have come.
    pub undecided: Patience,
    /// When the canary got no request at all.
    pub no_data: Patience,
}

/// How long a release holds, and what then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Patience {
    /// Since the step was taken.
    pub after: Millis,
    /// What then.
    pub then: Otherwise,
}

/// What becomes of a release that is neither bad nor proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Otherwise {
    /// It goes on waiting, and says so.
    Hold,
    /// It waits for a person.
    Pause,
    /// It is aborted.
    Fail,
}

/// One guard's evidence for the canary on this step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateFinding {
    /// What is certified.
    pub rule: GuardRule,
    /// ln e-value for the canary being within the limit.
    pub ln_e: f64,
    /// This step's canary requests that speak against it, and all that could.
    pub canary: EventCount,
    /// Those of them that have not ended.
    #[serde(default)]
    pub pending: u64,
}

/// What this step's requests prove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateVerdict {
    /// Each guard that must be certified.
    pub findings: Vec<CertificateFinding>,
    /// ln of what each must reach: ln(1/alpha).
    pub ln_needed: f64,
    /// The least time on this step.
    pub dwell: Millis,
    /// Requests of the step that are none of these, because their worker is gone.
    #[serde(default, skip_serializing_if = "LeftOut::is_none")]
    pub left_out: LeftOut,
    /// Whether they prove nothing, because the canary's requests went to the primary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_void: bool,
}

impl Certificate {
    /// What is usual where an operator says nothing. At twice the limit the chance of certifying is under one in a
    /// thousand; what is not proven, or got no request, waits, and says so after ten minutes.
    pub const USUAL: Self = Self {
        alpha: 0.05,
        min_dwell: Millis::from_secs(10),
        undecided: Patience { after: Millis::from_secs(600), then: Otherwise::Hold },
        no_data: Patience { after: Millis::from_secs(600), then: Otherwise::Hold },
    };

    /// What a step's canary requests prove so far.
    pub fn certify(&self, guards: &Guards, step: &Counts) -> CertificateVerdict {
        let certified = certifiable(guards).filter_map(|rule| {
            let ln_e = rule.certify(step, guards.max_cluster)?;
            let Trials { started, events, pending } = rule.trials(step);
            let canary = EventCount { events, trials: started };
            Some(CertificateFinding { rule: *rule, ln_e, canary, pending })
        });
        // Time up to the last byte is the clients' too.
        let is_own = guards.guards.iter().all(|guard| is_own(&guard.rule));
        let p99 = step.latency.quantile(0.99).filter(|_| is_own).unwrap_or_default().to_millis();
        CertificateVerdict {
            findings: certified.collect(),
            ln_needed: -libm::log(self.alpha),
            dwell: self.min_dwell.max(Millis(p99.0.saturating_mul(3))),
            left_out: LeftOut::NONE,
            is_void: false,
        }
    }

    /// When to look again if no report comes before.
    pub fn next_look(&self, step_at: Millis, dwell: Millis, now: Millis) -> Millis {
        let moments = [dwell, self.no_data.after, self.undecided.after].map(|after| step_at.plus(after));
        moments.into_iter().filter(|at| *at > now).min().unwrap_or_else(|| now.plus(IDLE))
    }
}

/// Between two looks when all moments have passed.
const IDLE: Millis = Millis::from_secs(60);

/// The rules that a certificate is about: those that the canary alone decides and that are no dry run. Time up to the last
/// byte depends on clients too, so slow ones could hold a certificate up.
pub fn certifiable(guards: &Guards) -> impl Iterator<Item = &GuardRule> {
    let counting = guards.guards.iter().filter(|guard| guard.action != GuardAction::Notify);
    counting.map(|guard| &guard.rule).filter(|rule| rule.limit().is_some() && is_own(rule))
}

const fn is_own(rule: &GuardRule) -> bool {
    !matches!(rule, GuardRule::Latency { end: LatencyEnd::LastByte, .. })
}

/// No release waits for more than this.
const MOST_TO_GO: u64 = 1 << 40;

impl CertificateFinding {
    /// Good answers that would complete this certificate if nothing bad came with them, those to what is in flight now
    /// among them; 0 when it is complete.
    pub fn requests_to_go(&self, ln_needed: f64, max_cluster: u32) -> u64 {
        let Some(limit) = self.rule.limit().filter(|_| self.ln_e < ln_needed) else { return 0 };
        let is_enough = |more: u64| {
            let trials = Trials { started: self.ended().saturating_add(more), events: self.canary.events, pending: 0 };
            certify(trials, limit, max_cluster) >= ln_needed
        };
        let (mut low, mut high) = (0, 1);
        while !is_enough(high) && high < MOST_TO_GO {
            (low, high) = (high, high * 2);
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if is_enough(middle) { high = middle } else { low = middle }
        }
        high
    }

    /// How far it has come, 0 to 1: the requests that have ended, of these and those still to go. For people, so what is in
    /// flight says nothing; in the verdict it counts as unproven, and ln_e leaps with every request that comes.
    pub fn progress(&self, ln_needed: f64, max_cluster: u32) -> f64 {
        match self.requests_to_go(ln_needed, max_cluster) {
            0 => 1.0,
            to_go => self.ended() as f64 / (self.ended() as f64 + to_go as f64),
        }
    }

    fn ended(&self) -> u64 {
        self.canary.trials.saturating_sub(self.pending)
    }
}

impl CertificateVerdict {
    /// Whether all guards are certified, by the canary's own requests, and not too much of the step is left out.
    pub fn is_certified(&self) -> bool {
        self.would_be_certified() && !self.left_out.is_too_much() && !self.is_void
    }

    /// Whether nothing is missing but what was left out.
    pub fn lacks_what_is_left_out(&self) -> bool {
        self.would_be_certified() && self.left_out.is_too_much()
    }

    fn would_be_certified(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|finding| finding.ln_e >= self.ln_needed)
    }

    /// As [`CertificateFinding::requests_to_go`], of the slowest guard, and until not too much is left out; 0 when all
    /// are certified.
    pub fn requests_to_go(&self, max_cluster: u32) -> u64 {
        let each = self.findings.iter().map(|finding| finding.requests_to_go(self.ln_needed, max_cluster));
        each.max().unwrap_or(0).max(self.left_out.requests_to_go())
    }

    /// Canary requests of this step.
    pub fn requests(&self) -> u64 {
        let counted = self.findings.iter().map(|finding| finding.canary.trials).max().unwrap_or(0);
        counted.saturating_add(self.left_out.requests)
    }

    /// As [`CertificateFinding::progress`], of the slowest guard; 0 where nothing is to be certified.
    pub fn progress(&self, max_cluster: u32) -> f64 {
        if self.is_void {
            return 0.0;
        }
        let each = self.findings.iter().map(|finding| finding.progress(self.ln_needed, max_cluster));
        let LeftOut { requests, of, .. } = self.left_out;
        let (counted, to_go) = (of.saturating_sub(requests) as f64, self.left_out.requests_to_go() as f64);
        let whole = if to_go > 0.0 { counted / (counted + to_go) } else { 1.0 };
        each.reduce(f64::min).unwrap_or(0.0).min(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Micros;
    use crate::judgement::guards::Guard;
    use crate::routing::outcome::{FailureClass, Outcome};

    fn guards(actions: [GuardAction; 2]) -> Guards {
        let rules = [
            GuardRule::Slo { limit: 0.01, unless_primary_also: false },
            GuardRule::Latency {
                limit: Micros(500_000),
                share: 0.05,
                unless_primary_also: false,
                end: LatencyEnd::ResponseHeaders,
            },
        ];
        let guards = rules.into_iter().zip(actions).map(|(rule, action)| Guard { rule, action }).collect();
        Guards { guards, alpha: 0.01, max_cluster: 1, sample_ratio: None }
    }

    fn certificate() -> Certificate {
        let hold = Patience { after: Millis::from_secs(60), then: Otherwise::Hold };
        Certificate { alpha: 0.05, min_dwell: Millis::from_secs(10), undecided: hold, no_data: hold }
    }

    fn counts(good: u64, failed: u64, slow: u64, pending: u64) -> Counts {
        let mut counts = Counts::begun(good + failed + slow + pending);
        (0..good).for_each(|_| counts.end_both(Outcome::Success, Micros(9_000), false));
        (0..failed).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(9), true));
        (0..slow).for_each(|_| counts.end_both(Outcome::Success, Micros(900_000), true));
        counts
    }

    fn is_certified(counts: &Counts) -> bool {
        certificate().certify(&guards([GuardAction::Abort; 2]), counts).is_certified()
    }

    /// The requests of docs/statistics.md, section 4: allowed failures -> requests.
    #[test]
    fn it_takes_as_many_good_requests_as_the_table_says() {
        for (failed, requests) in [(0, 372), (1, 660), (2, 879), (3, 1073)] {
            assert!(is_certified(&counts(requests - failed, failed, 0, 0)), "{failed} in {requests}");
            assert!(!is_certified(&counts(requests - failed - 1, failed, 0, 0)), "{failed} in one less");
        }
    }

    #[test]
    fn what_is_still_to_go_is_what_it_then_takes() {
        let verdict = certificate().certify(&guards([GuardAction::Abort; 2]), &counts(100, 0, 0, 0));
        let slo = &verdict.findings[0];
        assert_eq!(slo.requests_to_go(verdict.ln_needed, 1), 272);
        let done = certificate().certify(&guards([GuardAction::Abort; 2]), &counts(372, 0, 0, 0));
        assert_eq!(done.findings[0].requests_to_go(done.ln_needed, 1), 0);
    }

    #[test]
    fn a_request_in_flight_takes_nothing_back_from_what_is_shown() {
        let shown = |good, pending| {
            let verdict = certificate().certify(&guards([GuardAction::Abort; 2]), &counts(good, 0, 0, pending));
            (verdict.progress(1), verdict.requests_to_go(1))
        };
        let (alone, to_go) = shown(306, 0);
        assert!((alone - 306.0 / 372.0).abs() < 1e-9 && to_go == 66, "{alone} {to_go}");
        for pending in [1, 2, 50] {
            assert_eq!(shown(306, pending), (alone, to_go), "{pending} pending");
        }
        // Only what is in flight is missing: that is not proven yet, and shows as such.
        assert_eq!(shown(372, 0), (1.0, 0));
        let (nearly, to_go) = shown(372, 1);
        assert!(nearly < 1.0 && nearly > 0.99 && to_go == 1, "{nearly} {to_go}");
        assert_eq!(shown(0, 3).0, 0.0);
    }

    #[test]
    fn every_guard_must_be_certified_and_what_is_pending_is_no_success() {
        assert!(is_certified(&counts(372, 0, 0, 0)));
        assert!(!is_certified(&counts(372, 0, 30, 0)), "good but slow");
        assert!(!is_certified(&counts(372, 0, 0, 5)));
        assert!(!is_certified(&Counts::default()));
    }

    #[test]
    fn a_dry_run_holds_nothing_up_and_alone_proves_nothing() {
        let slow = counts(372, 0, 100, 0);
        assert!(certificate().certify(&guards([GuardAction::Abort, GuardAction::Notify]), &slow).is_certified());
        assert!(!certificate().certify(&guards([GuardAction::Notify; 2]), &counts(9_999, 0, 0, 0)).is_certified());
    }

    #[test]
    fn slow_answers_need_a_longer_dwell() {
        assert_eq!(
            certificate().certify(&guards([GuardAction::Abort; 2]), &counts(400, 0, 0, 0)).dwell,
            Millis(10_000)
        );
        let mut slow = Counts::begun(100);
        (0..100).for_each(|_| slow.end_both(Outcome::Success, Micros(5_000_000), true));
        assert!(certificate().certify(&guards([GuardAction::Abort; 2]), &slow).dwell >= Millis(15_000));
    }

    #[test]
    fn the_next_look_lies_ahead() {
        let at = |now| certificate().next_look(Millis(0), Millis(10_000), Millis(now)).0;
        assert_eq!([at(0), at(10_000), at(60_000)], [10_000, 60_000, 120_000]);
    }
}
