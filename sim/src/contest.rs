//! The rivals on the very traffic that a scenario's fleet gets: the same requests, with the same luck, at the same time.
//!
//! The rules differ only in the requests that they send to the canary, because their weights differ. An answer counts
//! when it is known: no metric shows a request that has not ended.

use std::collections::VecDeque;

use rollout::base::time::{Micros, Millis};
use rollout::routing::table::{Version, WeightPpm};

use crate::behaviour::Fate;
use crate::draws::{Draws, Purpose, mix, unit};
use crate::outcome::{End, Outcome, Received};
use crate::rivals::{Answers, Rival, TICK};
use crate::scenario::Scenario;
use crate::traffic::{Arrival, Arrivals};
use crate::users::fate;

/// Most ticks after which an answer counts; one that takes longer counts then.
const MAX_TICKS: usize = 600;

/// Plays each rival until it has aborted or promoted, or the time is over. The outcomes are in the rivals' order and
/// have no history.
pub fn contest(scenario: &Scenario, seed: u64, rivals: Vec<Rival>) -> Vec<Outcome> {
    let latency_limit = scenario.latency_limit();
    let sides = rivals.into_iter().enumerate().map(|(n, rival)| Side::new(rival, n, seed, latency_limit));
    let mut sides: Vec<Side> = sides.collect();
    let mut arrivals = Arrivals::new(scenario, seed).peekable();
    let begin = Micros(scenario.warm_up.0 * 1000);
    while arrivals.next_if(|arrival| arrival.at < begin).is_some() {}
    let mut now = Millis(0);
    while now < scenario.watched_for && sides.iter().any(|side| !side.rival.has_ended()) {
        now = now.plus(TICK);
        let until = Micros(scenario.warm_up.plus(now).0 * 1000);
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.at < until) {
            let at = arrival.at.to_millis().since(scenario.warm_up);
            let fates = Version::ALL.map(|version| fate(scenario, &arrival, arrival.proxy, version, at));
            let running = sides.iter_mut().filter(|side| !side.rival.has_ended());
            running.for_each(|side| side.request(scenario, &arrival, fates, now));
        }
        sides.iter_mut().for_each(|side| side.tick(now));
    }
    sides.into_iter().map(Side::outcome).collect()
}

/// One rival with its users.
struct Side {
    rival: Rival,
    draws: Draws,
    seed: u64,
    latency_limit: Option<Micros>,
    /// What will be known in this tick and those after it.
    coming: VecDeque<Answers>,
    outcome: Outcome,
}

impl Side {
    fn new(rival: Rival, number: usize, seed: u64, latency_limit: Option<Micros>) -> Self {
        let draws = Draws::new(seed, Purpose::Rival(number));
        Self { rival, draws, seed, latency_limit, coming: VecDeque::new(), outcome: Outcome::default() }
    }

    /// A request, with its repetitions, that would end like this on primary and canary; `now` is the end of the tick.
    fn request(&mut self, scenario: &Scenario, arrival: &Arrival, [on_primary, on_canary]: [Fate; 2], now: Millis) {
        let at = arrival.at.to_millis().since(scenario.warm_up);
        for _ in 0..=arrival.retries {
            let version = self.version(scenario, arrival.sender.user);
            let fate = match version {
                Version::Primary => on_primary,
                Version::Canary => on_canary,
            };
            match version {
                Version::Primary => self.outcome.primary.add(fate, self.latency_limit),
                Version::Canary => {
                    let mut received = Received::default();
                    received.add(fate, self.latency_limit);
                    self.outcome.canary.add(fate, self.latency_limit);
                    self.outcome.last_canary_request = Some(at);
                    if fate.is_bad() {
                        self.outcome.first_bad.get_or_insert(at);
                    }
                    let known_at = at.plus(fate.known_after().to_millis());
                    self.will_know(known_at, now, received);
                }
            }
            if !fate.is_bad() {
                return;
            }
        }
    }

