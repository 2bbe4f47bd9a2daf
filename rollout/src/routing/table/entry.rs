//! How one canary's traffic is routed, under an epoch: what the agent sends and a worker adopts.

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Upstream};
use crate::base::time::{Micros, Millis};
use crate::base::weight::WeightPpm;
use crate::routing::cookie::IssuedCookie;
use crate::routing::fuse_plan::FusePlan;
use crate::routing::lane::Lane;
use crate::routing::measurement::Measurement;
use crate::routing::request::MatchRule;

/// The number of a canary's entry; only a greater one is ever adopted. 0 is never issued by an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next epoch for an entry that leaves after it was stored: even.
    #[must_use]
    pub const fn next(self) -> Self {
        Self((self.0 | 1).saturating_add(1))
    }

    /// The next epoch for an abort: odd. It leaves before it is stored, so an agent that lost it in a crash could give its
    /// epoch to something else; with odd epochs for aborts alone, a worker's Hello tells a lost abort from what came after it.
    #[must_use]
    pub const fn next_abort(self) -> Self {
        Self(self.0.saturating_add(1) | 1)
    }

    /// Whether an abort has it.
    pub const fn is_abort(self) -> bool {
        self.0 % 2 == 1
    }

    /// The first epoch that no agent can have issued by now. An agent goes on above what its workers hold, so a forged epoch
    /// raises those of the whole fleet, and one that was near the end of the numbers would leave none. A bound that stands
    /// still would not do: raised to it and forgotten with the agent's data, they would be beyond what the next agent
    /// believes, and nothing could steer those workers. This one moves with the clock and faster than entries are issued:
    /// whatever was believed and issued is believed later. JSON's readers take the numbers as they are until the year 2248.
    /// The day is for an agent that starts with a clock far behind.
    pub const fn bound_at(now: Millis) -> Self {
        const DAY: Millis = Millis::from_secs(86_400);
        const FOR_EACH_MS: u64 = 1 << 10;
        Self(now.plus(DAY).0.saturating_mul(FOR_EACH_MS))
    }
}

/// Which side of the split served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Version {
    /// The proven version; serves all that the canary does not.
    Primary,
    /// The version on trial.
    Canary,
}

impl Version {
    /// Both, primary first.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Canary];

    /// The version's name in messages, tables and stats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Canary => "canary",
        }
    }
}

/// What makes one user stay on one version while the weight grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StickyKey {
    /// A header's first value.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// The value of a cookie that the filter issues to users without one.
    IssuedCookie(IssuedCookie),
    /// The client's address as the proxy trusts it, without the port.
    ClientAddress,
}

/// Which traffic a canary is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Hosts in lower case without port: a name, `*.suffix`, or `*` for any.
    pub hosts: Vec<String>,
    /// String prefixes of the path, as in Envoy's and Istio's routes: a path with any of them is in scope. At least one,
    /// in order, none beginning with another.
    pub path_prefixes: Vec<String>,
    /// Which part of that traffic, where several versions are tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
}

impl Scope {
    /// The names under which a Kubernetes service is called: `name`, `name.namespace` and the longer ones.
    pub fn of_service(id: &CanaryId) -> Self {
        let (name, namespace) = (id.name(), id.namespace());
        let hosts = ["", ".svc", ".svc.cluster.local"].map(|tail| format!("{name}.{namespace}{tail}"));
        Self {
            hosts: [name.to_owned()].into_iter().chain(hosts).collect(),
            path_prefixes: vec!["/".into()],
            lane: None,
        }
    }

    /// The longest of its prefixes that a path has.
    pub fn prefix_of(&self, path: &[u8]) -> Option<&str> {
        let fitting = self.path_prefixes.iter().filter(|prefix| path.starts_with(prefix.as_bytes()));
        fitting.map(String::as_str).max_by_key(|prefix| prefix.len())
    }

    /// Prefixes in order, without those that another one of them covers.
    pub fn merged(mut prefixes: Vec<String>) -> Vec<String> {
        prefixes.sort();
        // In order, what a prefix covers follows it.
        prefixes.dedup_by(|next, kept| next.starts_with(kept.as_str()));
        prefixes
    }

    /// The canary that a manifest or a proxy's configuration names where it means this traffic: of several versions the
    /// one whose name they share, else `own`.
    pub fn service<'a>(&'a self, own: &'a CanaryId) -> &'a CanaryId {
        self.lane.as_ref().map_or(own, Lane::of)
    }

    /// What share of this traffic a share of all the service's is.
    pub fn within(&self, weight: WeightPpm) -> WeightPpm {
        self.lane.as_ref().map_or(weight, |lane| lane.within(weight))
    }

    /// What share of all the service's traffic a share of this is.
    pub fn of_all(&self, weight: WeightPpm) -> WeightPpm {
        self.lane.as_ref().map_or(weight, |lane| lane.of_all(weight))
    }
}

/// The split while a release is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Where the canary's share goes.
    pub canary: Upstream,
    /// The canary's share of what no rule places, within its scope (and lane).
    pub weight: WeightPpm,
    /// Share of the primary's requests that the canary gets a copy of.
    #[serde(default)]
    pub mirror: WeightPpm,
    /// Requests that match any of these go to the canary, independent of the weight.
    pub rules: Vec<MatchRule>,
    /// Keeps a user on one side; without it the choice is per request.
    pub sticky: Option<StickyKey>,
    /// Mixed into the sticky hash; canary and release, so other users come first next time.
    pub salt: String,
    /// Length of the slots in which requests are counted, fixed when the entry is issued.
    pub slot: Millis,
    /// A version's time longer than this is slow; without it nothing is.
    pub latency_limit: Option<Micros>,
    /// What counts as a version's time.
    #[serde(default)]
    pub measurement: Measurement,
    /// The limits at which a worker stops sending to the canary by itself.
    pub fuse: Option<FusePlan>,
}

impl Split {
    /// Whether nobody but those whom a rule means is sent to the canary.
    pub fn is_by_rule_alone(&self) -> bool {
        self.weight == WeightPpm::ZERO && !self.rules.is_empty()
    }
}

/// How one canary's traffic is routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Whose entry this is.
    pub canary: CanaryId,
    /// Which of the canary's entries this is: the greatest wins.
    pub epoch: Epoch,
    /// What to do; `None` withdraws the canary: the worker forgets all but the epoch.
    pub routing: Option<Routing>,
}

/// The part of an [`Entry`] that routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Which traffic.
    pub scope: Scope,
    /// Where the primary's share goes.
    pub primary: Upstream,
    /// The split; `None` while no release is on.
    pub split: Option<Split>,
}
