//! tally -> report: numbers reports and keeps the one in flight until the agent has stored it.
//!
//! Reports are numbered deltas of one worker incarnation. One is in flight at a time and is sent again, unchanged, until
//! it is acknowledged; meanwhile counts merge in the tally. So memory stays bounded and the agent can count each report
//! once.

use crate::base::names::CanaryId;
use crate::base::time::Millis;
use crate::worker::messages::{Report, Sampled, Trip, Watermark};
use crate::worker::tally::{Counts, Stratum};

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

/// Numbers reports and holds the one in flight.
#[derive(Clone, Debug, Default)]
pub struct ReportSender {
    last_number: u64,
    unacknowledged: Option<Report>,
    sent_at: Millis,
}

impl ReportSender {
    /// The report in flight, to be sent again on a new stream.
    pub fn again(&mut self, now: Millis) -> Option<Report> {
        self.sent_at = now;
        self.unacknowledged.clone()
    }

    /// Whether a new report may be built.
    pub const fn is_free(&self) -> bool {
        self.unacknowledged.is_none()
    }

    /// How long the report in flight has been waiting for its ack; `None` when none is.
    pub fn waiting(&self, now: Millis) -> Option<Millis> {
        self.unacknowledged.as_ref().map(|_| now.since(self.sent_at))
    }

    /// Numbers a delta and keeps it until it is acknowledged.
    pub fn next(&mut self, delta: Delta, now: Millis) -> Report {
        self.last_number = self.last_number.saturating_add(1);
        self.sent_at = now;
        let Delta { strata, watermarks, trips, destinations } = delta;
        let report = Report { number: self.last_number, strata, watermarks, trips, destinations };
        self.unacknowledged = Some(report.clone());
        report
    }

    /// The agent has stored a report.
    pub fn acked(&mut self, number: u64) {
        if self.unacknowledged.as_ref().is_some_and(|report| report.number == number) {
            self.unacknowledged = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_kept_until_its_own_ack() {
        let mut sender = ReportSender::default();
        let first = sender.next(Delta::default(), Millis(5));
        assert!(!sender.is_free());
        sender.acked(7);
        assert_eq!(sender.again(Millis(9)), Some(first.clone()));
        assert_eq!(sender.waiting(Millis(10)), Some(Millis(1)));
        sender.acked(first.number);
        assert!(sender.is_free());
        assert_eq!(sender.next(Delta::default(), Millis(11)).number, 2);
    }
}
