//! tally -> report: numbers reports and keeps each until the agent has stored it.
//!
//! Reports are numbered deltas of one worker incarnation. One at a time is on its way: the next leaves when the agent has
//! received it. Each is kept until it is stored, and sent again, unchanged, on a new stream, so whatever the agent forgets by
//! a crash comes again, and whatever it remembers counts once. When [`MOST_KEPT`] are not stored, counts merge in the tally:
//! memory stays bounded however long a disk hangs.

use std::collections::VecDeque;

use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::worker::messages::{Report, Sampled, Trip, Watermark};
use crate::worker::tally::{Counts, Stratum};

/// Reports kept that are not stored.
const MOST_KEPT: usize = 64;

/// A report without its number.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// See [`Report::strata`].
    pub strata: Vec<(Stratum<CanaryId>, Counts)>,
    /// See [`Report::watermarks`].
    pub watermarks: Vec<Watermark>,
    /// See [`Report::trips`].
    pub trips: Vec<Trip>,
    /// See [`Report::destinations`].
    pub destinations: Vec<Sampled>,
}

/// Numbers reports and holds those that are not stored.
#[derive(Clone, Debug, Default)]
pub struct ReportSender {
    last_number: u64,
    /// Oldest first.
    unstored: VecDeque<Report>,
    /// All up to this number were received by the agent of this stream.
    received: u64,
    sent_at: Millis,
}

impl ReportSender {
    /// What is not stored, to be sent again on a new stream: another agent may be at its end.
    pub fn again(&mut self, now: Millis) -> Vec<Report> {
        self.sent_at = now;
        self.received = self.unstored.front().map_or(self.last_number, |first| first.number.saturating_sub(1));
        self.unstored.iter().cloned().collect()
    }

    /// Whether a new report may be built.
    pub fn is_free(&self) -> bool {
        self.received >= self.last_number && self.unstored.len() < MOST_KEPT
    }

    /// How long what is on its way has not been received; `None` when nothing is on its way.
    pub fn waiting(&self, now: Millis) -> Option<Millis> {
        (self.received < self.last_number).then(|| now.since(self.sent_at))
    }

    /// Numbers a delta and keeps it until it is stored.
    pub fn next(&mut self, delta: Delta, now: Millis) -> Report {
        self.last_number = self.last_number.saturating_add(1);
        self.sent_at = now;
        let Delta { strata, watermarks, trips, destinations } = delta;
        let report = Report { number: self.last_number, strata, watermarks, trips, destinations };
        self.unstored.push_back(report.clone());
        report
    }

    /// The agent has a report, and all before it. A number that was never sent says nothing.
    pub fn received(&mut self, number: u64) {
        if number <= self.last_number {
            self.received = self.received.max(number);
        }
    }

    /// The agent has stored a report, and all before it.
    pub fn stored(&mut self, number: u64) {
        self.received(number);
        while number <= self.last_number && self.unstored.front().is_some_and(|first| first.number <= number) {
            self.unstored.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(sender: &mut ReportSender) -> u64 {
        sender.next(Delta::default(), Millis(5)).number
    }

    fn kept(sender: &mut ReportSender) -> Vec<u64> {
        sender.again(Millis(9)).iter().map(|report| report.number).collect()
    }

    #[test]
    fn the_next_report_leaves_when_the_last_is_received_and_each_is_kept_until_it_is_stored() {
        let mut sender = ReportSender::default();
        assert_eq!(sent(&mut sender), 1);
        assert!(!sender.is_free());
        sender.received(7);
        assert!(!sender.is_free(), "that one was never sent");
        assert_eq!(sender.waiting(Millis(10)), Some(Millis(5)));
        sender.received(1);
        assert!(sender.is_free() && sender.waiting(Millis(10)).is_none());
        assert_eq!(sent(&mut sender), 2);
        assert_eq!(kept(&mut sender), [1, 2]);
        assert!(!sender.is_free(), "another agent has received nothing");
        sender.stored(1);
        assert_eq!(kept(&mut sender), [2]);
        sender.stored(2);
        assert!(sender.is_free() && kept(&mut sender).is_empty());
    }

    #[test]
    fn a_store_that_hangs_bounds_what_is_kept() {
        let mut sender = ReportSender::default();
        while sender.is_free() {
            let number = sent(&mut sender);
            sender.received(number);
        }
        assert_eq!(kept(&mut sender).len(), MOST_KEPT);
        sender.received(MOST_KEPT as u64);
        assert!(!sender.is_free(), "counts merge in the tally now");
        sender.stored(1);
        assert!(sender.is_free());
    }
}
