//! A lane: the part of one service's traffic in which one of several versions is tried, for A/B/n.
//!
//! Each version is a separate canary, with its own epochs, evidence, guards and releases. What keeps them from mixing is
//! that their traffic is divided into lanes beforehand: a user (or, without a key, a request) falls into one lane by a hash
//! that no release changes, and is split between primary and that lane's version there. So every lane is an ordinary
//! canary with a control group of its own, independent of what the others do at the same time.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::names::CanaryId;
use crate::base::weight::{WHOLE_PPM, WeightPpm};

/// Most versions of one canary; each has at least this share of the traffic to be tried in.
pub const MAX_VERSIONS: usize = 8;

/// One lane among those of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Ends", into = "Ends")]
pub struct Lane(Ends);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ends {
    of: CanaryId,
    from: WeightPpm,
    to: WeightPpm,
}

/// A lane was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("from {from} to {to} ppm is no lane; it must end behind its beginning")]
pub struct LaneError {
    /// Where it would begin.
    pub from: u32,
    /// Where it would end.
    pub to: u32,
}

impl Lane {
    /// From its ends: `from` is in it, `to` no longer is.
    ///
    /// # Errors
    /// When nothing is between them.
    pub fn new(of: CanaryId, from: WeightPpm, to: WeightPpm) -> Result<Self, LaneError> {
        if from < to { Ok(Self(Ends { of, from, to })) } else { Err(LaneError { from: from.ppm(), to: to.ppm() }) }
    }

    /// Equal lanes for `count` versions (1 to [`MAX_VERSIONS`]); together they are the whole.
    pub fn equal(of: &CanaryId, count: usize) -> Vec<Self> {
        let count = count.clamp(1, MAX_VERSIONS);
        let end = |n: usize| WeightPpm::new((n * WHOLE_PPM as usize / count) as u32).unwrap_or(WeightPpm::WHOLE);
        (0..count).filter_map(|n| Self::new(of.clone(), end(n), end(n + 1)).ok()).collect()
    }

    /// Whose traffic is divided: the canary under whose name all its versions stand.
    pub const fn of(&self) -> &CanaryId {
        &self.0.of
    }

    /// Where it begins.
    pub const fn from(&self) -> WeightPpm {
        self.0.from
    }

    /// Where it ends; this point is no longer in it.
    pub const fn to(&self) -> WeightPpm {
        self.0.to
    }

    /// Its share of all traffic.
    pub const fn width(&self) -> WeightPpm {
        self.0.to.less(self.0.from)
    }

    /// Whether a point of the line from 0 to 2^64 lies in it.
    pub fn holds(&self, point: u64) -> bool {
        point_ppm(point) >= self.0.from.ppm() && point_ppm(point) < self.0.to.ppm()
    }

    /// Whether they have any point in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.of == other.0.of && self.0.from < other.0.to && other.0.from < self.0.to
    }

    /// What share of the lane a share of all traffic is; all of it where it would be more.
    pub fn within(&self, weight: WeightPpm) -> WeightPpm {
        scaled(weight, WHOLE_PPM, self.width().ppm())
    }

    /// What share of all traffic a share of the lane is; undoes [`Lane::within`] exactly.
    pub fn of_all(&self, weight: WeightPpm) -> WeightPpm {
        scaled(weight, self.width().ppm(), WHOLE_PPM)
    }
}

/// Where a point of the line from 0 to 2^64 lies, in parts per million.
pub(crate) const fn point_ppm(point: u64) -> u32 {
    ((point as u128 * WHOLE_PPM as u128) >> 64) as u32
}

fn scaled(weight: WeightPpm, times: u32, by: u32) -> WeightPpm {
    let (times, by) = (u64::from(times), u64::from(by.max(1)));
    let ppm = (u64::from(weight.ppm()) * times + by / 2) / by;
    u32::try_from(ppm).ok().and_then(|ppm| WeightPpm::new(ppm).ok()).unwrap_or(WeightPpm::WHOLE)
}

impl TryFrom<Ends> for Lane {
    type Error = LaneError;
    fn try_from(Ends { of, from, to }: Ends) -> Result<Self, LaneError> {
        Self::new(of, from, to)
    }
}

impl From<Lane> for Ends {
    fn from(lane: Lane) -> Self {
        lane.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn web() -> CanaryId {
        CanaryId::new("prod", "web").unwrap()
    }

    proptest! {
        #[test]
        fn every_point_lies_in_exactly_one_lane(count in 1..=MAX_VERSIONS, point: u64) {
            let lanes = Lane::equal(&web(), count);
            prop_assert_eq!(lanes.len(), count);
            prop_assert_eq!(lanes.iter().filter(|lane| lane.holds(point)).count(), 1);
        }

        #[test]
        fn shares_come_back_as_they_went(count in 1..=MAX_VERSIONS, at: prop::sample::Index, ppm in 0..=WHOLE_PPM) {
            let lanes = Lane::equal(&web(), count);
            let lane = &lanes[at.index(count)];
            let weight = WeightPpm::new(ppm.min(lane.width().ppm())).unwrap();
            prop_assert_eq!(lane.of_all(lane.within(weight)), weight);
        }
    }

    #[test]
    fn a_share_beyond_the_lane_is_all_of_it() {
        let [first, _] = &Lane::equal(&web(), 2)[..] else { panic!("two lanes") };
        assert_eq!(first.within(WeightPpm::WHOLE), WeightPpm::WHOLE);
        assert_eq!(first.within(WeightPpm::new(100_000).unwrap()).ppm(), 200_000);
    }

    #[test]
    fn an_empty_lane_is_refused_also_in_a_journal() {
        let text = r#"{"of":"prod/web","from":500000,"to":500000}"#;
        let error = serde_json::from_str::<Lane>(text).unwrap_err().to_string();
        assert!(error.contains("from 500000 to 500000 ppm is no lane"), "{error}");
    }
}
