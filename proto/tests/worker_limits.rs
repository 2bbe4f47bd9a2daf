//! Every limit and rule of what a worker sends: what breaks it is refused, naming field, value and rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod refusal;

use proto::limits::*;
use proto::v1::{self, from_worker};
use proto::wire::{decode_from_worker, encode_from_worker};
use refusal::{refusal, says, up};
use rollout::base::histogram::{Latency, Packed, max_index};
use rollout::base::names::CanaryId;
use rollout::routing::destination::Destination;
use rollout::routing::outcome::FailureClass;
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::fuse::FuseTest;
use rollout::worker::messages::{Report, Sampled, ToAgent, Trip, Watermark};
use rollout::worker::tally::{Counts, Failures, Repeated, Slot, Stratum, Timed};

/// The refusal of a report whose one stratum was edited.
fn report(edit: impl FnOnce(&mut v1::Stratum)) -> String {
    let mut stratum = v1::Stratum { canary: "prod/web".into(), version: 1, placement: 1, ..v1::Stratum::default() };
    edit(&mut stratum);
    let report = v1::Report { number: 1, strata: vec![stratum], ..v1::Report::default() };
    up(from_worker::Message::Report(report))
}

fn latency(buckets: &[i64]) -> String {
    report(|stratum| {
        stratum.latency = Some(v1::Latency { buckets: buckets.to_vec() });
    })
}

fn hello(edit: impl FnOnce(&mut v1::Hello)) -> String {
    let mut hello = v1::Hello { protocol: Some(v1::Protocol { major: 1, minor: 0 }), ..v1::Hello::default() };
    edit(&mut hello);
    up(from_worker::Message::Hello(hello))
}

#[test]
fn the_unedited_messages_are_accepted() {
    for text in [report(|_| ()), hello(|_| ()), latency(&[-i64::from(max_index()), 1])] {
        assert!(text.starts_with("accepted"), "{text}");
    }
}

#[test]
fn frames_are_bounded() {
    let too_long = vec![0; MAX_FROM_WORKER_BYTES + 1];
    says(&refusal(decode_from_worker(&too_long)), "frame", "4194304");
}

#[test]
fn the_greatest_report_fits_its_frame() {
    let every_bucket = Packed((1..=max_index()).map(|index| (index, MAX_COUNT)).collect());
    let counts = Counts {
        started: MAX_COUNT,
        received: MAX_COUNT,
        succeeded: MAX_COUNT,
        client_errors: MAX_COUNT,
        failed: Failures([MAX_COUNT; FailureClass::ALL.len()]),
        void: MAX_COUNT,
        abandoned: MAX_COUNT,
        unserved: MAX_COUNT,
        repeated: Repeated { failed: MAX_COUNT, slow: MAX_COUNT },
        timed: Timed { begun: MAX_COUNT, ended: MAX_COUNT, void: MAX_COUNT, left: MAX_COUNT, slow: MAX_COUNT },
        latency: Latency::unpack(&every_bucket),
    };
    let canary = CanaryId::new(&"n".repeat(253), &"c".repeat(253)).unwrap();
    let watermark = Watermark { canary: canary.clone(), epoch: Epoch(u64::MAX), slot: Slot::MERGED };
    let (test, events, trials) = (FuseTest::Slow, MAX_COUNT, MAX_COUNT);
    let trip = Trip { canary: canary.clone(), epoch: Epoch(u64::MAX), test, events, trials };
    let (version, placement) = (Version::Canary, Placement::Matched);
    let stratum = Stratum { canary: canary.clone(), epoch: Epoch(u64::MAX), version, placement, slot: Slot::MERGED };
    let (strata, watermarks) = (vec![(stratum, counts); MAX_STRATA], vec![watermark; MAX_CANARIES]);
    let trips = vec![trip; MAX_TRIPS];
    let destination = Destination::parse("c".repeat(256), "a".repeat(128)).unwrap();
    let epoch = Epoch(u64::MAX);
    let sampled = Sampled { canary, epoch, version, destination, is_shared: true, requests: MAX_COUNT };
    let destinations = vec![sampled; MAX_DESTINATIONS];
    let report = ToAgent::Report(Report { number: u64::MAX, strata, watermarks, trips, destinations });
    let frame = encode_from_worker(&report);
    println!("the greatest report is {} bytes long", frame.len());
    assert!(decode_from_worker(&frame) == Ok(report), "it arrives unchanged");
}

