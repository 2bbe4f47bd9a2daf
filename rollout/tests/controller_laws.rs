//! The controller's laws under random events, crashes and restarts: see `fixture/world.rs` for those checked after each.

#![cfg(test)]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb, WorkerEvent};
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::{Callee, Reply};
use rollout::release::integrations::{Hook, HookKind, MetricError};
use rollout::release::plan::{Plan, Promotion, Stop, Strategy as Shares};
use rollout::routing::table::Epoch;
use rollout::worker::messages::{Incarnation, Report};

use fixture::world::{World, replay, round_trip};
use fixture::{
    call, counts, gate, hello, hook, id, in_lane, in_lane_of, metric, on_certificate, percent, plan, report, trip,
    unsupported, word,
};

const NAMES: [&str; 2] = ["web", "cart"];
const PEERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Declare(usize, u8),
    Withdraw(usize),
    Connect(usize),
    Disconnect(usize),
    Report(usize, usize, [u64; 3]),
    Trip(usize, usize),
    Adopted(usize, usize),
    Ask(usize, u8, u8),
    Answer(usize, u8),
    Wait(u64),
    Timer,
    Store,
    Crash,
    Snapshot,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (canary, peer) = (0..NAMES.len(), 0..PEERS);
    let traffic = prop::sample::select(vec![[100, 0, 0], [50, 50, 0], [50, 0, 50], [0, 0, 0]]);
    let op = prop_oneof![
        2 => (canary.clone(), 0u8..16).prop_map(|(canary, variant)| Op::Declare(canary, variant)),
        1 => canary.clone().prop_map(Op::Withdraw),
        4 => peer.clone().prop_map(Op::Connect),
        1 => peer.clone().prop_map(Op::Disconnect),
        6 => (peer.clone(), canary.clone(), traffic).prop_map(|(peer, canary, traffic)| Op::Report(peer, canary, traffic)),
        2 => (peer.clone(), canary.clone()).prop_map(|(peer, canary)| Op::Trip(peer, canary)),
        3 => (peer, canary.clone()).prop_map(|(peer, canary)| Op::Adopted(peer, canary)),
        4 => (canary.clone(), 0u8..3).prop_map(|(canary, revision)| Op::Ask(canary, 0, revision)),
        5 => (canary, 1u8..14).prop_map(|(canary, verb)| Op::Ask(canary, verb, 0)),
        4 => (0usize..8, 0u8..4).prop_map(|(call, what)| Op::Answer(call, what)),
        2 => (0u64..20_000).prop_map(Op::Wait),
        6 => Just(Op::Timer),
        8 => Just(Op::Store),
        2 => Just(Op::Crash),
        1 => Just(Op::Snapshot),
    ];
    prop::collection::vec(op, 1..80)
}

fn variant(canary: usize, variant: u8) -> Plan {
    plan(NAMES[canary], |spec| match variant {
        1 => spec.promotion = Promotion::Swap,
        2 => spec.promotion = hook(),
        3 => spec.unsupported.push(unsupported()),
        4 => spec.threshold = 1,
        5 => std::mem::swap(&mut spec.primary, &mut spec.canary),
        6 => {
            spec.promotion = hook();
            spec.outside.hooks = HookKind::ALL.map(|kind| call(kind.name(), kind)).to_vec();
            spec.outside.metrics.push(metric("errors"));
            spec.outside.blind_limit = 1;
        }
        7 => spec.outside.hooks = approvals(),
        8 => {
            spec.strategy = Shares::Iterations(2);
            spec.course.mirror = Some(percent(50));
        }
        9 => {
            on_certificate(spec, Otherwise::Hold, Otherwise::Pause);
            spec.outside.metrics.push(metric("errors"));
            spec.outside.hooks = approvals();
        }
        10 => {
            spec.course.promotion_step = Some(percent(7));
            spec.course.bake = Some(Millis(5_000));
            spec.course.stops =
                vec![Stop { dwell: Millis(15_000), pause: false }, Stop { dwell: Millis(0), pause: true }];
        }
        11 => spec.course.skip_analysis = true,
        12 => spec.course.suspend = true,
        13 => in_lane(spec, canary),
        // Three lanes: they lie across the two.
        14 => in_lane_of(spec, 1 - canary, 3),
        15 => {
            in_lane(spec, canary);
            spec.outside.hooks = vec![gate("winner", HookKind::ConfirmPromotion)];
        }
        _ => {}
    })
}

fn verb(kind: u8, revision: u8) -> Verb {
    let (actor, reason) = (word("ana"), String::from("so"));
    match kind {
        0 => Verb::Release {
            revision: word(&format!("v{revision}")),
            actor,
            reason: String::new(),
            accept_unsupported: revision == 2,
        },
        1 => Verb::Abort { actor, reason },
        2 => Verb::Promote { actor, reason: String::new() },
        3 => Verb::Confirm { actor, reason: String::new() },
        4 => Verb::Pause { actor, reason },
        5 => Verb::Resume { actor, reason },
        6 => Verb::Retry { actor, reason: String::new() },
        7 => Verb::SetWeight { weight: percent(17), actor, reason },
        8 => Verb::Skip { actor, reason },
        9 => Verb::OpenGate { gate: "rollout".into(), revision: None, expires_after: None, actor, reason },
        10 => Verb::CloseGate { gate: "rollout".into(), actor, reason },
        11 => Verb::CloseGate { gate: "roll-back".into(), actor, reason },
        12 => Verb::Forget { actor, reason },
        _ => Verb::OpenGate {
            gate: "roll-back".into(),
            revision: None,
            expires_after: Some(Millis(9_000)),
            actor,
            reason,
        },
    }
}

