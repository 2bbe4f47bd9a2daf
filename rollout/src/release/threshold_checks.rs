//! fold -> check: threshold checks with Flagger's semantics, and a third answer, undecided, where there is no data.
//!
//! A check passes only on requests of its own step: those of an earlier one had another share, and say nothing of this one.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::judgement::evidence::Evidence;
use crate::release::plan::{Check, Metric, Plan, ThresholdRange};
use crate::worker::tally::{Counts, PerVersion};

/// What a check, or all checks together, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckResult {
    /// Good.
    Pass,
    /// Bad.
    Fail,
    /// No traffic of this step to judge.
    Undecided,
}

/// One check with the numbers that forced its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckFinding {
    /// The metric's name.
    pub check: String,
    /// What was measured.
    pub metric: Metric,
    /// The canary's value on this step: percent, or milliseconds; `None` without data.
    pub value: Option<f64>,
    /// The primary's at the same time, for comparison only.
    pub primary_value: Option<f64>,
    /// What was allowed.
    pub range: ThresholdRange,
    /// Canary requests behind the value.
    pub requests: u64,
    /// Over how long a time.
    pub window: Millis,
    /// The answer.
    pub answer: CheckResult,
}

/// All checks of one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChecksVerdict {
    /// Fail if any check fails; else undecided if any has no data; else pass.
    pub answer: CheckResult,
    /// Each check, in the plan's order.
    pub findings: Vec<CheckFinding>,
}

impl ChecksVerdict {
    /// Whether all that is missing is latencies, although requests have ended.
    pub fn lacks_latencies(&self) -> bool {
        let mut undecided = self.findings.iter().filter(|finding| finding.answer == CheckResult::Undecided).peekable();
        undecided.peek().is_some() && undecided.all(|finding| finding.requests > 0)
    }
}

/// Judges a canary by its plan's checks.
pub fn check(plan: &Plan, evidence: &Evidence, now: Millis) -> ChecksVerdict {
    let findings: Vec<CheckFinding> = plan.checks.iter().map(|check| find(check, evidence, now)).collect();
    let any = |answer| findings.iter().any(|finding| finding.answer == answer);
    let answer = if any(CheckResult::Fail) {
        CheckResult::Fail
    } else if any(CheckResult::Undecided) || evidence.last(plan.longest_window(), now).own.canary.judged() == 0 {
        // Even a plan without checks does not advance on no traffic.
        CheckResult::Undecided
    } else {
        CheckResult::Pass
    };
    ChecksVerdict { answer, findings }
}

fn find(check: &Check, evidence: &Evidence, now: Millis) -> CheckFinding {
    let recent = evidence.last(check.window, now);
    let all = recent.all();
    let is_bad =
        |counts: &PerVersion| measure(check.metric, &counts.canary).is_some_and(|value| !check.range.contains(value));
    // What arrives late of the step before can fail a check (answers that take longer than a step are no better for it),
    // but only the step's own requests can pass it.
    let is_failed = is_bad(&all) || is_bad(&recent.own);
    let seen = if is_bad(&all) { &all } else { &recent.own };
    let value = measure(check.metric, &seen.canary);
    // Where requests are answered before they have come in whole, neither version has a latency to hold against it. A canary
    // that is warming up beside a primary whose latencies are known has shown nothing yet.
    let has_none = |counts: &Counts| counts.timed.begun == 0;
    let is_untimed = recent.own.canary.judged() > 0 && has_none(&recent.own.canary) && has_none(&recent.own.primary);
    let answer = match value {
        _ if is_failed => CheckResult::Fail,
        None if is_untimed => CheckResult::Pass,
        None => CheckResult::Undecided,
        Some(_) => CheckResult::Pass,
    };
    CheckFinding {
        check: check.name.clone(),
        metric: check.metric,
        value,
        primary_value: measure(check.metric, &seen.primary),
        range: check.range,
        requests: seen.canary.judged(),
        window: check.window,
        answer,
    }
}

