//! What is simulated: a plan, a fleet, its traffic, how each version behaves, and what goes wrong.
//!
//! All times count from the beginning of the release. Rates are shares from 0 to 1; what lies outside is taken as the
//! nearer end.

use rollout::base::time::{Micros, Millis};
use rollout::release::plan::{Metric, Plan};
use rollout::routing::table::Version;

use crate::attacker::{Attacker, Client};
use crate::behaviour::{Behaviour, either};
use crate::mishaps::Mishap;
use crate::network::Network;

/// One situation; with a seed it is one course of events.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The agent's plan. What this build cannot honour in it is accepted.
    pub plan: Plan,
    /// The proxies, one worker each.
    pub proxies: Vec<Proxy>,
    /// What users send.
    pub traffic: Traffic,
    /// Who else sends something.
    pub attackers: Vec<Attacker>,
    /// How the old version answers.
    pub primary: Behaviour,
    /// How the new version answers.
    pub canary: Behaviour,
    /// What makes both versions fail alike.
    pub incidents: Vec<Incident>,
    /// Between workers and agent.
    pub network: Network,
    /// How long the agent's disk takes to store an event.
    pub storage_delay: Millis,
    /// For how long the agent's loop is busy before it takes what workers say: all of it as one batch. Zero: each by itself.
    pub agent_busy: Millis,
    /// How long the promotion hook, or the person who confirms, takes.
    pub promotion_takes: Millis,
    /// What breaks, and when.
    pub mishaps: Vec<(Millis, Mishap)>,
    /// Traffic before the release: by it the agent knows how much to expect.
    pub warm_up: Millis,
    /// How long the release is watched at most.
    pub watched_for: Millis,
}

impl Scenario {
    /// A healthy release on a good day: 4 workers, 1000 requests a second, 20 ms, 0.1 % failures, half an hour at most.
    pub fn healthy(plan: Plan) -> Self {
        let users = plan.sticky.as_ref().map(|_| Users::default());
        Self {
            plan,
            proxies: vec![Proxy::default(); 4],
            traffic: Traffic { per_second: 1000.0, arrivals: Arrivals::Poisson, users, client_retries: 0 },
            attackers: Vec::new(),
            primary: Behaviour::default(),
            canary: Behaviour::default(),
            incidents: Vec::new(),
            network: Network::default(),
            storage_delay: Millis(2),
            agent_busy: Millis(0),
            promotion_takes: Millis(0),
            mishaps: Vec::new(),
            warm_up: Millis(10_000),
            watched_for: Millis(30 * 60_000),
        }
    }

    /// How a version answers.
    pub const fn behaviour(&self, version: Version) -> &Behaviour {
        match version {
            Version::Primary => &self.primary,
            Version::Canary => &self.canary,
        }
    }

    /// The latency above which a good answer is slow, if the plan's checks or guards limit it.
    pub fn latency_limit(&self) -> Option<Micros> {
        let of_checks = self.plan.checks.iter().filter_map(|check| match check.metric {
            Metric::Duration { .. } => check.range.max.map(|max_ms| Micros((max_ms * 1000.0) as u64)),
            Metric::SuccessRate => None,
        });
        of_checks.min().or_else(|| self.plan.guards.latency_limit())
    }

    /// How the client of a request sends and reads it; users do so at once.
    pub(crate) fn client(&self, attacker: Option<usize>) -> Client {
        attacker.and_then(|number| self.attackers.get(number)).map(|attacker| attacker.client).unwrap_or_default()
    }

    /// The share of failures that all incidents together cause at a moment.
    pub(crate) fn incident_rate(&self, at: Millis) -> f64 {
        let under_way = self.incidents.iter().filter(|incident| (incident.from..incident.until).contains(&at));
        under_way.fold(0.0, |sum, incident| either(sum, incident.failure_rate))
    }
}

/// One proxy and its worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proxy {
    /// Its part of the traffic, against the others' parts.
    pub part: f64,
    /// Failures of both versions that only requests through this proxy meet: a bad zone.
    pub failure_rate: f64,
    /// How much later than meant it ticks, and so reports.
    pub slow_by: Millis,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { part: 1.0, failure_rate: 0.0, slow_by: Millis(0) }
    }
}

/// What users send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests a second over all proxies.
    pub per_second: f64,
    /// How they come.
    pub arrivals: Arrivals,
    /// Who sends them; without it every request is by itself.
    pub users: Option<Users>,
    /// How often a client repeats a request that failed; the repeated one fails as well.
    pub client_retries: u32,
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Independent of each other.
    Poisson,
    /// At equal distances.
    Even,
}

/// Who sends the requests. With a sticky plan it is they who stay on one version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Users {
    /// How many there are.
    pub count: u32,
    /// How many of them are heavy.
    pub heavy: u32,
    /// Which share of all requests the heavy ones send.
    pub heavy_share: f64,
    /// How long a user's luck holds: within it all their requests fail, or none. 0 for requests that fail independently.
    pub spell: Millis,
}

impl Default for Users {
    fn default() -> Self {
        Self { count: 10_000, heavy: 0, heavy_share: 0.0, spell: Millis(0) }
    }
}

/// A time in which requests to both versions fail with the same probability: an outage of what both need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incident {
    /// From when.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
    /// The share of requests that fail by it.
    pub failure_rate: f64,
}
