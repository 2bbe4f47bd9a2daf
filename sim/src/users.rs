//! What the users get, counted outside the product, so that no crash of a worker loses it.

use rollout::base::names::Upstream;
use rollout::base::time::{Micros, Millis};
use rollout::controller::canary::Canary;
use rollout::release::phase::{Hold, Note, Phase};
use rollout::release::text;
use rollout::routing::table::Version;

use crate::behaviour::{Fate, either};
use crate::outcome::{End, Outcome, Received};
use crate::proxy::version_of;
use crate::scenario::Scenario;
use crate::traffic::Arrival;

/// The users, and the watch over the release on their behalf.
#[derive(Debug)]
pub(crate) struct Users {
    outcome: Outcome,
    latency_limit: Option<Micros>,
}

impl Users {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self { outcome: Outcome::default(), latency_limit: scenario.latency_limit() }
    }

    /// A request goes to an upstream through a proxy; returns how it will end.
    pub(crate) fn send(&mut self, scenario: &Scenario, arrival: &Arrival, proxy: usize, upstream: &Upstream) -> Fate {
        let (version, now) = (version_of(upstream, &scenario.plan), arrival.at.to_millis().since(scenario.warm_up));
        let fate = fate(scenario, arrival, proxy, version, now);
        if arrival.attacker.is_some() || arrival.at.to_millis() < scenario.warm_up || self.outcome.promoted().is_some()
        {
            return fate;
        }
        match version {
            Version::Primary => self.outcome.primary.add(fate, self.latency_limit),
            Version::Canary => {
                self.outcome.canary.add(fate, self.latency_limit);
                self.outcome.last_canary_request = Some(now);
                if fate.is_bad() {
                    self.outcome.first_bad.get_or_insert(now);
                }
            }
        }
        fate
    }

    /// The agent has handled an event: notes when the release ended.
    pub(crate) fn watch(&mut self, canary: Option<&Canary>, warm_up: Millis, now: Millis) {
        let Some(canary) = canary else { return };
        let at = now.since(warm_up);
        match &canary.phase {
            Phase::Initialized
            | Phase::Waiting(_)
            | Phase::Progressing(_)
            | Phase::Paused(_)
            | Phase::WaitingPromotion(_) => {}
            Phase::Promoting(..) | Phase::Finalising(..) | Phase::Succeeded(_) => {
                self.outcome.end.get_or_insert(End::Promoted { at });
            }
            Phase::Failed(_, cause) if self.outcome.aborted().is_none() => {
                self.outcome.end = Some(End::Aborted { at, cause: text::cause(cause) });
            }
            Phase::Failed(..) => {}
        }
    }

    /// The outcome.
    pub(crate) fn outcome(&self, canary: Option<&Canary>, warm_up: Millis, now: Millis) -> Outcome {
        let mut outcome = self.outcome.clone();
        let Some(canary) = canary else { return outcome };
        outcome.phase = canary.phase.name().into();
        // Of a suspended canary no release begins, so nothing holds one.
        let suspended = canary.latest_plan().is_suspended().then_some(Hold::Suspended);
        let held = canary.standing_hold(now).or(suspended).filter(|_| outcome.end.is_none());
        outcome.held = held.map(|hold| text::hold(&hold));
        for event in &canary.history {
            match &event.note {
                Note::Stepped { .. } => outcome.step += 1,
                Note::CheckFailed { .. } | Note::Tripped(_) => outcome.alarms += 1,
                _ => {}
            }
            outcome.history.push((event.at.since(warm_up), text::note(&event.note)));
        }
        outcome
    }
}

/// How a request ends on a version.
pub(crate) fn fate(scenario: &Scenario, arrival: &Arrival, proxy: usize, version: Version, now: Millis) -> Fate {
    let of_proxy = scenario.proxies.get(proxy).map_or(0.0, |proxy| proxy.failure_rate);
    let of_attacker = arrival.attacker.and_then(|number| scenario.attackers.get(number));
    let of_request = either(of_proxy, of_attacker.map_or(0.0, |attacker| attacker.failure_rate));
    let others = either(scenario.incident_rate(now), of_request);
    scenario.behaviour(version).fate(now, others, arrival.luck, arrival.pace)
}

impl Received {
    /// One more request, which ends like this.
    pub(crate) fn add(&mut self, fate: Fate, latency_limit: Option<Micros>) {
        self.requests += 1;
        self.bad += u64::from(fate.is_bad());
        self.slow += u64::from(!fate.is_bad() && latency_limit.is_some_and(|limit| fate.known_after() > limit));
    }
}
