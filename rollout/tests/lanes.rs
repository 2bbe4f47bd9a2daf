//! A/B/n through real workers: what one version does bears on no other's numbers, and every request is counted once.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::Event;
use rollout::judgement::guards::GuardAction;
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::phase::{Cause, Phase};
use rollout::release::plan::{Plan, Strategy};
use rollout::routing::lane::Lane;
use rollout::routing::table::Scope;

use fixture::net::Net;
use fixture::{id, percent, plan, released, upstream};

const NAMES: [&str; 3] = ["web.blue", "web.green", "web.red"];

/// With every guard, the share of the requests among them.
fn version(nth: usize) -> Plan {
    plan(NAMES[nth], |spec| {
        let lane = Some(Lane::equal(&id("web"), NAMES.len())[nth].clone());
        spec.scope = Scope { lane, ..Scope::of_service(&id("web")) };
        spec.primary = upstream("web-primary");
        spec.strategy = Strategy::Steps([20].map(percent).to_vec());
        spec.guards = guards_of(&spec.checks, false, &GuardSettings::all(Some(GuardAction::Abort), GuardAction::Abort));
        // Nothing but a guard ends a release here.
        spec.interval = Millis::from_secs(3_600);
    })
}

fn begin() -> Net {
    let mut net = Net::new(2);
    (0..NAMES.len()).for_each(|nth| net.happen(Event::Declared(Box::new(version(nth)))));
    net.store();
    net.calm(Millis(1_000));
    net
}

fn release(net: &mut Net, name: &str) {
    net.happen(Event::Requested(id(name), released("v2")));
    net.store();
}

/// So many seconds of 400 requests each, a tenth of a second at a time. Of every hundred, two fail anyway; of green's, twenty.
fn serve(net: &mut Net, seconds: u64) {
    for tenth in 0..seconds * 10 {
        for node in 0..2 {
            let is_bad = |to: &str, n: u64| {
                let draw = (tenth * 20 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57;
                draw < if to == "web.green-canary" { 26 } else { 1 }
            };
            net.route_to(node, &id("web"), 20, is_bad);
        }
        net.calm(Millis(100));
    }
}

#[test]
fn a_bad_version_is_cut_the_good_ones_are_not_and_each_gets_its_share() {
    let mut net = begin();
    release(&mut net, "web.blue");
    serve(&mut net, 15);
    release(&mut net, "web.green");
    serve(&mut net, 30);
    release(&mut net, "web.red");
    serve(&mut net, 15);
    let phase = |name: &str| net.controller.canary(&id(name)).unwrap().phase.clone();
    assert!(matches!(phase("web.green"), Phase::Failed(_, Cause::Guards(_))), "{:?}", phase("web.green"));
    for name in ["web.blue", "web.red"] {
        assert!(phase(name).run().is_some(), "{name}: {:?}", phase(name));
        let canary = net.controller.canary(&id(name)).unwrap();
        let ratio = canary.verdict.as_ref().unwrap().ratio.unwrap();
        let (got, expected) = (ratio.canary as f64, ratio.expected);
        assert!((got - expected).abs() < 4.5 * expected.sqrt() && expected > 100.0, "{name}: {got} of {expected}");
        assert!(!ratio.is_tripped());
    }
    let totals = NAMES.map(|name| net.controller.canary(&id(name)).unwrap().evidence.totals().clone());
    let started: u64 = totals.iter().map(|totals| totals.primary.started + totals.canary.started).sum();
    assert_eq!(
        started,
        net.nodes.iter().map(|node| node.routed).sum::<u64>(),
        "each request is in one lane's evidence"
    );
    assert_eq!(started, 60 * 400);
    for (name, totals) in NAMES.iter().zip(&totals) {
        let lane = (totals.primary.started + totals.canary.started) as f64;
        assert!((lane - 8_000.0).abs() < 330.0, "{name} has {lane} of 24000 in its lane");
    }
}
