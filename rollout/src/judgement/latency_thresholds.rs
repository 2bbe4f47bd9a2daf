//! Thresholds that follow the primary's past: what "slower than the primary" is measured against in one slot.
//!
//! The null hypothesis is that the canary's latency is no longer than (1 + margin) times the primary's, in every slot. Then
//! for any y fixed before the slot P(canary > (1 + margin) y) <= P(primary > y), and counting both sides above their
//! threshold makes a comparison like that of failures (docs/statistics.md, section 3). So the thresholds must come from the
//! PAST of the primary, never from the slot that they are used in; rounding the canary's up is conservative.

use serde::{Deserialize, Serialize};

use crate::base::histogram::{Bucket, Latency};

/// Above which bucket a request is an event, for each version; see [`Latency::count_above`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// The bucket of the quantile in the primary's past.
    pub primary: Bucket,
    /// The first bucket that ends at (1 + margin) times the end of the primary's, or later.
    pub canary: Bucket,
}

/// The thresholds of one `quantile` (0 to 1) with a relative `margin` (0 or more), from the primary's past; `None` when
/// it is empty.
pub fn of_latency(past: &Latency, quantile: f64, margin: f64) -> Option<Thresholds> {
    let filled: Vec<(Bucket, f64)> = past.filled().map(|(bucket, count)| (bucket, count as f64)).collect();
    of_buckets(&filled, Bucket::upper_edge_us, Bucket::last(), quantile, margin)
}

/// The same over any buckets: `past` holds those that are not empty, fastest first, with their weights (which need not be
/// whole: a past may fade). `upper_edge` rises with the bucket, up to `last`.
///
/// Where no bucket ends late enough, nothing of the canary's is above its threshold, which is `last`.
pub fn of_buckets(
    past: &[(Bucket, f64)],
    upper_edge: impl Fn(Bucket) -> f64,
    last: Bucket,
    quantile: f64,
    margin: f64,
) -> Option<Thresholds> {
    let wanted = quantile * past.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut reached = 0.0;
    let mut found = None;
    for (bucket, weight) in past.iter().filter(|(_, weight)| *weight > 0.0) {
        reached += weight;
        found = Some(*bucket);
        if reached >= wanted {
            break;
        }
    }
    let primary = found?;
    let edge = (1.0 + margin) * upper_edge(primary);
    let (mut low, mut high) = (primary.0, last.0.max(primary.0));
    while low < high {
        let middle = low.midpoint(high);
        if upper_edge(Bucket(middle)) >= edge { high = middle } else { low = middle + 1 }
    }
    Some(Thresholds { primary, canary: Bucket(low) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::time::Micros;

    fn of(values: &[u64]) -> Latency {
        let mut latency = Latency::new();
        values.iter().for_each(|&value| latency.record(Micros(value)));
        latency
    }

    #[test]
    fn nothing_follows_from_an_empty_past() {
        assert_eq!(of_latency(&Latency::new(), 0.95, 0.1), None);
    }

    #[test]
    fn past_the_last_bucket_nothing_is_slower() {
        let past = of(&[599_000_000; 10]);
        let thresholds = of_latency(&past, 0.5, 1.0).unwrap();
        assert_eq!(thresholds.canary, Bucket::last());
        assert_eq!(of(&[u64::MAX; 3]).count_above(thresholds.canary), 0);
    }

    proptest! {
        #[test]
        fn the_primary_s_is_its_quantile_and_the_canary_s_the_first_that_ends_late_enough(
            values in prop::collection::vec(1u64..500_000_000, 1..200), q in 0.01f64..0.999, margin in 0.0f64..1.0,
        ) {
            let past = of(&values);
            let thresholds = of_latency(&past, q, margin).unwrap();
            prop_assert_eq!(thresholds.primary, Bucket::of(past.quantile(q).unwrap()));
            let edge = (1.0 + margin) * thresholds.primary.upper_edge_us();
            prop_assert!(thresholds.canary.upper_edge_us() >= edge && thresholds.canary >= thresholds.primary);
            let before = Bucket(thresholds.canary.0.saturating_sub(1));
            prop_assert!(thresholds.canary == thresholds.primary || before.upper_edge_us() < edge);
        }

        /// What makes the comparison valid: a canary that takes exactly (1 + margin) times as long, request by request,
        /// is never counted above more often than the primary.
        #[test]
        fn a_canary_at_the_margin_is_above_no_more_often_than_the_primary(
            past in prop::collection::vec(1u64..500_000_000, 1..50),
            now in prop::collection::vec(1.0f64..500_000_000.0, 1..200), q in 0.01f64..0.999, margin in 0.0f64..1.0,
        ) {
            let thresholds = of_latency(&of(&past), q, margin).unwrap();
            let primary = of(&now.iter().map(|us| *us as u64).collect::<Vec<_>>());
            let canary = of(&now.iter().map(|us| (us * (1.0 + margin)) as u64).collect::<Vec<_>>());
            prop_assert!(canary.count_above(thresholds.canary) <= primary.count_above(thresholds.primary));
        }
    }
}
