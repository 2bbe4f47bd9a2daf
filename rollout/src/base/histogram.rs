//! Latency travels and merges as an HDR histogram, never as an averaged quantile.
//!
//! Two significant digits: 128 buckets an octave, so a quantile is at most 0.8 % above the true value. Range 1 µs to
//! [`MAX_LATENCY`]; what lies beyond is counted in the last bucket, so `record` and `merge` cannot fail.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::base::time::Micros;

/// Longest latency that is distinguished: ten minutes. Anything slower counts as this.
pub const MAX_LATENCY: Micros = Micros(600_000_000);

const SIGNIFICANT_DIGITS: u8 = 2;
/// Half of the buckets of one octave, as HdrHistogram lays them out for two digits: 2^7.
const SUB_BUCKET_HALF_BITS: u32 = 7;

/// Filled buckets up to which they stand as a list: a report has a handful, and a histogram for each of its strata would
/// take a hundred times the room and the time.
const MOST_LISTED: usize = 64;

/// How long requests took, by bucket.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
pub struct Latency(Held);

#[derive(Clone)]
enum Held {
    /// The filled buckets and their counts, indices strictly increasing; at most [`MOST_LISTED`].
    Listed(Vec<(u32, u64)>),
    Histogram(Box<Histogram<u64>>),
}

/// A histogram's filled buckets: what stands on the wire and in the journal.
///
/// Pairs of (bucket index, count), indices strictly increasing. Index is HdrHistogram's own counting for two digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packed(pub Vec<(u32, u64)>);

/// A bucket of [`Latency`], by HdrHistogram's counting for two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bucket(pub u32);

impl Bucket {
    /// The slowest one; [`MAX_LATENCY`] and all beyond it.
    pub fn last() -> Self {
        Self(max_index())
    }

    /// The one in which a latency is counted.
    pub fn of(latency: Micros) -> Self {
        Self(index_of(latency.0.clamp(1, MAX_LATENCY.0)))
    }

    /// Where it ends, in microseconds: every latency in it is shorter, every one in a later bucket is not. The last one
    /// has no end.
    pub fn upper_edge_us(self) -> f64 {
        if self >= Self::last() { f64::INFINITY } else { value_of(self.0 + 1) as f64 }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// Nothing recorded yet; holds no memory until something is.
    pub const fn new() -> Self {
        Self(Held::Listed(Vec::new()))
    }

    /// Counts one request's latency.
    pub fn record(&mut self, latency: Micros) {
        self.add(Bucket::of(latency).0, 1);
    }

    fn add(&mut self, index: u32, count: u64) {
        match &mut self.0 {
            Held::Histogram(histogram) => record(histogram, index, count),
            Held::Listed(listed) => match listed.binary_search_by_key(&index, |(listed, _)| *listed) {
                Ok(at) => listed.iter_mut().skip(at).take(1).for_each(|(_, held)| *held = held.saturating_add(count)),
                Err(at) if listed.len() < MOST_LISTED => listed.insert(at, (index, count)),
                Err(_) => {
                    let mut histogram = Box::new(of_listed(listed));
                    record(&mut histogram, index, count);
                    self.0 = Held::Histogram(histogram);
                }
            },
        }
    }

    /// Adds all of `other`'s counts; commutative and associative.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Held::Histogram(histogram), Held::Histogram(other)) => {
                // Cannot fail, as in `record`. Adding the counts is much faster than recording what an iterator finds: a
                // simulated release spent half its time there.
                let _ = histogram.add(other.as_ref());
            }
            _ => other.filled().for_each(|(bucket, count)| self.add(bucket.0, count)),
        }
    }

    /// How many latencies were recorded.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Held::Listed(listed) => listed.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count)),
            Held::Histogram(histogram) => histogram.len(),
        }
    }

    /// The smallest bucket edge that at least `quantile` (0 to 1) of the requests did not exceed; `None` when empty.
    pub fn quantile(&self, quantile: f64) -> Option<Micros> {
        let at = |histogram: &Histogram<u64>| Micros(histogram.value_at_quantile(quantile));
        match &self.0 {
            Held::Listed(listed) if listed.is_empty() => None,
            Held::Listed(listed) => Some(at(&of_listed(listed))),
            Held::Histogram(histogram) => Some(at(histogram)),
        }
    }

    /// How many latencies lie in later buckets than `bucket`: exactly those of its upper edge or longer.
    pub fn count_above(&self, bucket: Bucket) -> u64 {
        self.filled().filter(|(other, _)| *other > bucket).map(|(_, count)| count).sum()
    }

    /// The buckets that hold something, fastest first, with their counts.
    pub fn filled(&self) -> impl Iterator<Item = (Bucket, u64)> + '_ {
        let (listed, histogram) = match &self.0 {
            Held::Listed(listed) => (listed.as_slice(), None),
            Held::Histogram(histogram) => ([].as_slice(), Some(histogram)),
        };
        let steps = histogram.into_iter().flat_map(|histogram| histogram.iter_recorded());
        let steps = steps.map(|step| (Bucket(index_of(step.value_iterated_to())), step.count_at_value()));
        listed.iter().map(|(index, count)| (Bucket(*index), *count)).chain(steps)
    }

    /// The filled buckets.
    pub fn pack(&self) -> Packed {
        Packed(self.filled().map(|(bucket, count)| (bucket.0, count)).collect())
    }

    /// From filled buckets; an index past the range counts in the last bucket, one that comes twice counts twice.
    pub fn unpack(packed: &Packed) -> Self {
        let mut latency = Self::new();
        let filled = packed.0.iter().filter(|(_, count)| *count > 0);
        // No latency is shorter than a microsecond.
        filled.for_each(|(index, count)| latency.add((*index).clamp(1, max_index()), *count));
        latency
    }
}