/// A stored gate before the release begins, and one that rolls it back.
fn approvals() -> Vec<Hook> {
    vec![gate("rollout", HookKind::ConfirmRollout), gate("roll-back", HookKind::Rollback)]
}

fn play(world: &mut World, op: &Op) {
    match *op {
        Op::Declare(canary, kind) => world.happen(Event::Declared(Box::new(variant(canary, kind)))),
        Op::Withdraw(canary) => world.happen(Event::Withdrawn(id(NAMES[canary]))),
        Op::Connect(peer) => world.connect(peer),
        Op::Disconnect(peer) => {
            if let Some(conn) = world.peers[peer].conn.take() {
                world.happen(Event::Disconnected(conn));
            }
        }
        Op::Report(peer, canary, [good, bad, slow]) => {
            let canary = id(NAMES[canary]);
            let epoch = world.peers[peer].adopted.get(&canary).copied().unwrap_or_default();
            let sides = [counts(good + bad, 0, 0), counts(good, bad, slow)];
            world.report(peer, |number| report(number, &canary, epoch, sides));
        }
        Op::Trip(peer, canary) => {
            let canary = id(NAMES[canary]);
            let epoch = world.peers[peer].adopted.get(&canary).copied().unwrap_or_default();
            let trips = vec![trip(&canary, epoch)];
            world.report(peer, |number| Report {
                number,
                strata: vec![],
                watermarks: vec![],
                trips,
                destinations: vec![],
            });
        }
        Op::Adopted(peer, canary) => {
            let (held, canary) = (&world.peers[peer], id(NAMES[canary]));
            if let (Some(conn), Some(epoch)) = (held.conn, held.adopted.get(&canary).copied()) {
                world.happen(Event::adopted(conn, canary, epoch));
            }
        }
        Op::Ask(canary, kind, revision) => world.ask(&id(NAMES[canary]), verb(kind, revision)),
        Op::Answer(call, what) => {
            let Some(call) = call.checked_rem(world.calls.len()) else { return };
            let (canary, call) = world.calls.swap_remove(call);
            let reply = match (call.callee, what) {
                (Callee::Metric(_), 0) => Reply::Metric(Err(MetricError::NoValue)),
                (Callee::Metric(_), 1) => Reply::Metric(Ok(11.0)),
                (Callee::Metric(_), _) => Reply::Metric(Ok(9.0)),
                (_, 0) => Reply::Hook(Err("status 500".into())),
                (_, _) => Reply::Hook(Ok(())),
            };
            world.happen(Event::Reply { canary, call, reply });
        }
        Op::Wait(ms) => world.now = world.now.plus(Millis(ms)),
        Op::Timer => {
            let Some(due) = world.controller.deadline() else { return };
            world.now = world.now.max(due);
            world.happen(Event::Timer);
            let next = world.controller.deadline();
            assert!(next.is_none_or(|next| next > world.now), "a deadline that was met stays due");
        }
        Op::Store => world.store(),
        Op::Crash => world.crash(),
        Op::Snapshot => {
            let copy = round_trip(&world.controller);
            assert_eq!(copy, world.controller, "a snapshot is the whole state");
            world.controller = copy;
        }
    }
}

/// What each managed canary's workers started, counted the simple way.
fn started(events: &[(Event, Millis)]) -> BTreeMap<CanaryId, u64> {
    let mut sums = BTreeMap::new();
    let mut on: BTreeMap<Conn, Incarnation> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut controller = Controller::default();
    for (event, at) in events {
        controller.handle(event.clone(), *at);
        match event {
            Event::Declared(plan) => {
                sums.entry(plan.id.clone()).or_insert(0);
            }
            Event::Connected(conn, hello) => {
                on.retain(|_, worker| *worker != hello.incarnation);
                on.insert(*conn, hello.incarnation);
            }
            Event::Disconnected(conn) => {
                on.remove(conn);
            }
            Event::Restarted { .. } => on.clear(),
            Event::Workers(events) => {
                for (conn, event) in events {
                    let WorkerEvent::Reported(report) = event else { continue };
                    if on.get(conn).is_some_and(|it| seen.insert((*it, report.number))) {
                        for (stratum, counts) in &report.strata {
                            sums.entry(stratum.canary.clone()).and_modify(|sum| *sum += counts.started);
                        }
                    }
                }
            }
            _ => {}
        }
        // What is kept of a canary without a manifest counts on.
        sums.retain(|id, _| controller.canary(id).is_some());
    }
    sums
}

