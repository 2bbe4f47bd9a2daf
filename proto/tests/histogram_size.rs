//! The measurement behind the choice in counts.rs: bytes of our run-length form against HdrHistogram's V2 encodings,
//! for the latencies of one stratum in one report. `cargo test -p proto --test histogram_size -- --nocapture` prints it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer, V2Serializer};
use prost::Message;
use proto::v1;
use rollout::base::histogram::Latency;
use rollout::base::time::Micros;
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::messages::{Report, ToAgent};
use rollout::worker::tally::{Counts, Slot, Stratum};

/// Quantiles of typical services, from which latencies are drawn: (name, (quantile, microseconds) ...).
const SERVICES: [(&str, [(f64, f64); 4]); 3] = [
    ("cache, 0.2 to 2 ms", [(0.0, 150.0), (0.5, 250.0), (0.99, 900.0), (1.0, 2_500.0)]),
    ("web, 5 to 300 ms", [(0.0, 4_000.0), (0.5, 18_000.0), (0.99, 180_000.0), (1.0, 400_000.0)]),
    ("mixed, 1 ms to 20 s", [(0.0, 900.0), (0.5, 40_000.0), (0.99, 2_500_000.0), (1.0, 20_000_000.0)]),
];

#[test]
fn the_packed_form_is_smaller() {
    println!("| latencies | requests | ours | V2 | V2 deflated |\n|---|--:|--:|--:|--:|");
    for (name, service) in SERVICES {
        for requests in [1, 10, 100, 1_000, 10_000] {
            let latencies = draw(&service, requests);
            let (packed, v2, deflated) = (packed(&latencies), v2(&latencies), deflated(&latencies));
            println!("| {name} | {requests} | {packed} | {v2} | {deflated} |");
            assert!(packed < v2, "{name}, {requests} requests");
        }
    }
}

fn packed(latencies: &[u64]) -> usize {
    let mut latency = Latency::new();
    latencies.iter().for_each(|us| latency.record(Micros(*us)));
    let stratum = Stratum {
        canary: rollout::base::names::CanaryId::new("prod", "web").unwrap(),
        epoch: Epoch(1),
        version: Version::Primary,
        placement: Placement::Drawn,
        slot: Slot(0),
    };
    let counts = Counts { latency, ..Counts::default() };
    let report = ToAgent::Report(Report {
        number: 1,
        strata: vec![(stratum, counts)],
        watermarks: vec![],
        trips: vec![],
        destinations: vec![],
    });
    match v1::FromWorker::from(&report).message {
        Some(v1::from_worker::Message::Report(report)) => report.strata[0].latency.as_ref().unwrap().encoded_len(),
        other => panic!("a report was encoded as {other:?}"),
    }
}

fn v2(latencies: &[u64]) -> usize {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&histogram(latencies), &mut bytes).unwrap();
    bytes.len()
}

fn deflated(latencies: &[u64]) -> usize {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram(latencies), &mut bytes).unwrap();
    bytes.len()
}

fn histogram(latencies: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new(2).unwrap();
    latencies.iter().for_each(|us| histogram.record(*us).unwrap());
    histogram
}

/// Evenly spread quantiles (a golden-ratio sequence, so no seed), interpolated on a logarithmic scale.
fn draw(service: &[(f64, f64)], requests: u32) -> Vec<u64> {
    let at = |q: f64| {
        let pair = service.windows(2).find(|pair| q <= pair[1].0).unwrap();
        let [(q0, low), (q1, high)] = [pair[0], pair[1]];
        (low.ln() + (q - q0) / (q1 - q0) * (high.ln() - low.ln())).exp() as u64
    };
    (1..=requests).map(|n| at((f64::from(n) * 0.618_033_988_75).fract())).collect()
}
