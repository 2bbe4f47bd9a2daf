use proptest::prelude::*;

use super::*;
use crate::worker::fuse::FuseTest;
use crate::worker::messages::PROTOCOL;

/// One thing that happens to the fleet.
#[derive(Clone, Debug)]
enum Happens {
    Connects { worker: u64, node: u8, default: u8, adopted: u64, is_tripped: bool },
    Goes(u64),
    Adopts(u64, u64),
    Trips(u64, u64),
    Restarts,
    Waits(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (0..6u64, 0..3u8, 0..4u8, 0..6u64, any::<bool>()).prop_map(|(worker, node, default, adopted, is_tripped)| {
            Happens::Connects { worker, node, default, adopted, is_tripped }
        }),
        (0..40u64).prop_map(Happens::Goes),
        (0..40u64, 0..6u64).prop_map(|(conn, epoch)| Happens::Adopts(conn, epoch)),
        (0..40u64, 0..6u64).prop_map(|(conn, epoch)| Happens::Trips(conn, epoch)),
        Just(Happens::Restarts),
        (0..400_000u64).prop_map(Happens::Waits),
    ]
}

fn web() -> CanaryId {
    CanaryId::new("prod", "web").unwrap()
}

fn trip(epoch: u64) -> Trip {
    Trip { canary: web(), epoch: Epoch(epoch), test: FuseTest::Failed, events: 3, trials: 3 }
}

fn upstream(n: u8) -> Upstream {
    Upstream::parse(["web-primary", "web-canary", "other"][usize::from(n)]).unwrap()
}

fn hello(worker: u64, node: u8, default: u8, adopted: u64, is_tripped: bool) -> Hello {
    Hello {
        protocol: PROTOCOL,
        incarnation: Incarnation(worker),
        node: ["", "edge-1", "edge-2"][usize::from(node)].into(),
        cluster: String::new(),
        filter_version: String::new(),
        adopted: vec![(web(), Epoch(adopted))],
        default_upstreams: (default < 3).then(|| (web(), upstream(default))).into_iter().collect(),
        trips: is_tripped.then(|| trip(adopted)).into_iter().collect(),
    }
}

/// The answers as a walk over all workers gives them.
fn walked(fleet: &Fleet, now: Millis) -> (usize, usize, usize, Vec<bool>, bool, Option<Millis>) {
    let workers = || fleet.workers.values();
    let age = |peer: &Peer| now.since(peer.last_seen_at());
    let is_away = |peer: &&Peer| !peer.is_live();
    let is_back = |peer: &Peer| workers().any(|live| live.is_live() && !live.node.is_empty() && live.node == peer.node);
    let speaks = |peer: &Peer| peer.is_live() || (age(peer) <= EXPECTED_FOR && !is_back(peer));
    let expected = workers().filter(|peer| peer.is_live() || age(peer) <= EXPECTED_FOR).count();
    let behind = workers().filter(|peer| peer.is_live() && !peer.has_adopted(&web(), Epoch(3))).count();
    let unconfirmed = workers().filter(is_away).filter(|peer| age(peer) < Millis(60_000));
    let unconfirmed = behind + unconfirmed.filter(|peer| !peer.has_adopted(&web(), Epoch(3))).count();
    let serving = |n: u8| workers().any(|peer| speaks(peer) && peer.default_upstream(&web()) == upstream(n).as_str());
    let tripped =
        workers().any(|peer| peer.tripped().contains_key(&web()) && (peer.is_live() || age(peer) < BACK_WITHIN));
    let given_up = workers().filter(is_away).map(|peer| peer.last_seen_at().plus(EXPECTED_FOR).plus(Millis(1)));
    let given_up = given_up.filter(|at| *at > now).min();
    (expected, behind, unconfirmed, (0..3).map(serving).collect(), tripped, given_up)
}

proptest! {
    #[test]
    fn the_index_answers_as_a_walk_over_all_workers_would(all in prop::collection::vec(happens(), 1..60)) {
        let (mut fleet, mut now, mut conns) = (Fleet::default(), Millis(1_000_000), 0u64);
        for happens in all {
            match happens {
                Happens::Connects { worker, node, default, adopted, is_tripped } => {
                    conns += 1;
                    fleet.connect(Conn(conns), hello(worker, node, default, adopted, is_tripped), PROTOCOL, now);
                    is_tripped.then(|| fleet.trip(Conn(conns), &trip(adopted)).map(|_| ()));
                }
                Happens::Goes(conn) => fleet.disconnect(Conn(conn), now),
                Happens::Adopts(conn, epoch) => fleet.adopt(Conn(conn), &web(), Epoch(epoch), now),
                Happens::Trips(conn, epoch) => drop(fleet.trip(Conn(conn), &trip(epoch)).map(|_| ())),
                Happens::Restarts => fleet.disconnect_all(now),
                Happens::Waits(span) => now = now.plus(Millis(span)),
            }
            prop_assert_eq!(&fleet.index, &Index::of(&fleet.workers));
            let serving = (0..3).map(|n| fleet.serving_by_default(&web(), &upstream(n), now).is_some()).collect();
            let answers = (
                fleet.expected(now),
                fleet.behind(&web(), Epoch(3)),
                fleet.unconfirmed(&web(), Epoch(3), Millis(60_000), now),
                serving,
                fleet.tripped(&web(), now).is_some(),
                fleet.next_given_up(now),
            );
            prop_assert_eq!(answers, walked(&fleet, now));
        }
    }
}