    fn version(&mut self, scenario: &Scenario, user: u32) -> Version {
        let place = match scenario.plan.sticky {
            Some(_) => unit(mix(&[self.seed, u64::from(user)])),
            None => self.draws.unit(),
        };
        if place < share(self.rival.weight()) { Version::Canary } else { Version::Primary }
    }

    fn will_know(&mut self, known_at: Millis, now: Millis, received: Received) {
        let ticks = usize::try_from(known_at.since(now).0.div_ceil(TICK.0)).unwrap_or(MAX_TICKS).min(MAX_TICKS);
        if self.coming.len() <= ticks {
            self.coming.resize(ticks + 1, Answers::default());
        }
        if let Some(answers) = self.coming.get_mut(ticks) {
            answers.requests += received.requests;
            answers.failed += received.bad;
            answers.slow += received.bad + received.slow;
        }
    }

    fn tick(&mut self, now: Millis) {
        let known = self.coming.pop_front().unwrap_or_default();
        self.rival.observe(now, known);
    }

    fn outcome(self) -> Outcome {
        let Self { rival, mut outcome, .. } = self;
        if let Some(abort) = rival.aborted() {
            outcome.phase = "Failed".into();
            outcome.end = Some(End::Aborted { at: abort.at, cause: format!("{} failed checks", abort.failed_checks) });
        } else if let Some(at) = rival.promoted() {
            outcome.phase = "Succeeded".into();
            outcome.end = Some(End::Promoted { at });
        } else {
            outcome.phase = "Progressing".into();
        }
        outcome
    }
}

fn share(weight: WeightPpm) -> f64 {
    weight.percent() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{Behaviour, Failing};
    use crate::fixture;
    use crate::rivals::{ARGO_INTERVAL, FailedChecks, Limits, RivalRule, Steps};

    const LIMITS: Limits = Limits { failed: 0.01, slow: 0.05 };

    fn play(edit: impl FnOnce(&mut Scenario), rule: RivalRule) -> Outcome {
        let mut scenario = Scenario::healthy(fixture::plan());
        edit(&mut scenario);
        let steps = Steps::constant(WeightPpm::new(100_000).unwrap());
        contest(&scenario, 3, vec![Rival::new("", rule, LIMITS, steps)]).remove(0)
    }

    fn flagger() -> RivalRule {
        RivalRule::Flagger { interval: Millis(10_000), threshold: 2, failed_checks: FailedChecks::Consecutive }
    }

    #[test]
    fn users_meet_the_fault_until_the_rule_cuts_it() {
        // docs/statistics.md, section 10: 20 s and 400 bad responses.
        let outcome = play(|scenario| scenario.canary.failure_rate = 0.2.into(), flagger());
        assert_eq!(outcome.aborted().unwrap().0, Millis(20_000));
        assert!((1900..2100).contains(&outcome.canary.requests), "{:?}", outcome.canary);
        assert!((340..460).contains(&outcome.canary.bad), "{:?}", outcome.canary);
        assert!(outcome.last_canary_request.unwrap() <= Millis(20_000));
    }

    #[test]
    fn nobody_sees_a_hang_before_the_proxy_gives_up() {
        let hang = Behaviour { failure_rate: 1.0.into(), failing: Failing::Hangs, ..Behaviour::default() };
        let argo = RivalRule::Argo { interval: ARGO_INTERVAL, failure_limit: 0 };
        let outcome = play(|scenario| scenario.canary = hang, argo);
        assert_eq!(outcome.aborted().unwrap().0, Millis(30_000));
        let outcome = play(|scenario| scenario.canary = hang, flagger());
        assert_eq!(outcome.aborted().unwrap().0, Millis(30_000), "the check at 10 s knows of no answer");
    }

    #[test]
    fn a_slow_canary_is_cut_where_latency_is_limited() {
        let slow = Behaviour { slower: Some((Millis(0), Millis(900))), ..Behaviour::default() };
        let outcome = play(|scenario| scenario.canary = slow, flagger());
        assert_eq!(outcome.aborted().unwrap().0, Millis(20_000));
        assert!(outcome.canary.slow > outcome.canary.requests / 2);
    }
}
