//! The fuse in the worker: one that has tripped sends nothing to the canary, whatever breaks, until it hears of a greater
//! epoch.

#![cfg(test)]

mod fixture;

use proptest::prelude::*;
use rollout::base::time::{Micros, Millis};
use rollout::routing::measurement::{Measurement, WarmUp};
use rollout::routing::request::{MatchRule, Request, StringMatch};
use rollout::routing::route::Placement;
use rollout::routing::table::{Entry, Epoch, Routing, Split, StickyKey, Version};
use rollout::worker::fuse::{FusePlan, FuseTest, Ppb};
use rollout::worker::messages::{PROTOCOL, Report, ToAgent, ToWorker};
use rollout::worker::tally::Counts;
use rollout::worker::{HeaderEdit, Worker, WorkerAction};

use fixture::net::{LEASE, worker};
use fixture::{id, percent, upstream};

fn entry(epoch: u64, sticky: Option<StickyKey>) -> Entry {
    let fuse = FusePlan {
        failed: Some(Ppb::nearest(0.01)),
        slow: Some(Ppb::nearest(0.05)),
        alpha: Ppb::nearest(0.01 / 16.0),
        max_cluster: 1,
        unless_primary_also: [false; 2],
    };
    let split = Split {
        canary: upstream("web-canary"),
        // By rule alone: beside a split what a rule places says nothing to the fuse.
        weight: percent(0),
        mirror: percent(0),
        rules: vec![MatchRule { headers: vec![("x-beta".into(), StringMatch::Present)], ..MatchRule::default() }],
        sticky,
        salt: "prod/web#1".into(),
        slot: Millis(100),
        latency_limit: Some(Micros(500_000)),
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        fuse: Some(fuse),
    };
    let spec = fixture::spec("web");
    let routing = Routing { scope: spec.scope, primary: spec.primary, split: Some(split) };
    Entry { canary: id("web"), epoch: Epoch(epoch), routing: Some(routing) }
}

/// One worker, its clock, and what it has said.
struct Alone {
    worker: Worker,
    now: Micros,
    said: Vec<ToAgent>,
}

impl Alone {
    fn welcomed(fixed: Vec<Entry>) -> Self {
        let mut alone = Self { worker: worker(1, true, fixed), now: Micros(1_000_000), said: vec![] };
        alone.tick();
        alone.receive(ToWorker::Welcome(PROTOCOL));
        alone
    }

    fn take(&mut self, actions: Vec<WorkerAction>) {
        let sent = actions.into_iter().filter_map(|action| match action {
            WorkerAction::Send(message) => Some(message),
            _ => None,
        });
        self.said.extend(sent);
    }

    fn tick(&mut self) {
        let actions = self.worker.tick(self.now.to_millis());
        self.take(actions);
    }

    fn receive(&mut self, message: ToWorker) {
        let actions = self.worker.message(message, self.now.to_millis());
        self.take(actions);
    }

    fn adopt(&mut self, entry: Entry) {
        self.receive(ToWorker::Entry(Box::new(entry)));
    }

    /// A request by rule or by chance; it ends with `status`, or never. Whether the canary got it.
    fn request(&mut self, by_rule: bool, status: Option<&[u8]>) -> bool {
        let mut headers: Vec<(&[u8], &[u8])> = vec![(b":authority", b"web"), (b":path", b"/"), (b"x-user", b"u1")];
        headers.extend(by_rule.then_some((&b"x-beta"[..], &b"1"[..])));
        let decision = self.worker.route(Request { headers: &headers, client_address: None }, self.now);
        let to_canary = decision.header == HeaderEdit::Set(upstream("web-canary"));
        let mut in_flight = self.worker.start(&decision, true, true, self.now).unwrap();
        self.now.0 += 1_000;
        if let Some(status) = status {
            self.worker.answered(&mut in_flight, &[(b":status", status)], self.now);
            self.worker.finish(&mut in_flight, 0, Some(1), self.now);
            let actions = self.worker.flush(self.now.to_millis());
            self.take(actions);
        }
        to_canary
    }

    /// Requests by rule that fail, until the canary gets no more.
    fn break_it(&mut self) -> u32 {
        (0..100).find(|_| !self.request(true, Some(b"500"))).expect("the fuse trips")
    }

