//! The attack suite: what clients have done to healthy canaries, each as a scenario, and the same with a canary that is bad.
//!
//! None of [`ATTACKS`] may abort a healthy release, and none may hide a bad one; what [`OPEN`] does is known and not mended
//! (`cargo xtask bench attacks`).

use rollout::base::time::Millis;
use rollout::judgement::guards::GuardRule;
use rollout::release::plan::{Plan, PlanError, Spec};
use rollout::routing::measurement::LatencyEnd;
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::routing::table::StickyKey;

use crate::attacker::{Attacker, CHOICE, Client, Keys};
use crate::scenario::{Scenario, Users};

/// Beyond the usual latency limit of 500 ms.
const TOO_LONG: Millis = Millis(800);
/// Beyond every proxy's patience.
const FOR_EVER: Millis = Millis(3_600_000);
/// Failures that are one event where users are sticky: what a manifest means that says nothing of it.
const STICKY_CLUSTER: u32 = 3;

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name in tables.
    pub name: &'static str,
    /// Who takes part.
    pub attackers: &'static [Attacker],
    /// What the plan must have for it.
    pub plan: PlanHas,
}

/// What a plan must have for an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanHas {
    /// Nothing.
    Nothing,
    /// `measure: lastByte`.
    LastByte,
    /// Users who stay on their version by a cookie.
    Sticky,
    /// A rule by which clients choose the canary, beside the weight.
    Rule,
}

/// What is wrong with the canary, from the beginning of the release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It fails this share of its requests.
    Fails(f64),
    /// Most of its answers take longer than the limit.
    IsSlow,
}

const STEADY: Attacker = Attacker::steady(60.0);
const POISON: Attacker = Attacker { failure_rate: 1.0, ..STEADY };
const QUICK: Client = Client { sends_for: Millis(0), reads_for: Millis(0), leaves_after: None };

const fn is(client: Client) -> Attacker {
    Attacker { client, ..STEADY }
}

const SLOW_UPLOAD: Client = Client { sends_for: TOO_LONG, ..QUICK };
/// Some read at last, some keep the answer until the route's time-out cuts it.
const SLOW_DOWNLOAD: [Attacker; 2] = [
    is(Client { reads_for: TOO_LONG, ..QUICK }),
    Attacker { per_second: 20.0, ..is(Client { reads_for: FOR_EVER, ..QUICK }) },
];
/// While they send, while they wait, and while they read.
const LEAVERS: [Attacker; 4] = [
    is(Client { sends_for: FOR_EVER, leaves_after: Some(Millis(700)), ..QUICK }),
    is(Client { leaves_after: Some(Millis(15)), ..QUICK }),
    is(Client { reads_for: FOR_EVER, leaves_after: Some(Millis(700)), ..QUICK }),
    Attacker { per_second: 20.0, ..is(Client { sends_for: FOR_EVER, leaves_after: Some(Millis(16_000)), ..QUICK }) },
];
/// A hundred of them at a time through one proxy, again and again.
const STREAMS: Client = Client { sends_for: FOR_EVER, leaves_after: Some(TOO_LONG), ..QUICK };
const ONE_CONNECTION: [Attacker; 4] = [one_connection(0), one_connection(3), one_connection(7), one_connection(12)];

const fn one_connection(from_s: u64) -> Attacker {
    Attacker { proxy: Some(0), client: STREAMS, ..Attacker::burst(100, Millis::from_secs(from_s)) }
}

const fn poison_at_once(from_s: u64) -> Attacker {
    Attacker { failure_rate: 1.0, ..Attacker::burst(150, Millis::from_secs(from_s)) }
}

/// Bodies that the upstream takes in late on either version: some clients wait for it, some do not.
const UNREAD: [Attacker; 2] = [
    is(Client { sends_for: Millis(18_000), ..QUICK }),
    is(Client { sends_for: Millis(18_000), leaves_after: Some(Millis(5_000)), ..QUICK }),
];

const fn attack(name: &'static str, plan: PlanHas, attackers: &'static [Attacker]) -> Attack {
    Attack { name, attackers, plan }
}