#[test]
fn a_destination_keeps_its_ranges() {
    let whole = || v1::Sampled {
        canary: "prod/web".into(),
        epoch: 1,
        version: 1,
        cluster: "web".into(),
        address: "10.0.0.1:80".into(),
        shared: false,
        requests: 1,
    };
    let report = |destinations| {
        up(from_worker::Message::Report(v1::Report { number: 1, destinations, ..v1::Report::default() }))
    };
    let sampled = |edit: fn(&mut v1::Sampled)| {
        let mut sampled = whole();
        edit(&mut sampled);
        report(vec![sampled])
    };
    assert!(sampled(|_| ()).starts_with("accepted"));
    says(&sampled(|s| s.canary = "web".into()), "report.destinations[0].canary", "NAMESPACE/NAME");
    says(&sampled(|s| s.epoch = 0), "report.destinations[0].epoch", "from 1");
    says(&sampled(|s| s.version = 0), "report.destinations[0].version", "knows");
    says(&sampled(|s| s.cluster.clear()), "report.destinations[0].cluster", "1 to 256");
    says(&sampled(|s| s.cluster = "c".repeat(257)), "report.destinations[0].cluster", "1 to 256");
    says(&sampled(|s| s.address = "a".repeat(129)), "report.destinations[0].address", "1 to 128");
    says(&sampled(|s| s.requests = 0), "report.destinations[0].requests", "1 to 2^48");
    says(&sampled(|s| s.requests = MAX_COUNT + 1), "report.destinations[0].requests", "1 to 2^48");
    says(&report(vec![whole(); MAX_DESTINATIONS + 1]), "report.destinations", "at most 64");
}

#[test]
fn a_trip_keeps_its_ranges() {
    let trip = |edit: fn(&mut v1::Trip)| {
        let mut trip = v1::Trip { canary: "prod/web".into(), epoch: 1, test: 1, events: 3, trials: 3 };
        edit(&mut trip);
        up(from_worker::Message::Report(v1::Report { number: 1, trips: vec![trip], ..v1::Report::default() }))
    };
    assert!(trip(|_| ()).starts_with("accepted"));
    says(&trip(|t| t.canary = "web".into()), "report.trips[0].canary", "NAMESPACE/NAME");
    says(&trip(|t| t.epoch = 0), "report.trips[0].epoch", "from 1");
    says(&trip(|t| t.test = 0), "report.trips[0].test", "knows");
    says(&trip(|t| t.test = 3), "report.trips[0].test", "knows");
    says(&trip(|t| t.events = 0), "report.trips[0].events", "outside 1");
    says(&trip(|t| (t.events, t.trials) = (1 << 60, 1 << 60)), "report.trips[0].events", "2^48");
    says(&trip(|t| t.trials = 2), "report.trips[0].trials", "less than events");
    says(&trip(|t| t.trials = u64::MAX), "report.trips[0].trials", "2^48");
    let many = vec![v1::Trip::default(); MAX_CANARIES + 1];
    says(&hello(|h| h.trips = many.clone()), "hello.trips", "at most 1024");
    let report = v1::Report { number: 1, trips: many, ..v1::Report::default() };
    says(&up(from_worker::Message::Report(report)), "report.trips", "at most 256");
}

