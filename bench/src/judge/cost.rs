//! What one update takes, beside a yardstick measured in the same run: nanoseconds alone say more of the machine than of
//! the code.
//!
//! All take turns in short slices, so that whatever else the machine does meets all alike; the lower quartile counts.

use std::hint::black_box;
use std::time::Instant;

use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::judgement::evidence::Evidence;
use rollout::judgement::sequential::Sequential;
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::messages::{Incarnation, Watermark};
use rollout::worker::tally::{Counts, Failures, Slot, Stratum, Timed};
use serde::Serialize;

use super::product::{Which, guards, is_tripped, key, slot};
use crate::quartiles::Quartiles;

const SLICES: usize = 60;
const IN_SLICE: u32 = 2_000;

/// One operation's cost.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// What is done.
    pub name: &'static str,
    /// For one of it.
    pub ns: f64,
    /// In multiples of the first, which is the yardstick.
    pub times_yardstick: f64,
}

/// The yardstick, one slot's update, one look, and all that follows from one report.
#[must_use]
pub fn costs() -> Vec<Cost> {
    type Measured = (&'static str, Box<dyn FnMut(u32)>, Vec<f64>);
    let mut all: Vec<Measured> = vec![
        ("8 libm::exp", Box::new(eight_exps), Vec::new()),
        ("update with a slot", updates(), Vec::new()),
        ("look at all guards", looks(), Vec::new()),
        ("report: fold, update, look", reports(), Vec::new()),
    ];
    for _ in 0..SLICES {
        for (_, run, samples) in &mut all {
            let started = Instant::now();
            run(IN_SLICE);
            samples.push(started.elapsed().as_nanos() as f64 / f64::from(IN_SLICE));
        }
    }
    let lower = |samples: &[f64]| Quartiles::of(samples).map_or(f64::NAN, |quartiles| quartiles.lower);
    let yardstick = all.first().map_or(f64::NAN, |(_, _, samples)| lower(samples));
    let cost = |(name, _, samples): &Measured| {
        let ns = lower(samples);
        Cost { name, ns, times_yardstick: ns / yardstick }
    };
    all.iter().map(cost).collect()
}

fn eight_exps(times: u32) {
    for n in 0..times {
        let x = f64::from(n) * -1e-3;
        let sum: f64 = (0..8).map(|j| libm::exp(black_box(x + f64::from(j)))).sum();
        black_box(sum);
    }
}

/// A slot opens, is observed and settles, in each of the default guards' tests.
fn updates() -> Box<dyn FnMut(u32)> {
    let (mut tests, mut number) = (guards(Which::Default).begin(), 0);
    Box::new(move |times| (0..times).for_each(|_| update(&mut tests, &mut number)))
}

fn update(tests: &mut Sequential, number: &mut u32) {
    *number += 1;
    tests.open(key(*number), false);
    tests.observe(key(*number), black_box(slot([10, u64::from(number.is_multiple_of(100))], [90, 1])), true);
}

fn looks() -> Box<dyn FnMut(u32)> {
    let guards = guards(Which::Default);
    let (mut tests, mut number) = (guards.begin(), 0);
    (0..100).for_each(|_| update(&mut tests, &mut number));
    Box::new(move |times| {
        (0..times).for_each(|_| {
            black_box(is_tripped(&guards, black_box(&tests)));
        });
    })
}

/// What the agent does with one worker's report in the middle of a release, the wire apart.
fn reports() -> Box<dyn FnMut(u32)> {
    let guards = guards(Which::Default);
    let mut evidence = Evidence::default();
    evidence.begin_release(Epoch(1), Millis(60_000), &guards);
    let canary = CanaryId::new("prod", "web");
    let mut number = 0;
    Box::new(move |times| {
        for _ in 0..times {
            number += 1;
            let now = Millis(u64::from(number) * 100);
            let stratum = |version| Stratum {
                canary: (),
                epoch: Epoch(1),
                version,
                placement: Placement::Drawn,
                slot: Slot(number),
            };
            let counts = |started: u64, failed: u64| {
                let mut by_class = Failures::default();
                by_class.0[0] = failed;
                let timed = Timed { begun: started, ended: started, slow: failed, ..Timed::default() };
                Counts { succeeded: started - failed, failed: by_class, timed, ..Counts::begun(started) }
            };
            evidence.fold(&stratum(Version::Canary), &counts(10, u64::from(u32::is_multiple_of(number, 100))), now);
            evidence.fold(&stratum(Version::Primary), &counts(90, 1), now);
            if let Ok(canary) = &canary {
                let watermark = Watermark { canary: canary.clone(), epoch: Epoch(1), slot: Slot(number + 1) };
                evidence.watermark(Incarnation(1), &watermark, now);
            }
            black_box(evidence.look(&guards, now));
        }
    })
}