proptest! {
    #![proptest_config(fixture::cases(400))]

    #[test]
    fn whatever_happens_the_laws_hold(ops in ops()) {
        let mut world = World::new(PEERS);
        play(&mut world, &Op::Declare(0, 0));
        for op in &ops {
            play(&mut world, op);
        }
        let events = world.events();
        prop_assert_eq!(&replay(events.iter()), &world.controller, "state is the fold of the journal");
        for (id, sum) in started(&events) {
            let totals = world.controller.canary(&id).unwrap().evidence.totals();
            prop_assert_eq!(totals.primary.started + totals.canary.started, sum, "each report counts once");
        }
    }
}

/// Found by the laws: with a failed release, a changed manifest's entry left with a Hello before it was stored.
#[test]
fn an_epoch_never_means_two_things_although_a_manifest_changed_after_a_cut_and_was_lost() {
    let mut world = World::new(PEERS);
    play(&mut world, &Op::Declare(0, 0));
    world.connect(0);
    world.ask(&id("web"), verb(0, 0));
    world.ask(&id("web"), verb(1, 0));
    world.store();
    play(&mut world, &Op::Declare(0, 5));
    world.connect(0);
    world.crash();
    world.ask(&id("web"), verb(0, 0));
    world.store();
}

#[test]
fn a_canary_that_comes_back_numbers_its_releases_on() {
    let mut world = World::new(PEERS);
    for release in 1..=2 {
        play(&mut world, &Op::Declare(0, 0));
        world.ask(&id("web"), verb(0, 0));
        assert_eq!(world.controller.canary(&id("web")).unwrap().releases, release);
        play(&mut world, &Op::Withdraw(0));
    }
}

#[test]
fn an_aborted_release_is_not_resumed_after_its_abort_was_lost_even_if_it_went_on_meanwhile() {
    for checks_before_hello in 0..3 {
        let mut world = World::new(PEERS);
        let web = id("web");
        play(&mut world, &Op::Declare(0, 0));
        world.connect(0);
        world.ask(&web, verb(0, 1));
        world.store();
        world.ask(&web, verb(1, 0));
        world.crash();
        world.connect(1);
        for _ in 0..checks_before_hello {
            world.store();
            play(&mut world, &Op::Report(1, 0, [100, 0, 0]));
            play(&mut world, &Op::Timer);
            world.store();
        }
        world.connect(0);
        let phase = &world.controller.canary(&web).unwrap().phase;
        assert_eq!(phase.name(), "Failed", "after {checks_before_hello} more checks: {phase:?}");
    }
}

#[test]
fn memory_is_bounded_against_a_worker_that_invents_epochs_and_canaries() {
    let (mut controller, now, web, conn) = (Controller::default(), Millis(1), id("web"), Conn(1));
    controller.handle(Event::Declared(Box::new(variant(0, 0))), now);
    let unknown = (0..6000).map(|n| (id(&format!("c{n}")), Epoch(1))).collect();
    controller.handle(Event::Connected(conn, hello(1, unknown)), now);
    controller.handle(Event::Requested(web.clone(), verb(0, 1)), now);
    for epoch in 10..3000 {
        let odd = report(epoch, &web, Epoch(epoch), [counts(1, 0, 0), counts(1, 0, 0)]);
        controller.handle(Event::reported(conn, odd), now);
    }
    for kind in [4, 5].repeat(1500) {
        controller.handle(Event::Requested(web.clone(), verb(kind, 0)), now);
    }
    let state = serde_json::to_value(&controller).unwrap();
    let canary = &state["canaries"]["prod/web"];
    let lengths = [&canary["evidence"]["strata"], &canary["history"]].map(|list| list.as_array().unwrap().len());
    assert!(lengths[0] <= 1030 && lengths[1] <= 1000, "{lengths:?}");
    assert!(state["remembered"].as_object().unwrap().len() <= 4096);
    let held = controller.canary(&web).unwrap();
    assert_eq!(held.evidence.release(), held.evidence.totals(), "merging loses nothing");
}

#[test]
fn hostile_numbers_cannot_stop_it() {
    let web = id("web");
    for numbers in [[u64::MAX, u64::MAX - 1], [u64::MAX - 1, u64::MAX], [0, u64::MAX], [1, u64::MAX]] {
        let mut world = World::new(1);
        play(&mut world, &Op::Declare(0, 0));
        world.peers[0].adopted.insert(web.clone(), Epoch(u64::MAX));
        world.connect(0);
        world.ask(&web, verb(0, 1));
        for number in numbers {
            let mut sides = [counts(1, 0, 0), counts(0, 1, 0)];
            sides.iter_mut().for_each(|side| (side.started, side.succeeded) = (u64::MAX, u64::MAX));
            world.peers[0].in_flight = Some(report(number, &web, Epoch(u64::MAX), sides));
            world.report(0, |_| unreachable!());
        }
        rollout::view::status::workers(&world.controller, world.now);
        let canary = world.controller.canary(&web).unwrap();
        rollout::view::status::canary(&world.controller, canary, world.now);
        play(&mut world, &Op::Timer);
    }
}
