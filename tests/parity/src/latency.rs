//! Histograms and the thresholds that follow from them.

use rollout::base::histogram::Latency;
use rollout::base::time::Micros;
use rollout::judgement::latency_thresholds;

use crate::draws::{Bits, Draws};

/// Quantiles, thresholds and counts above them, over latencies of all sizes.
pub(crate) fn thresholds(draws: &mut Draws, bits: &mut Bits) {
    let mut past = Latency::new();
    for round in 0..20u32 {
        for _ in 0..50 {
            let octave = draws.up_to(30);
            past.record(Micros(draws.up_to(1 << octave)));
        }
        for quantile in [0.5, 0.9, 0.95, 0.99] {
            bits.count(past.quantile(quantile).map_or(0, |us| us.0));
            let margin = f64::from(round) / 40.0;
            if let Some(found) = latency_thresholds::of_latency(&past, quantile, margin) {
                bits.add(found.primary.upper_edge_us());
                bits.add(found.canary.upper_edge_us());
                bits.count(past.count_above(found.canary));
            }
        }
    }
    past.pack().0.iter().for_each(|(bucket, count)| bits.count(u64::from(*bucket) ^ count << 32));
}
