//! Mirroring as the core does it: who is copied, when it ends, and what copies count for.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::{Micros, Millis};
use rollout::judgement::evidence::Evidence;
use rollout::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
use rollout::routing::measurement::{Measurement, WarmUp};
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::request::Request;
use rollout::routing::route::Placement;
use rollout::routing::table::{Entry, Epoch, Routing, Scope, Split, Version, WHOLE_PPM, WeightPpm};
use rollout::worker::messages::{Incarnation, ToWorker};
use rollout::worker::tally::{Counts, Slot, Stratum};
use rollout::worker::{CopyEnd, HeaderEdit, Identity, Settings, Worker};

const HEADERS: &[(&[u8], &[u8])] = &[(b":authority", b"web"), (b":path", b"/")];
const PRIMARY: Version = Version::Primary;
const CANARY: Version = Version::Canary;

fn upstream(name: &str) -> Upstream {
    Upstream::parse(name).unwrap()
}

fn entry(epoch: u64, weight_ppm: u32, mirror_ppm: u32) -> Entry {
    let id = CanaryId::new("prod", "web").unwrap();
    let split = Split {
        canary: upstream("web-canary"),
        weight: WeightPpm::new(weight_ppm).unwrap(),
        mirror: WeightPpm::new(mirror_ppm).unwrap(),
        rules: vec![],
        sticky: None,
        salt: "s".into(),
        slot: Millis(100),
        latency_limit: None,
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        fuse: None,
    };
    let routing = Routing { scope: Scope::of_service(&id), primary: upstream("web-primary"), split: Some(split) };
    Entry { canary: id, epoch: Epoch(epoch), routing: Some(routing) }
}

fn worker(seed: u64, entry: Entry) -> Worker {
    let text = String::new;
    let identity = Identity { node: text(), cluster: text(), filter_version: text(), incarnation: Incarnation(1) };
    let settings = Settings {
        has_agent: true,
        decision_header: "x-serin-upstream".into(),
        mirror_header: "x-serin-mirror".into(),
        lease: Millis(60_000),
        default_upstreams: BTreeMap::new(),
        fixed: vec![],
        shared_clusters: BTreeSet::new(),
        max_strata: 64,
    };
    let mut worker = Worker::new(identity, settings, seed);
    worker.message(ToWorker::Entry(Box::new(entry)), Millis(0));
    worker
}

const REQUEST: Request<'_> = Request { headers: HEADERS, client_address: None };

fn ask(worker: &mut Worker, at: Millis) -> (HeaderEdit, HeaderEdit) {
    let decision = worker.route(Request { headers: HEADERS, client_address: None }, Micros(at.0 * 1000));
    (decision.header, decision.mirror)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_copied_share_is_the_weight_and_only_of_the_primarys(
        seed: u64, weight in 0..=WHOLE_PPM * 9 / 10, mirror in 0..=WHOLE_PPM,
    ) {
        let mut worker = worker(seed, entry(2, weight, mirror));
        let (mut on_primary, mut copied) = (0_u32, 0_u32);
        for _ in 0..4_000 {
            let (header, copy) = ask(&mut worker, Millis(0));
            let is_canary = header == HeaderEdit::Set(upstream("web-canary"));
            let is_copied = copy == HeaderEdit::Set(upstream("web-canary"));
            prop_assert!(!(is_canary && is_copied), "a request to the canary is not copied to it");
            on_primary += u32::from(!is_canary);
            copied += u32::from(is_copied);
        }
        let (n, p) = (f64::from(on_primary), f64::from(mirror) / f64::from(WHOLE_PPM));
        // Six standard deviations and one request: the draw for the copy is another than the draw for the version.
        let bound = 6.0 * (n * p * (1.0 - p)).sqrt() + 1.0;
        prop_assert!((f64::from(copied) - n * p).abs() <= bound, "{} of {} at {}", copied, n, p);
    }
}

#[test]
fn copies_end_with_the_lease_and_with_the_split() {
    let mut worker = worker(1, entry(2, 0, WHOLE_PPM));
    let copied = HeaderEdit::Set(upstream("web-canary"));
    assert_eq!(ask(&mut worker, Millis(60_000)).1, copied);
    assert_eq!(ask(&mut worker, Millis(60_001)).1, HeaderEdit::Leave, "the lease is over");
    worker.message(ToWorker::Entry(Box::new(entry(4, 0, 0))), Millis(60_001));
    assert_eq!(ask(&mut worker, Millis(60_001)).1, HeaderEdit::Leave);
    assert!(!worker.is_mirroring());
    assert!(worker.start_copy(&upstream("web-canary"), REQUEST, true, Micros(0)).is_none());
}