    fn reports(&self) -> Vec<&Report> {
        let reports = self.said.iter().filter_map(|message| match message {
            ToAgent::Report(report) => Some(report),
            _ => None,
        });
        reports.collect()
    }

    fn trips(&self) -> Vec<(Epoch, FuseTest)> {
        self.worker.tripped().map(|trip| (trip.epoch, trip.test)).collect()
    }
}

#[test]
fn failures_that_come_late_are_seen_however_many_requests_began_meanwhile() {
    let mut alone = Alone::welcomed(vec![]);
    alone.adopt(entry(4, None));
    let headers: [(&[u8], &[u8]); 3] = [(b":authority", b"web"), (b":path", b"/"), (b"x-beta", b"1")];
    let mut open = std::collections::VecDeque::new();
    // 100 uploads a second, each of 300 ms and then answered 500.
    let failed = (0..300).find(|_| {
        alone.now.0 += 10_000;
        let decision = alone.worker.route(Request { headers: &headers, client_address: None }, alone.now);
        open.push_back((alone.now.0 + 300_000, alone.worker.start(&decision, true, false, alone.now).unwrap()));
        while open.front().is_some_and(|(due, _)| *due <= alone.now.0) {
            let (_, mut upload) = open.pop_front().unwrap();
            alone.worker.complete(&mut upload, alone.now);
            alone.worker.answered(&mut upload, &[(b":status", b"500")], alone.now);
            alone.worker.finish(&mut upload, 0, Some(1), alone.now);
        }
        !alone.trips().is_empty()
    });
    assert!(failed.is_some_and(|requests| requests < 45), "{failed:?}");
}

#[test]
fn a_broken_canary_costs_three_answers_and_the_agent_hears_at_once() {
    let mut alone = Alone::welcomed(vec![]);
    alone.adopt(entry(4, None));
    assert_eq!(alone.break_it(), 3);
    alone.receive(ToWorker::Stored(1));
    let [first, last] = alone.reports()[..] else { panic!("no tick was needed: {:?}", alone.said) };
    let failed = |report: &Report| -> u64 {
        let canary = report.strata.iter().filter(|(stratum, _)| stratum.version == Version::Canary);
        canary.map(|(_, counts)| counts.failed.total()).sum()
    };
    assert_eq!((failed(first), first.trips.len()), (1, 0), "the first bad answer leaves at once");
    let [trip] = &last.trips[..] else { panic!("{last:?}") };
    assert_eq!((trip.epoch, trip.test, trip.events, trip.trials), (Epoch(4), FuseTest::Failed, 3, 3));
    assert_eq!(failed(last), 2, "the counts that tripped it come with it");
    assert!(alone.worker.weights(alone.now.to_millis()).all(|(.., weight)| weight.ppm() == 0));
}

#[test]
fn a_trip_behind_a_report_in_flight_leaves_with_its_ack_and_is_said_again_until_stored() {
    let mut alone = Alone::welcomed(vec![]);
    alone.adopt(entry(4, None));
    alone.request(false, Some(b"200"));
    alone.now.0 += 100_000;
    alone.tick();
    alone.break_it();
    assert_eq!(alone.reports().len(), 1, "one is in flight at a time");
    alone.receive(ToWorker::Stored(1));
    assert_eq!(alone.reports()[1].trips.len(), 1);
    alone.worker.stream_lost(alone.now.to_millis());
    alone.now.0 += 6_000_000;
    alone.tick();
    let Some(ToAgent::Hello(hello)) = alone.said.last() else { panic!("{:?}", alone.said.last()) };
    assert_eq!(hello.trips.len(), 1, "an agent without memory learns of it as well");
    alone.receive(ToWorker::Welcome(PROTOCOL));
    assert_eq!(alone.reports()[2], alone.reports()[1], "until it is acknowledged");
    alone.receive(ToWorker::Stored(2));
    alone.now.0 += 1_000_000;
    alone.request(false, Some(b"200"));
    alone.tick();
    assert!(alone.reports()[3].trips.is_empty(), "then no more");
}

