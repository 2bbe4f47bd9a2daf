//! What other tools would have done with the same traffic: Flagger's and Argo Rollouts' rules, idealised in their favour.
//!
//! Both look on a tick at the canary's rates over a window. Here their metrics are perfect and immediate, weights and
//! aborts take effect within the same 100 ms, and a window without requests is forgiven. What remains is the decision.
//! Feed every 100 ms what the canary's users got, and ask for the weight that holds until the next.
//!
//! Read in the sources of Flagger (15bd6ad) and Argo Rollouts (9f8d111): see [`FailedChecks`] and [`RivalRule`].

use std::collections::VecDeque;

use rollout::base::time::Millis;
use rollout::judgement::guards;
use rollout::release::plan::{Metric, Plan, ThresholdRange};
use rollout::routing::table::WeightPpm;

/// How long the counts given to one [`Rival::observe`] cover.
pub const TICK: Millis = Millis(100);
/// Over how long the rules compute rates: Flagger's default, and the usual one of Argo's templates.
pub const WINDOW: Millis = Millis(60_000);
/// How often Argo's analysis measures: the interval of its documentation's examples.
pub const ARGO_INTERVAL: Millis = Millis(30_000);

/// What the canary's users got during some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Answers of any kind.
    pub requests: u64,
    /// Bad ones among them.
    pub failed: u64,
    /// Those that failed or took longer than the latency limit.
    pub slow: u64,
}

/// What the canary's rates may be at most; a rate exactly at its limit is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Greatest good failure rate, 0 to 1.
    pub failed: f64,
    /// Greatest good share of slow requests, 0 to 1: 0.05 for a limit on the p95. 1 when latency is not checked.
    pub slow: f64,
}

impl Limits {
    /// The limits of a plan: its checks' thresholds, or where it has none of a kind its guards' limits.
    pub fn of(plan: &Plan) -> Self {
        let mut limits = Self { failed: 1.0, slow: 1.0 };
        for guard in &plan.guards.guards {
            match guard.rule {
                guards::GuardRule::Slo { limit, .. } => limits.failed = limit,
                guards::GuardRule::Latency { share, .. } => limits.slow = share,
                _ => {}
            }
        }
        for check in &plan.checks {
            match (check.metric, check.range) {
                (Metric::SuccessRate, ThresholdRange { min: Some(min), .. }) => limits.failed = 1.0 - min / 100.0,
                (Metric::Duration { quantile }, ThresholdRange { max: Some(_), .. }) => limits.slow = 1.0 - quantile,
                _ => {}
            }
        }
        limits
    }
}

/// When Flagger forgets failed checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedChecks {
    /// Never within a release, and the rollback happens on the tick after the last one: as its scheduler is coded.
    Cumulative,
    /// At each good check, and the rollback happens at once: as one would expect.
    Consecutive,
}

/// Which tool's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RivalRule {
    /// Flagger's analysis.
    Flagger {
        /// Time between two checks.
        interval: Millis,
        /// The failed check of this number rolls back.
        threshold: u32,
        /// When failed checks are forgotten.
        failed_checks: FailedChecks,
    },
    /// Argo's background analysis: aborts at the first failed measurement after `failure_limit` others; it never forgets.
    Argo {
        /// Time between two measurements.
        interval: Millis,
        /// Failed measurements that are tolerated.
        failure_limit: u32,
    },
}

/// A rule rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// When, on the clock of [`Rival::observe`].
    pub at: Millis,
    /// Checks that had failed by then.
    pub failed_checks: u32,
}

/// The weights that a rule climbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The canary's share at each step, the first from the beginning; with one alone it never changes.
    pub weights: Vec<WeightPpm>,
    /// How long each is held, where the checks do not say so: Argo's pauses. Flagger moves after each good check.
    pub pause: Millis,
    /// Whether the release is promoted after the last; otherwise the last is held without end.
    pub promotes: bool,
}

impl Steps {
    /// One weight that never changes.
    pub fn constant(weight: WeightPpm) -> Self {
        Self { weights: vec![weight], pause: Millis(u64::MAX), promotes: false }
    }
}

/// One rule with its memory: a release from its beginning to its abort or promotion.
#[derive(Clone, Debug)]
pub struct Rival {
    name: String,
    rule: RivalRule,
    limits: Limits,
    steps: Steps,
    window: Window,
    /// The step whose weight holds, counted from 0.
    step: usize,
    next_check: Millis,
    next_step: Millis,
    failed_checks: u32,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Aborted(Abort),
    Promoted(Millis),
}