#[test]
fn a_copy_is_known_by_the_upstream_it_goes_to() {
    let mut worker = worker(1, entry(2, 0, WHOLE_PPM));
    assert!(worker.start_copy(&upstream("web-primary"), REQUEST, true, Micros(0)).is_none());
    for (status, end, expected) in [
        (Some(&b"200"[..]), CopyEnd::Whole, Outcome::Success),
        (Some(b"500"), CopyEnd::Whole, Outcome::Failure(FailureClass::Status5xx)),
        (Some(b"200"), CopyEnd::Broken, Outcome::Failure(FailureClass::Reset)),
        (None, CopyEnd::Broken, Outcome::Failure(FailureClass::Reset)),
        (None, CopyEnd::Unsent, Outcome::Abandoned),
    ] {
        let mut in_flight = worker.start_copy(&upstream("web-canary"), REQUEST, true, Micros(0)).unwrap();
        if let Some(status) = status {
            worker.answered(&mut in_flight, &[(b":status", status)], Micros(1_000));
        }
        let finished = worker.finish_copy(&mut in_flight, end, Micros(1_000));
        assert_eq!((finished.outcome, finished.version, finished.is_copy), (expected, CANARY, true));
    }
}

fn counts(succeeded: u64, failed: u64) -> Counts {
    let mut counts = Counts::begun(succeeded + failed);
    (0..succeeded).for_each(|_| counts.end_both(Outcome::Success, Micros(1_000), false));
    (0..failed).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(50), true));
    counts
}

/// Whether a rule trips on a canary that fails each of 30 requests, placed so, beside a healthy primary.
fn trips(rule: GuardRule, placement: Placement) -> bool {
    let guards = Guards {
        guards: vec![Guard { rule, action: GuardAction::Abort }],
        alpha: 0.01,
        max_cluster: 1,
        sample_ratio: None,
    };
    let mut evidence = Evidence::default();
    evidence.begin_release(Epoch(2), Millis(10_000), &guards);
    let at = |version, placement| Stratum { canary: (), epoch: Epoch(2), version, placement, slot: Slot(0) };
    if placement.is_split() {
        evidence.weigh(Epoch(2), WeightPpm::new(100_000).unwrap(), false);
    }
    evidence.fold(&at(PRIMARY, Placement::Drawn), &counts(1_000, 0), Millis(0));
    evidence.fold(&at(CANARY, placement), &counts(0, 30), Millis(0));
    let watermark = rollout::worker::messages::Watermark {
        canary: CanaryId::new("prod", "web").unwrap(),
        epoch: Epoch(2),
        slot: Slot(1),
    };
    evidence.watermark(Incarnation(1), &watermark, Millis(0));
    evidence.look(&guards, Millis(0)).is_some_and(|verdict| verdict.tripped.is_some())
}

#[test]
fn copies_speak_in_absolute_guards_and_checks_and_never_in_comparisons() {
    let slo = GuardRule::Slo { limit: 0.01, unless_primary_also: false };
    // Of the two tests of this guard the absolute one alone could not trip it.
    let regression = GuardRule::Regression { margin: 1.5, floor_rate: 0.005 };
    assert_eq!([Placement::Drawn, Placement::Mirrored].map(|placement| trips(slo, placement)), [true, true]);
    assert_eq!([Placement::Drawn, Placement::Mirrored].map(|placement| trips(regression, placement)), [true, false]);
}

#[test]
fn copies_are_neither_users_requests_nor_part_of_the_split() {
    let mut evidence = Evidence::default();
    let guards = Guards { guards: vec![], alpha: 0.01, max_cluster: 1, sample_ratio: None };
    evidence.begin_release(Epoch(2), Millis(10_000), &guards);
    let at = Stratum { canary: (), epoch: Epoch(2), version: CANARY, placement: Placement::Mirrored, slot: Slot(0) };
    evidence.fold(&at, &counts(50, 0), Millis(0));
    assert_eq!(evidence.last(Millis(1_000), Millis(0)).own.canary.judged(), 50, "checks see them");
    assert_eq!(evidence.canary_since(Epoch(2)).judged(), 0, "they certify nothing");
    assert_eq!(evidence.split_under(Epoch(2)).canary.judged(), 0);
    assert!(evidence.per_second(Millis(0)) < 1e-9, "they are no users' traffic");
}
