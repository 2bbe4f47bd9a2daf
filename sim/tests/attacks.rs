//! A smoke of the attack suite: no attack aborts a healthy canary, and none hides a bad one. The 2,000 rounds of each that
//! bound the rate are `cargo xtask bench attacks`.

#![cfg(test)]

mod fixture;

use std::thread;

use fixture::{plan, scenario};
use rollout::base::time::Millis;
use rollout::judgement::certificate::Certificate;
use rollout::judgement::guards::GuardRule;
use rollout::release::plan::{Advance, Plan, Spec};
use sim::attacks::{ATTACKS, Attack, Fault};
use sim::scenario::Scenario;

/// At a true rate of 1 % at most [`MOST`] of them are aborted with a probability of 99.9 %, at one of 10 % more than that
/// with 94 %.
const ROUNDS: u64 = 100;
const MOST: usize = 5;
/// Poison hides a canary that fails a fifth of the rest for longest.
const UNTIL_FOUND: Millis = Millis(180_000);

/// A short release at few requests: 150 a second, steps of 2 s.
fn short(attack: &Attack) -> Scenario {
    let base = scenario(|scenario| {
        scenario.plan = plan(|spec| {
            spec.advance = Advance::Certificate(Certificate { min_dwell: Millis(2_000), ..Certificate::USUAL });
        });
        scenario.traffic.per_second = 150.0;
        // The agent learns how much comes, and makes slots as short as that allows.
        scenario.warm_up = Millis(3_000);
        scenario.watched_for = Millis(6_000);
    });
    attack.on(&base).unwrap()
}

/// How many rounds were aborted, and what was said of the first.
fn aborted(scenario: &Scenario, seeds: std::ops::Range<u64>) -> (usize, Option<String>) {
    let play = |seed| sim::run(scenario, seed).aborted().map(|(at, cause)| format!("seed {seed}, {at:?}: {cause}"));
    let mut all: Vec<String> = seeds.filter_map(play).collect();
    (all.len(), all.drain(..).next())
}

/// For each attack, on as many threads as there are processors.
fn each_attack(check: impl Fn(&Attack) + Sync) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for first in 0..threads {
            let check = &check;
            scope.spawn(move || ATTACKS.iter().skip(first).step_by(threads).for_each(check));
        }
    });
}

/// With guards that forgive nothing, where the attack makes nothing fail: time that is not the version's needs no
/// forgiveness, and would hide behind it here.
fn strict(attack: &Attack) -> Scenario {
    let mut scenario = short(attack);
    if attack.attackers.iter().all(|attacker| attacker.failure_rate == 0.0) {
        let mut spec: Spec = scenario.plan.into();
        for guard in &mut spec.guards.guards {
            if let GuardRule::Slo { unless_primary_also, .. } | GuardRule::Latency { unless_primary_also, .. } =
                &mut guard.rule
            {
                *unless_primary_also = false;
            }
        }
        scenario.plan = Plan::new(spec).unwrap();
    }
    scenario
}

#[test]
fn no_attack_aborts_a_healthy_canary() {
    each_attack(|attack| {
        let (count, first) = aborted(&strict(attack), 0..ROUNDS);
        assert!(count <= MOST, "{}: {count} of {ROUNDS} aborted, {first:?}", attack.name);
    });
}

#[test]
fn no_attack_hides_a_bad_canary() {
    each_attack(|attack| {
        for fault in [Fault::Fails(1.0), Fault::Fails(0.2), Fault::IsSlow] {
            let scenario = Scenario { watched_for: UNTIL_FOUND, ..fault.on(short(attack)) };
            let (count, _) = aborted(&scenario, 0..3);
            assert_eq!(count, 3, "{}: {fault:?}", attack.name);
        }
    });
}
