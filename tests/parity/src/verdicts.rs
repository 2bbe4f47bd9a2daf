//! E-values and bounds: what a release is aborted or certified by.

use rollout::base::time::{Micros, Millis};
use rollout::judgement::evidence::Evidence;
use rollout::judgement::guards::{Guard, GuardAction, GuardRule, Guards};
use rollout::judgement::sample_ratio::SampleRatio;
use rollout::routing::measurement::LatencyEnd;
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version, WeightPpm};
use rollout::statistics::boundary::{Trials, certify, running_p};
use rollout::statistics::confidence::{confidence_sequence, guard_bounds, sample_ratio, sample_ratio_exact};
use rollout::worker::tally::{Counts, Failures, Slot, Stratum, Timed};

use crate::draws::{Bits, Draws};

/// The one place that knows what guards are made of.
fn all_guards() -> Guards {
    let rules = [
        GuardRule::Slo { limit: 0.01, unless_primary_also: false },
        GuardRule::Slo { limit: 0.02, unless_primary_also: true },
        GuardRule::Regression { margin: 1.5, floor_rate: 0.005 },
        GuardRule::Latency {
            limit: Micros(500_000),
            share: 0.05,
            unless_primary_also: true,
            end: LatencyEnd::ResponseHeaders,
        },
        GuardRule::LatencyRegression { margin: 1.1, floor_latency: Micros(20_000), share: 0.05 },
    ];
    let guard = |rule| Guard { rule, action: GuardAction::Abort };
    let sample_ratio = Some(SampleRatio { tolerance: 0.05, alpha: 0.001, action: GuardAction::Pause });
    Guards { guards: rules.map(guard).to_vec(), alpha: 0.01, max_cluster: 3, sample_ratio }
}

/// Slots of three epochs, with requests that stay pending for a while, judged after each; the canary gets worse.
pub(crate) fn guards(draws: &mut Draws, bits: &mut Bits) {
    let guards = all_guards();
    let mut evidence = Evidence::default();
    evidence.begin_release(Epoch(1), Millis(1_000), &guards);
    (1..=3).for_each(|epoch| evidence.weigh(Epoch(epoch), WeightPpm::new(200_000).unwrap_or_default(), false));
    let mut pending: Vec<(Stratum<()>, u64)> = Vec::new();
    for now in 0..120u32 {
        let at = Millis(u64::from(now) * 100);
        for (version, requests, millionths) in
            [(Version::Canary, 10, 2_000 + 400 * u64::from(now)), (Version::Primary, 40, 5_000)]
        {
            let (epoch, slot) = (Epoch(1 + u64::from(now / 40)), Slot(now));
            let stratum = Stratum { canary: (), epoch, version, placement: Placement::Drawn, slot };
            let (failed, late) = (draws.events(requests, millionths), draws.up_to(3));
            let succeeded = requests - failed;
            let slow = failed + draws.events(succeeded, 2 * millionths);
            let mut by_class = Failures::default();
            if let Some(first) = by_class.0.first_mut() {
                *first = failed;
            }
            let mut known = Counts { succeeded, failed: by_class, ..Counts::begun(requests + late) };
            (known.timed.ended, known.timed.slow) = (requests, slow);
            (0..requests).for_each(|_| known.latency.record(Micros(5_000 + draws.up_to(60_000))));
            evidence.fold(&stratum, &known, at);
            pending.push((stratum, late));
        }
        if pending.len() > 20 {
            let (stratum, late) = pending.remove(0);
            evidence.fold(&stratum, &ended(late), at);
        }
        let canary = rollout::base::names::CanaryId::new("prod", "web").ok();
        if let Some(canary) = canary {
            let epoch = Epoch(1 + u64::from((now + 1) / 40));
            let watermark = rollout::worker::messages::Watermark { canary, epoch, slot: Slot(now + 1) };
            evidence.watermark(rollout::worker::messages::Incarnation(1), &watermark, at);
        }
        if let Some(verdict) = evidence.look(&guards, at) {
            verdict.findings.iter().for_each(|finding| bits.add(finding.ln_e));
            bits.count(u64::from(verdict.tripped.is_some()));
            verdict.ratio.iter().for_each(|ratio| bits.add(ratio.ln_e));
        }
        bits.add(evidence.per_second(at));
    }
}

/// So many good ends of requests that an earlier report began.
fn ended(count: u64) -> Counts {
    let timed = Timed { ended: count, ..Timed::default() };
    Counts { succeeded: count, timed, ..Counts::default() }
}

/// Certificates of many requests and failures.
pub(crate) fn certificates(draws: &mut Draws, bits: &mut Bits) {
    for _ in 0..200 {
        let octave = draws.up_to(40);
        let started = 1 + draws.up_to(1 << octave);
        let events = draws.up_to(started / 50 + 1);
        let pending = draws.up_to(started / 100 + 1);
        bits.add(certify(Trials { started, events, pending }, 0.01, 1));
        bits.add(certify(Trials { started, events, pending }, 0.05, 3));
    }
}

/// Bounds, charts' intervals and sample ratios.
pub(crate) fn bounds(draws: &mut Draws, bits: &mut Bits) {
    for _ in 0..8 {
        let octave = draws.up_to(30);
        let trials = 1 + draws.up_to(1 << octave);
        let events = draws.up_to(trials.min(1 + trials / 30));
        for (low, high) in [guard_bounds(events, trials, 0.01), confidence_sequence(events, trials, 0.05)] {
            bits.add(low);
            bits.add(high);
        }
        bits.add(sample_ratio([(events, trials, 0.1)].into_iter(), 0.05));
        bits.add(sample_ratio_exact(&[0.1, 0.9], &[events, trials - events], 500.0));
        bits.add(running_p(sample_ratio([(events, trials, 0.01)].into_iter(), 0.05)));
    }
}
