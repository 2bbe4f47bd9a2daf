//! Readable situations, each played with a few seeds and every law checked after every event.

#![cfg(test)]

mod fixture;

use fixture::{after, from_start, plan, runs, scenario};
use rollout::time::Millis;
use sim::behaviour::Failing;
use sim::mishaps::Mishap;
use sim::scenario::Incident;

#[test]
fn a_healthy_canary_is_promoted() {
    for outcome in runs(&scenario(|_| ()), 0..4) {
        assert_eq!(outcome.phase, "Succeeded", "{outcome:#?}");
        assert_eq!(outcome.promoted(), Some(Millis(15_000)));
    }
}

#[test]
fn a_fifth_of_failures_is_cut_after_a_handful() {
    let scenario = scenario(|scenario| scenario.canary.failure_rate = from_start(0.2));
    for outcome in runs(&scenario, 0..4) {
        println!("{:?} {:?} {:?}", outcome.aborted(), outcome.canary, outcome.last_canary_request);
        assert_eq!(outcome.phase, "Failed");
    }
}