/// All of them.
pub const ATTACKS: [Attack; 14] = [
    attack("slow uploads", PlanHas::Nothing, &[is(SLOW_UPLOAD)]),
    attack("slow downloads, responseHeaders", PlanHas::Nothing, &SLOW_DOWNLOAD),
    attack("slow downloads, lastByte", PlanHas::LastByte, &SLOW_DOWNLOAD),
    attack("clients that leave early", PlanHas::Nothing, &LEAVERS),
    attack("poison, all at once", PlanHas::Nothing, &[poison_at_once(1), poison_at_once(7), poison_at_once(12)]),
    attack("poison, steady", PlanHas::Nothing, &[POISON]),
    attack("poison, 200 sticky users", PlanHas::Sticky, &[sticky_poison(200, 60.0)]),
    attack("header-only streams", PlanHas::Nothing, &[is(STREAMS)]),
    attack("header-only, one connection", PlanHas::Nothing, &ONE_CONNECTION),
    attack("unread uploads", PlanHas::Nothing, &UNREAD),
    attack("unread uploads, lastByte", PlanHas::LastByte, &UNREAD),
    attack("invented cookies, failing", PlanHas::Sticky, &[Attacker { keys: Keys::Fresh, ..POISON }]),
    attack("invented cookies, slow uploads", PlanHas::Sticky, &[Attacker { keys: Keys::Fresh, ..is(SLOW_UPLOAD) }]),
    attack("chosen by header, failing", PlanHas::Rule, &[Attacker { chooses: true, ..POISON }]),
];

const fn sticky_poison(users: u32, per_second: f64) -> Attacker {
    Attacker { per_second, keys: Keys::Few(users), ..POISON }
}

/// Those that do abort a healthy release more often: a few sticky users on a path that fails on both versions. If by chance
/// more of them are on the canary than its share, they fail there, slot after slot, and the primary has nobody like them.
pub const OPEN: [Attack; 2] = [
    attack("poison, 1 sticky user", PlanHas::Sticky, &[sticky_poison(1, 5.0)]),
    attack("poison, 20 sticky users", PlanHas::Sticky, &[sticky_poison(20, 60.0)]),
];

impl Attack {
    /// A scenario under this attack.
    ///
    /// # Errors
    /// When its plan cannot have what the attack needs.
    pub fn on(&self, scenario: &Scenario) -> Result<Scenario, Vec<PlanError>> {
        let mut spec: Spec = scenario.plan.clone().into();
        self.plan.edit(&mut spec);
        let plan = Plan::new(spec)?;
        let mut scenario = Scenario { attackers: self.attackers.to_vec(), ..scenario.clone() };
        scenario.traffic.users = plan.sticky.as_ref().map(|_| Users::default());
        Ok(Scenario { plan, ..scenario })
    }
}

impl PlanHas {
    fn edit(self, spec: &mut Spec) {
        match self {
            Self::Nothing => {}
            Self::LastByte => {
                spec.measurement.latency_end = LatencyEnd::LastByte;
                for guard in &mut spec.guards.guards {
                    if let GuardRule::Latency { end, .. } = &mut guard.rule {
                        *end = LatencyEnd::LastByte;
                    }
                }
            }
            Self::Sticky => {
                spec.sticky = Some(StickyKey::Cookie("session".into()));
                (spec.guards.max_cluster, spec.guards.sample_ratio) = (STICKY_CLUSTER, None);
            }
            Self::Rule => {
                let header = (CHOICE.0.to_owned(), StringMatch::Exact(CHOICE.1.into()));
                spec.rules = vec![MatchRule { headers: vec![header], ..MatchRule::default() }];
            }
        }
    }
}

impl Fault {
    /// A scenario whose canary is bad like this.
    #[must_use]
    pub fn on(self, mut scenario: Scenario) -> Scenario {
        match self {
            Self::Fails(share) => scenario.canary.failure_rate = share.into(),
            Self::IsSlow => scenario.canary.slower = Some((Millis(0), TOO_LONG)),
        }
        scenario
    }
}