/// Highest bucket index that [`Latency`] can fill; a wire decoder refuses what lies beyond.
pub fn max_index() -> u32 {
    index_of(MAX_LATENCY.0)
}

impl PartialEq for Latency {
    fn eq(&self, other: &Self) -> bool {
        self.pack() == other.pack()
    }
}

impl Eq for Latency {}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Latency").field("count", &self.count()).field("p95_us", &self.quantile(0.95)).finish()
    }
}

impl From<Packed> for Latency {
    fn from(packed: Packed) -> Self {
        Self::unpack(&packed)
    }
}

impl From<Latency> for Packed {
    fn from(latency: Latency) -> Self {
        latency.pack()
    }
}

fn of_listed(listed: &[(u32, u64)]) -> Histogram<u64> {
    // Resizable: a histogram of fast requests stays small; the greatest index bounds how far it can grow.
    #[expect(clippy::expect_used, reason = "the only failure is a digit count above 5, and ours is a constant 2")]
    let mut histogram = Histogram::new(SIGNIFICANT_DIGITS).expect("2 significant digits are valid");
    listed.iter().for_each(|(index, count)| record(&mut histogram, *index, *count));
    histogram
}

fn record(histogram: &mut Histogram<u64>, index: u32, count: u64) {
    // Cannot fail: the histogram resizes itself, and the index is within what memory allows for.
    let _ = histogram.record_n(value_of(index).clamp(1, MAX_LATENCY.0), count);
}

/// HdrHistogram's bucket of a value: linear up to 256, then 128 buckets an octave.
fn index_of(value: u64) -> u32 {
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(SUB_BUCKET_HALF_BITS + 1);
    (octave << SUB_BUCKET_HALF_BITS) + u32::try_from(value >> octave).unwrap_or(u32::MAX)
}

/// The lowest value of a bucket; inverse of [`index_of`].
fn value_of(index: u32) -> u64 {
    let octave = (index >> SUB_BUCKET_HALF_BITS).saturating_sub(1);
    let sub_bucket = u64::from(index - (octave << SUB_BUCKET_HALF_BITS));
    sub_bucket.checked_shl(octave).filter(|_| octave < 40).unwrap_or(MAX_LATENCY.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Latency {
        let mut latency = Latency::new();
        values.iter().for_each(|&value| latency.record(Micros(value)));
        latency
    }

    proptest! {
        #[test]
        fn packing_keeps_every_bucket(values in prop::collection::vec(0u64..2_000_000_000, 0..200)) {
            let latency = of(&values);
            prop_assert_eq!(Latency::unpack(&latency.pack()), latency.clone());
            prop_assert_eq!(latency.count(), values.len() as u64);
        }

        #[test]
        fn merge_is_a_commutative_monoid(
            a in prop::collection::vec(0u64..700_000_000, 0..200),
            b in prop::collection::vec(0u64..700_000_000, 0..200),
        ) {
            let mut ab = of(&a);
            ab.merge(&of(&b));
            let mut ba = of(&b);
            ba.merge(&of(&a));
            prop_assert_eq!(&ab, &ba);
            prop_assert_eq!(ab, of(&[a, b].concat()));
        }

        #[test]
        fn a_quantile_is_at_most_0_8_percent_above_the_exact_one(
            mut values in prop::collection::vec(1u64..600_000_000, 1..300), q in 0.01f64..1.0,
        ) {
            let reported = of(&values).quantile(q).unwrap().0;
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            prop_assert!(reported >= exact && reported as f64 <= exact as f64 * 1.008 + 1.0, "{reported} for {exact}");
        }

        #[test]
        fn hostile_indices_cannot_break_it(pairs in prop::collection::vec((any::<u32>(), 0u64..1000), 0..50)) {
            let latency = Latency::unpack(&Packed(pairs.clone()));
            prop_assert_eq!(latency.count(), pairs.iter().map(|(_, count)| count).sum::<u64>());
        }

        #[test]
        fn what_is_above_a_bucket_is_what_reaches_its_upper_edge(
            values in prop::collection::vec(1u64..700_000_000, 0..200), edge in 1u64..700_000_000,
        ) {
            let bucket = Bucket::of(Micros(edge));
            let reaching = values.iter().filter(|value| **value as f64 >= bucket.upper_edge_us()).count();
            prop_assert_eq!(of(&values).count_above(bucket), reaching as u64);
            prop_assert!(bucket == Bucket::last() || (edge as f64) < bucket.upper_edge_us());
        }
    }

    #[test]
    fn what_lies_beyond_the_range_counts_in_the_last_bucket() {
        let latency = of(&[0, u64::MAX]);
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.pack().0.last().map(|(index, _)| *index), Some(max_index()));
    }
}
