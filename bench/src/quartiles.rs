//! The middle half of a handful of samples. The lower quartile is the figure to compare: whatever else the machine does
//! only ever adds.

use serde::Serialize;

/// Three points that cut sorted samples into four parts.
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
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
            Some(below + (above - below) * place.fract())
        };
        Some(Self { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }
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
}