#[test]
fn hangs_and_slow_answers_trip_it_by_their_age() {
    let mut alone = Alone::welcomed(vec![]);
    alone.adopt(entry(4, None));
    (0..200).for_each(|_| assert!(alone.request(true, None)));
    alone.tick();
    assert_eq!(alone.trips(), [], "the oldest is 200 ms old");
    alone.receive(ToWorker::Stored(1));
    alone.now.0 += 310_000;
    alone.tick();
    assert_eq!(alone.trips(), [(Epoch(4), FuseTest::Slow)]);
    assert!(!alone.request(true, None));
    assert_eq!(alone.reports().last().unwrap().trips.len(), 1);
}

#[test]
fn what_lease_or_fuse_send_to_primary_was_placed_by_nobody() {
    let placement = |alone: &mut Alone| {
        let headers: [(&[u8], &[u8]); 1] = [(b":authority", b"web")];
        alone.worker.route(Request { headers: &headers, client_address: None }, alone.now).placement()
    };
    let mut alone = Alone::welcomed(vec![]);
    alone.adopt(entry(4, None));
    assert_eq!(placement(&mut alone), Some(Placement::Drawn));
    alone.break_it();
    assert_eq!(placement(&mut alone), Some(Placement::FailSafe));
    alone.adopt(entry(6, None));
    assert_eq!(placement(&mut alone), Some(Placement::Drawn));
    alone.now.0 += LEASE.0 * 1000 + 1_000_000;
    assert_eq!(placement(&mut alone), Some(Placement::FailSafe));
}

#[test]
fn requests_of_an_earlier_epoch_do_not_trip_the_next() {
    for (has_fuse, is_aborted, salt) in (0..8).map(|n| (n & 1 == 0, n & 2 == 0, ["prod/web#1", "prod/web#2"][n / 4])) {
        let mut alone = Alone::welcomed(vec![]);
        let [mut first, mut without, mut next] = [4, 5, 6].map(|epoch| entry(epoch, None));
        let split = |entry: &mut Entry| entry.routing.as_mut().unwrap().split.take().unwrap();
        let fuse = split(&mut without).fuse.filter(|_| has_fuse);
        first.routing.as_mut().unwrap().split.as_mut().unwrap().fuse = fuse;
        next.routing.as_mut().unwrap().split.as_mut().unwrap().salt = salt.into();
        alone.adopt(first);
        (0..100).for_each(|_| assert!(alone.request(true, None)));
        [without].into_iter().filter(|_| is_aborted).for_each(|entry| alone.adopt(entry));
        alone.adopt(next);
        (0..5).for_each(|_| assert!(alone.request(true, Some(b"200"))));
        alone.now.0 += 1_000_000;
        alone.tick();
        assert_eq!(alone.trips(), [], "with a fuse: {has_fuse}; after an abort: {is_aborted}; then {salt}");
    }
}

#[test]
fn a_static_canarys_fuse_trips_without_an_agent_until_the_entry_changes() {
    let mut fixed = entry(0, None);
    let settings = |fixed: &Entry| rollout::worker::Settings {
        has_agent: false,
        decision_header: "x-serin-upstream".into(),
        mirror_header: "x-serin-mirror".into(),
        lease: LEASE,
        default_upstreams: Default::default(),
        fixed: vec![fixed.clone()],
        shared_clusters: std::collections::BTreeSet::new(),
        max_strata: 64,
    };
    let mut alone = Alone { worker: worker(1, false, vec![fixed.clone()]), now: Micros(1_000_000), said: vec![] };
    let paces = alone.worker.tick(Millis(0));
    assert!(paces.contains(&WorkerAction::TickEvery(Millis(100))), "hangs are seen soon: {paces:?}");
    assert_eq!(alone.break_it(), 3);
    alone.now.0 += LEASE.0 * 10_000;
    alone.worker.reconfigure(settings(&fixed));
    assert!(!alone.request(true, Some(b"200")), "the same configuration again arms nothing");
    assert_eq!(alone.said, [], "there is nobody to tell");
    fixed.routing.as_mut().unwrap().split.as_mut().unwrap().slot = Millis(200);
    alone.worker.reconfigure(settings(&fixed));
    assert!(alone.request(true, Some(b"200")));
    alone.break_it();
    alone.adopt(entry(2, None));
    assert!(alone.request(true, Some(b"200")), "so does an agent's first entry");
}

