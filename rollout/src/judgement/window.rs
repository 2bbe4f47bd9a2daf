//! The newest counts, by arrival: what threshold checks look at.
//!
//! It holds one step's time only. A step is judged by its own requests, those that started under its entries; answers to
//! requests of the step before that arrive meanwhile are kept apart, since they may speak against the canary but cannot
//! speak for it on this step.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::routing::table::{Epoch, Version};
use crate::worker::tally::{Counts, PerVersion};

/// Slices of a window: its end moves in steps of a sixtieth.
const SLICES: u64 = 60;

/// What arrived in a span of time that ends now, since the step was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Of requests that started on the step.
    pub own: PerVersion,
    /// Of requests that started before it, in the same release.
    pub late: PerVersion,
}

impl Recent {
    /// Both together.
    pub fn all(&self) -> PerVersion {
        let mut all = self.own.clone();
        all.merge(&self.late);
        all
    }
}

/// The newest counts, in slices by arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    slice: Millis,
    kept: Millis,
    /// The first epoch of the step.
    step: Epoch,
    slices: VecDeque<(Millis, Recent)>,
}

impl Window {
    /// Empty, for spans up to `longest`; what starts under `step` or a later epoch is the step's own.
    pub(super) fn new(longest: Millis, step: Epoch) -> Self {
        Self { slice: Millis((longest.0 / SLICES).max(50)), kept: longest, step, slices: VecDeque::new() }
    }

    /// Another step begins: nothing that arrived before decides on it.
    pub(super) fn begin_step(&mut self, step: Epoch) {
        self.step = step;
        self.slices.clear();
    }

    pub(super) fn add(&mut self, epoch: Epoch, version: Version, counts: &Counts, now: Millis) {
        if self.slice == Millis(0) {
            return;
        }
        let start = Millis(now.0 - now.0 % self.slice.0);
        if self.slices.back().is_none_or(|(at, _)| *at < start) {
            self.slices.push_back((start, Recent::default()));
        }
        if let Some((_, newest)) = self.slices.back_mut() {
            let side = if epoch >= self.step { &mut newest.own } else { &mut newest.late };
            side.add(version, counts);
        }
        while self.slices.front().is_some_and(|(at, _)| now.since(*at) > self.kept.plus(self.slice)) {
            self.slices.pop_front();
        }
    }

    pub(super) fn last(&self, span: Millis, now: Millis) -> Recent {
        let mut sum = Recent::default();
        let fresh = self.slices.iter().filter(|(at, _)| now.since(*at) <= span);
        fresh.for_each(|(_, counts)| {
            sum.own.merge(&counts.own);
            sum.late.merge(&counts.late);
        });
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(started: u64) -> Counts {
        Counts { started, succeeded: started, ..Counts::default() }
    }

    #[test]
    fn it_slides_and_forgets() {
        let mut window = Window::new(Millis(6_000), Epoch(1));
        for second in 0..100u64 {
            window.add(Epoch(1), Version::Canary, &counts(1), Millis(second * 1000));
        }
        let now = Millis(99_000);
        assert_eq!(window.last(Millis(3_000), now).own.canary.judged(), 4);
        assert_eq!(window.last(Millis(6_000), now).own.canary.judged(), 7);
        assert_eq!(window.last(Millis(6_000), Millis(200_000)), Recent::default(), "old samples do not count as new");
        assert!(window.slices.len() <= 8);
    }

    #[test]
    fn a_step_has_its_own_requests_and_what_arrives_late_apart() {
        let mut window = Window::new(Millis(60_000), Epoch(2));
        window.add(Epoch(2), Version::Canary, &counts(4), Millis(1_000));
        window.begin_step(Epoch(4));
        assert_eq!(window.last(Millis(60_000), Millis(2_000)), Recent::default(), "that was another step");
        window.add(Epoch(2), Version::Canary, &counts(3), Millis(3_000));
        window.add(Epoch(4), Version::Canary, &counts(5), Millis(3_000));
        window.add(Epoch(6), Version::Canary, &counts(6), Millis(4_000));
        let recent = window.last(Millis(60_000), Millis(5_000));
        assert_eq!((recent.own.canary.judged(), recent.late.canary.judged()), (11, 3));
        assert_eq!(recent.all().canary.judged(), 14);
    }
}