fn measure(metric: Metric, counts: &Counts) -> Option<f64> {
    match metric {
        Metric::SuccessRate => counts.success_rate().map(|rate| rate * 100.0),
        Metric::Duration { quantile } => counts.latency.quantile(quantile).map(|us| us.0 as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Micros;
    use crate::release::plan::tests::spec;
    use crate::routing::outcome::{FailureClass, Outcome};
    use crate::routing::route::Placement;
    use crate::routing::table::{Epoch, Version};
    use crate::worker::tally::{Slot, Stratum};

    fn verdict(good: u64, bad: u64, slow: u64) -> ChecksVerdict {
        let plan = Plan::new(spec()).unwrap();
        let mut evidence = Evidence::default();
        evidence.begin_release(Epoch(1), plan.longest_window(), &plan.guards);
        let mut counts = Counts::begun(good + bad + slow);
        (0..good).for_each(|_| counts.end_both(Outcome::Success, Micros(20_000), false));
        (0..bad).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(1_000), true));
        (0..slow).for_each(|_| counts.end_both(Outcome::Success, Micros(900_000), true));
        let stratum = Stratum {
            canary: (),
            epoch: Epoch(1),
            version: Version::Canary,
            placement: Placement::Drawn,
            slot: Slot(0),
        };
        evidence.fold(&stratum, &counts, Millis(0));
        check(&plan, &evidence, Millis(10))
    }

    #[test]
    fn thresholds_include_their_ends() {
        assert_eq!(verdict(100, 0, 0).answer, CheckResult::Pass);
        assert_eq!(verdict(99, 1, 0).answer, CheckResult::Pass, "exactly 99 % is good");
        let failed = verdict(989, 11, 0);
        assert_eq!(failed.answer, CheckResult::Fail);
        assert_eq!(failed.findings[0].value, Some(98.9));
        assert_eq!(failed.findings[0].requests, 1000);
    }

    #[test]
    fn p95_sees_the_slow_twentieth() {
        assert_eq!(verdict(96, 0, 4).answer, CheckResult::Pass);
        let slow = verdict(94, 0, 6);
        assert_eq!(slow.answer, CheckResult::Fail);
        assert_eq!(slow.findings[1].answer, CheckResult::Fail);
        assert!(slow.findings[1].value.unwrap() >= 900.0);
    }

    #[test]
    fn requests_without_a_latency_hold_no_duration_check_up() {
        let plan = Plan::new(spec()).unwrap();
        let mut evidence = Evidence::default();
        evidence.begin_release(Epoch(1), plan.longest_window(), &plan.guards);
        let untimed = Counts { started: 9, succeeded: 9, ..Counts::default() };
        let (version, placement) = (Version::Canary, Placement::Drawn);
        let stratum = Stratum { canary: (), epoch: Epoch(1), version, placement, slot: Slot(0) };
        evidence.fold(&stratum, &untimed, Millis(0));
        let verdict = check(&plan, &evidence, Millis(10));
        assert_eq!(verdict.answer, CheckResult::Pass, "{verdict:?}");
        let of_primary = Stratum { version: Version::Primary, ..stratum };
        let mut warming = evidence.clone();
        let mut timed = Counts::begun(9);
        (0..9).for_each(|_| timed.end_both(Outcome::Success, Micros(20_000), false));
        warming.fold(&of_primary, &timed, Millis(20));
        assert_eq!(check(&plan, &warming, Millis(30)).answer, CheckResult::Undecided, "a warm-up shows no latency");
        evidence.fold(&stratum, &Counts { started: 1, ..Counts::begun(1) }, Millis(20));
        assert_eq!(check(&plan, &evidence, Millis(30)).answer, CheckResult::Undecided, "one that is timed hangs");
    }

    #[test]
    fn no_traffic_is_undecided_even_without_checks() {
        assert_eq!(verdict(0, 0, 0).answer, CheckResult::Undecided);
        let mut bare = spec();
        bare.checks.clear();
        let plan = Plan::new(bare).unwrap();
        assert_eq!(check(&plan, &Evidence::default(), Millis(5)).answer, CheckResult::Undecided);
    }
}
