//! A fleet on a bad network: whatever breaks, counts stay exact and every worker ends on the agent's table.

#![cfg(test)]

mod fixture;

use proptest::prelude::*;
use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::{Peer, Placed};
use rollout::controller::{Event, Verb};
use rollout::routing::measurement::{Measurement, WarmUp};
use rollout::routing::table::{Entry, Epoch, Routing, Split};
use rollout::worker::{HeaderEdit, IDLE_EVERY, REPORT_EVERY, WorkerAction};

use fixture::net::{LEASE, Net, worker};
use fixture::{id, percent, plan, released, upstream, word};

const NODES: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Route(usize, u64),
    Tick(usize),
    Up(usize),
    Down(usize),
    Lose(usize),
    Kill(usize),
    Wait(u64),
    Timer,
    Ask(u8),
    Store,
    Snapshot,
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..NODES, 1u64..30).prop_map(|(node, requests)| Op::Route(node, requests)),
        8 => (0..NODES).prop_map(Op::Tick),
        10 => (0..NODES).prop_map(Op::Up),
        10 => (0..NODES).prop_map(Op::Down),
        2 => (0..NODES).prop_map(Op::Lose),
        1 => (0..NODES).prop_map(Op::Kill),
        4 => (1u64..3_000).prop_map(Op::Wait),
        2 => Just(Op::Timer),
        2 => (0u8..4).prop_map(Op::Ask),
        8 => Just(Op::Store),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 20..250)
}

fn begin(nodes: usize) -> Net {
    let mut net = Net::new(nodes);
    net.happen(Event::Declared(Box::new(plan("web", |spec| spec.threshold = 100))));
    net.store();
    net.calm(Millis(1_000));
    net
}

fn ask(net: &mut Net, kind: u8) {
    let (actor, reason) = (word("ana"), String::new());
    let verb = match kind {
        0 | 1 => released(&format!("v{}", net.now.0)),
        2 => Verb::Abort { actor, reason },
        _ => Verb::Promote { actor, reason: String::new() },
    };
    net.happen(Event::Requested(id("web"), verb));
}

fn play(net: &mut Net, op: &Op) {
    match *op {
        Op::Route(node, requests) => {
            net.route(node, &id("web"), requests);
        }
        Op::Tick(node) => net.tick(node),
        Op::Up(node) => net.deliver_up(node),
        Op::Down(node) => net.deliver_down(node),
        Op::Lose(node) => net.lose(node),
        Op::Kill(node) => net.kill(node),
        Op::Wait(ms) => net.now = net.now.plus(Millis(ms)),
        Op::Timer => {
            net.now = net.now.max(net.controller.deadline().unwrap_or_default());
            net.happen(Event::Timer);
        }
        Op::Ask(kind) => ask(net, kind),
        Op::Store => net.store(),
        Op::Snapshot => net.snapshot(),
        Op::Crash => net.crash(),
    }
}

fn placed(peer: &Peer) -> u64 {
    peer.placed.values().map(Placed::total).sum()
}

proptest! {
    #![proptest_config(fixture::cases(150))]

    #[test]
    fn counts_are_exact_and_tables_agree_whatever_broke(ops in ops()) {
        let mut net = begin(NODES);
        ops.iter().for_each(|op| play(&mut net, op));
        net.calm(Millis(30_000));
        let canary = net.controller.canary(&id("web")).unwrap();
        let mut survivors = 0;
        for node in &net.nodes {
            let peer = net.controller.fleet().workers().find(|(incarnation, _)| *incarnation == node.incarnation);
            let (_, peer) = peer.expect("every living worker is known");
            prop_assert_eq!(placed(peer), node.placed, "what {} routed", peer.node);
            prop_assert_eq!(peer.received.missing(), 0);
            let in_force: Vec<_> = node.worker.weights(net.now).map(|(_, epoch, weight)| (epoch, weight)).collect();
            prop_assert_eq!(in_force, [(canary.epoch, canary.weight())]);
            survivors += node.routed;
        }
        prop_assert_eq!(net.controller.fleet().behind(&id("web"), canary.epoch), 0);
        let totals = canary.evidence.totals();
        let started = totals.primary.started + totals.canary.started;
        prop_assert!(started >= survivors && started <= survivors + net.lost_at_most, "{started}");
        prop_assert_eq!(totals.primary.pending() + totals.canary.pending(), 0);
    }
}

#[test]
fn silence_longer_than_the_lease_ends_the_canarys_share() {
    let (mut net, web) = (begin(1), id("web"));
    ask(&mut net, 0);
    net.calm(Millis(1_000));
    assert!(net.route(0, &web, 1_000) > 50, "10 % of 1000");
    // The last message of the agent came at most a second ago.
    net.now = Millis(net.now.0 + LEASE.0 - 1_000);
    assert!(net.route(0, &web, 1_000) > 50, "the last table holds for the lease");
    net.now = net.now.plus(Millis(1_001));
    assert_eq!(net.route(0, &web, 1_000), 0, "and no longer");
    assert!(net.nodes[0].worker.weights(net.now).all(|(.., weight)| weight.ppm() == 0));
    net.calm(Millis(12_000));
    assert!(net.route(0, &web, 1_000) > 50, "an agent that is back gives it back");
}

#[test]
fn an_abort_reaches_every_worker_although_nothing_can_be_stored() {
    let (mut net, web) = (begin(NODES), id("web"));
    ask(&mut net, 0);
    net.calm(Millis(1_000));
    ask(&mut net, 2);
    (0..NODES).for_each(|node| net.deliver_down(node));
    for node in 0..NODES {
        assert_eq!(net.route(node, &web, 1_000), 0);
    }
}

#[test]
fn a_static_canary_has_no_lease() {
    let web = id("web");
    let split = Split {
        canary: upstream("web-canary"),
        weight: percent(100),
        mirror: percent(0),
        rules: vec![],
        sticky: None,
        salt: String::new(),
        slot: Millis(100),
        latency_limit: None,
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        fuse: None,
    };
    let spec = fixture::spec("web");
    let routing = Routing { scope: spec.scope, primary: spec.primary, split: Some(split) };
    let fixed = Entry { canary: web.clone(), epoch: Epoch(0), routing: Some(routing) };
    for has_agent in [false, true] {
        let mut worker = worker(1, has_agent, vec![fixed.clone()]);
        let headers: [(&[u8], &[u8]); 1] = [(b":authority", b"web")];
        let request = rollout::routing::request::Request { headers: &headers, client_address: None };
        let decision = worker.route(request, Micros(LEASE.0 * 1000 * 10));
        assert_eq!(decision.header, HeaderEdit::Set(upstream("web-canary")));
    }
}

#[test]
fn only_a_worker_that_seeks_an_agent_ticks_fast_without_one() {
    for (has_agent, period) in [(false, IDLE_EVERY), (true, REPORT_EVERY)] {
        let actions = worker(1, has_agent, vec![]).tick(Millis(0));
        assert!(actions.contains(&WorkerAction::TickEvery(period)), "{has_agent}: {actions:?}");
    }
}
