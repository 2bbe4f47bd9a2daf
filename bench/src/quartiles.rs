//! The middle half of a handful of samples. The lower quartile is the figure to compare: whatever else the machine does
//! only ever adds.

use serde::Serialize;

/// Three points that divide sorted samples into four parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quartiles {
    /// A quarter of the samples lies below.
    pub lower: f64,
    /// Half of them does.
    pub median: f64,
    /// Three quarters do.
    pub upper: f64,
}

impl Quartiles {
    /// Of at least one sample, interpolated linearly between neighbours; `None` without any.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let at = |share| quantile(samples, share);
        Some(Self { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }
}

/// What a `share` (0 to 1) of the samples does not exceed, interpolated linearly between neighbours; `None` without any.
#[must_use]
pub fn quantile(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_cut_in_four_whatever_the_order() {
        let of = |samples: &[f64]| Quartiles::of(samples).map(|it| (it.lower, it.median, it.upper));
        assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some((2.0, 3.0, 4.0)));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Some((1.75, 2.5, 3.25)));
        assert_eq!(of(&[7.0]), Some((7.0, 7.0, 7.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_and_the_last_quantile_is_the_greatest() {
        assert_eq!(quantile(&[9.0, 3.0], 0.5), Some(6.0));
        let eleven: Vec<f64> = (0..=10).rev().map(f64::from).collect();
        assert_eq!((quantile(&eleven, 0.9), quantile(&eleven, 1.0), quantile(&[], 0.5)), (Some(9.0), Some(10.0), None));
    }
}