#[derive(Clone, Debug)]
enum Op {
    Request(bool, bool),
    Hang,
    Wait(u64),
    Lose,
    Welcome,
    Offer(u64),
    Ack(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => any::<(bool, bool)>().prop_map(|(by_rule, is_bad)| Op::Request(by_rule, is_bad)),
        2 => Just(Op::Hang),
        2 => (1u64..3_000).prop_map(Op::Wait),
        1 => Just(Op::Wait(61_000)),
        1 => Just(Op::Lose),
        1 => Just(Op::Welcome),
        1 => (1u64..6).prop_map(Op::Offer),
        1 => (1u64..9).prop_map(Op::Ack),
    ];
    prop::collection::vec(op, 1..120)
}

proptest! {
    #![proptest_config(fixture::cases(300))]

    #[test]
    fn nothing_but_a_greater_epoch_gives_a_tripped_canary_traffic(ops in ops(), is_sticky in any::<bool>()) {
        let sticky = is_sticky.then(|| StickyKey::Header("x-user".into()));
        let mut alone = Alone::welcomed(vec![]);
        let entry = |epoch| {
            let mut entry = entry(epoch, sticky.clone());
            entry.routing.as_mut().unwrap().split.as_mut().unwrap().weight = percent(50);
            entry
        };
        alone.adopt(entry(1));
        let mut in_force = 1;
        for op in ops {
            let tripped_under = alone.trips().first().map(|(epoch, _)| *epoch);
            match op {
                Op::Request(by_rule, is_bad) => {
                    let to_canary = alone.request(by_rule, Some(if is_bad { b"500" } else { b"200" }));
                    prop_assert!(!(to_canary && tripped_under.is_some()), "tripped under {tripped_under:?}");
                }
                Op::Hang => prop_assert!(!(alone.request(true, None) && tripped_under.is_some())),
                Op::Wait(ms) => {
                    alone.now.0 += ms * 1000;
                    alone.tick();
                }
                Op::Lose => alone.worker.stream_lost(alone.now.to_millis()),
                Op::Welcome => alone.receive(ToWorker::Welcome(PROTOCOL)),
                Op::Offer(epoch) => {
                    alone.adopt(entry(epoch));
                    in_force = in_force.max(epoch);
                }
                Op::Ack(number) => alone.receive(ToWorker::Stored(number)),
            }
            prop_assert!(alone.trips().iter().all(|(epoch, _)| *epoch == Epoch(in_force)));
            if let Some(tripped_under) = tripped_under.filter(|epoch| *epoch == Epoch(in_force)) {
                prop_assert_eq!(alone.trips()[0].0, tripped_under, "it stays tripped");
            }
        }
    }
}

/// In a release by rules alone one user is one failure in a slot, however often a page is loaded again.
#[test]
fn one_users_repeated_failures_are_one() {
    let requests = |users: u64| {
        let mut alone = Alone::welcomed(vec![]);
        alone.adopt(entry(4, None));
        for n in 0..40u64 {
            let address = format!("10.0.0.{}:4711", n % users);
            let headers: [(&[u8], &[u8]); 3] = [(b":authority", b"web"), (b":path", b"/"), (b"x-beta", b"1")];
            let request = Request { headers: &headers, client_address: Some(address.as_bytes()) };
            let decision = alone.worker.route(request, alone.now);
            if let Some(mut in_flight) = alone.worker.start(&decision, true, true, alone.now) {
                alone.worker.answered(&mut in_flight, &[(b":status", b"501")], alone.now);
                alone.worker.finish(&mut in_flight, 0, Some(1), alone.now);
            }
        }
        alone.now.0 += 200_000;
        alone.tick();
        let report = alone.reports().first().map(|report| report.strata.clone()).unwrap_or_default();
        let mut sum = Counts::default();
        report.iter().filter(|(at, _)| at.version == Version::Canary).for_each(|(_, counts)| sum.merge(counts));
        (alone.trips().len(), sum.failed.total(), sum.repeated.failed)
    };
    assert_eq!(requests(1), (0, 40, 39), "all are counted, one speaks against the canary");
    assert_eq!(requests(40).0, 1, "many users are many failures");
}