#[test]
fn hello_is_bounded() {
    says(&hello(|h| h.protocol = None), "hello.protocol", "required");
    says(&hello(|h| h.node = "x".repeat(1025)), "hello.node", "1025 bytes");
    says(&hello(|h| h.cluster = "x".repeat(1025)), "hello.cluster", "1025 bytes");
    says(&hello(|h| h.filter_version = "x".repeat(1025)), "hello.filter_version", "1025 bytes");
    let adopted = |canary: &str, epoch| v1::Adopted { canary: canary.into(), epoch };
    says(&hello(|h| h.adopted = vec![adopted("p/w", 1); MAX_CANARIES + 1]), "hello.adopted", "at most 1024");
    says(
        &hello(|h| h.adopted = vec![adopted("p/w", 1), adopted("web", 1)]),
        "hello.adopted[1].canary",
        "NAMESPACE/NAME",
    );
    says(&hello(|h| h.adopted = vec![adopted("p/w", 0)]), "hello.adopted[0].epoch", "from 1");
    let default = v1::DefaultUpstream { canary: "p/w".into(), upstream: "a b".into() };
    says(&hello(|h| h.default_upstreams = vec![default.clone()]), "hello.default_upstreams[0].upstream", "' '");
    says(&hello(|h| h.default_upstreams = vec![default; MAX_CANARIES + 1]), "hello.default_upstreams", "at most 1024");
}

#[test]
fn counts_are_bounded() {
    let too_many = MAX_COUNT + 1;
    says(&report(|s| s.started = too_many), "report.strata[0].started", "2^48");
    says(&report(|s| s.succeeded = too_many), "report.strata[0].succeeded", "2^48");
    says(&report(|s| s.void = too_many), "report.strata[0].void", "2^48");
    says(&report(|s| s.canary = "x".repeat(600)), "report.strata[0].canary", "NAMESPACE/NAME");
    says(&report(|s| s.canary = format!("a/{}", "x".repeat(254))), "report.strata[0].canary", "at most 253");
    says(&up(from_worker::Message::Report(v1::Report::default())), "report.number", "from 1");
    let strata = vec![v1::Stratum::default(); MAX_STRATA + 1];
    says(
        &up(from_worker::Message::Report(v1::Report { number: 1, strata, ..v1::Report::default() })),
        "report.strata",
        "at most 128",
    );
}

#[test]
fn unknown_values_of_enums_are_refused() {
    for value in [0, -1, 6, 99] {
        says(&report(|s| s.version = value), "report.strata[0].version", "not a value");
        says(&report(|s| s.placement = value), "report.strata[0].placement", "not a value");
    }
    for class in [0, -1, 7, 99] {
        let failed = v1::Failed { class, count: 1 };
        says(&report(|s| s.failed = vec![failed]), "report.strata[0].failed.class", "not a value");
    }
}

#[test]
fn failures_come_once_and_in_order() {
    let failed = |class, count| v1::Failed { class, count };
    says(&report(|s| s.failed = vec![failed(2, 1), failed(1, 1)]), "report.strata[0].failed.class", "not increase");
    says(&report(|s| s.failed = vec![failed(2, 1), failed(2, 1)]), "report.strata[0].failed.class", "not increase");
    says(&report(|s| s.failed = vec![failed(2, 0)]), "report.strata[0].failed.count", "leave the class out");
    says(&report(|s| s.failed = vec![failed(2, MAX_COUNT + 1)]), "report.strata[0].failed.count", "2^48");
    says(&report(|s| s.failed = vec![failed(2, 1); 7]), "report.strata[0].failed", "at most 6");
}

#[test]
fn histograms_are_within_range_and_in_one_form() {
    let at = "report.strata[0].latency.buckets";
    let last = i64::from(max_index());
    says(&latency(&[1, 0, 1]), at, "neither");
    says(&latency(&[-1, -1, 1]), at, "run behind a run");
    says(&latency(&[-1, i64::MIN]), at, "run behind a run");
    says(&latency(&[1, -1]), at, "ends the list");
    says(&latency(&[-last - 1, 1]), at, "the last one is");
    says(&latency(&[-last, 1, 1]), at, "the last one is");
    says(&latency(&[i64::MIN, 1]), at, "the last one is");
    says(&latency(&[1, i64::MIN, 1]), at, "the last one is");
    says(&latency(&vec![1; max_index() as usize + 2]), at, "the last one is");
    says(&latency(&[1 << 49]), at, "2^48");
}