impl Rival {
    /// A release that begins at time 0 under this rule; `name` is for tables.
    pub fn new(name: impl Into<String>, rule: RivalRule, limits: Limits, steps: Steps) -> Self {
        let (RivalRule::Flagger { interval, .. } | RivalRule::Argo { interval, .. }) = rule;
        Self {
            name: name.into(),
            rule,
            limits,
            window: Window::default(),
            step: 0,
            next_check: interval,
            next_step: steps.pause,
            steps,
            failed_checks: 0,
            end: None,
        }
    }

    /// The same with its first check at another time, for a fault whose moment has nothing to do with the ticks.
    #[must_use]
    pub fn checking_first_at(self, first_check: Millis) -> Self {
        Self { next_check: first_check, ..self }
    }

    /// Its name in tables.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The canary's share until the next [`Rival::observe`].
    pub fn weight(&self) -> WeightPpm {
        match self.end {
            None => self.steps.weights.get(self.step).copied().unwrap_or(WeightPpm::ZERO),
            Some(_) => WeightPpm::ZERO,
        }
    }

    /// When it rolled back, if it did.
    pub const fn aborted(&self) -> Option<Abort> {
        match self.end {
            Some(End::Aborted(abort)) => Some(abort),
            _ => None,
        }
    }

    /// When its last step was passed, if it was.
    pub const fn promoted(&self) -> Option<Millis> {
        match self.end {
            Some(End::Promoted(at)) => Some(at),
            _ => None,
        }
    }

    /// Whether it has aborted or promoted.
    pub const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The answers that became known in the [`TICK`] before `now`; returns the abort when it happens now.
    pub fn observe(&mut self, now: Millis, answers: Answers) -> Option<Abort> {
        if self.has_ended() {
            return None;
        }
        self.window.add(now, answers);
        let abort = if now >= self.next_check { self.check(now) } else { None };
        self.end = abort.map(End::Aborted).or(self.end);
        if matches!(self.rule, RivalRule::Argo { .. }) && !self.has_ended() && now >= self.next_step {
            self.next_step = self.next_step.plus(self.steps.pause);
            self.climb(now);
        }
        abort
    }

    fn check(&mut self, now: Millis) -> Option<Abort> {
        match self.rule {
            RivalRule::Flagger { interval, threshold, failed_checks } => {
                self.next_check = self.next_check.plus(interval);
                self.check_flagger(now, threshold, failed_checks)
            }
            RivalRule::Argo { interval, failure_limit } => {
                self.next_check = self.next_check.plus(interval);
                self.failed_checks += u32::from(self.is_bad(now) == Some(true));
                (self.failed_checks > failure_limit).then(|| self.abort(now))
            }
        }
    }

    fn check_flagger(&mut self, now: Millis, threshold: u32, failed_checks: FailedChecks) -> Option<Abort> {
        // The scheduler looks at the count before it measures anew, so the rollback follows one tick behind.
        if failed_checks == FailedChecks::Cumulative && self.failed_checks >= threshold {
            return Some(self.abort(now));
        }
        match self.is_bad(now) {
            Some(true) => self.failed_checks += 1,
            Some(false) => {
                if failed_checks == FailedChecks::Consecutive {
                    self.failed_checks = 0;
                }
                self.climb(now);
            }
            None => {}
        }
        let is_over = failed_checks == FailedChecks::Consecutive && self.failed_checks >= threshold;
        is_over.then(|| self.abort(now))
    }

    /// Whether a rate is above its limit; `None` without requests.
    fn is_bad(&mut self, now: Millis) -> Option<bool> {
        let Answers { requests, failed, slow } = self.window.sum(now);
        let rate = |part: u64| part as f64 / requests as f64;
        (requests > 0).then(|| rate(failed) > self.limits.failed || rate(slow) > self.limits.slow)
    }

    fn climb(&mut self, now: Millis) {
        if self.step + 1 < self.steps.weights.len() {
            self.step += 1;
        } else if self.steps.promotes {
            self.end = Some(End::Promoted(now));
        }
    }

    const fn abort(&self, now: Millis) -> Abort {
        Abort { at: now, failed_checks: self.failed_checks }
    }
}

/// The last [`WINDOW`] of answers.
#[derive(Clone, Debug, Default)]
struct Window {
    ticks: VecDeque<(Millis, Answers)>,
    sum: Answers,
}

impl Window {
    fn add(&mut self, now: Millis, answers: Answers) {
        self.ticks.push_back((now, answers));
        self.sum.requests += answers.requests;
        self.sum.failed += answers.failed;
        self.sum.slow += answers.slow;
    }

    fn sum(&mut self, now: Millis) -> Answers {
        while let Some((at, old)) = self.ticks.front()
            && now.since(*at) >= WINDOW
        {
            self.sum.requests -= old.requests;
            self.sum.failed -= old.failed;
            self.sum.slow -= old.slow;
            self.ticks.pop_front();
        }
        self.sum
    }
}

#[cfg(test)]
mod tests;
