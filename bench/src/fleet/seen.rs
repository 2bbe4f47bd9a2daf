//! What simulated workers have seen of the agent, added up over all of them.

use std::collections::BTreeMap;
use std::time::Instant;

use rollout::routing::table::Epoch;

/// What is counted between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetCounts {
    /// Ticks at which a worker had something to report: as many reports there would be if each were acknowledged at once.
    pub reports_wanted: u64,
    /// Reports that left, those that left before their tick among them.
    pub reports_sent: u64,
    /// From each report's leaving to its ack, in milliseconds, as far as the ack came meanwhile.
    pub ack_ms: Vec<f64>,
    /// Requests that were answered.
    pub responses: u64,
    /// Those that the canary answered.
    pub canary_responses: u64,
    /// Those that it failed.
    pub bad_responses: u64,
    /// Ticks of all workers.
    pub ticks: u64,
    /// Those that came so late that the figures are the client's more than the agent's.
    pub ticks_late: u64,
    /// Streams that ended though nobody asked for it.
    pub streams_lost: u64,
    /// Why the last of them did.
    pub last_loss: Option<String>,
}

/// One entry on its way to all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// When the first worker had it in force.
    pub first: Instant,
    /// When the last one so far had.
    pub last: Instant,
    /// How many have, or skipped it for a later one.
    pub workers: usize,
}

/// What many workers, or all of them, have seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Since the last look.
    pub counts: FleetCounts,
    /// Workers that came to be welcomed, less those that lost their stream.
    pub connected: i64,
    /// Entries by their epoch.
    pub adoptions: BTreeMap<Epoch, Adoption>,
}

impl Seen {
    /// A worker has an entry in force.
    pub fn adopted(&mut self, epoch: Epoch, at: Instant) {
        self.merge(epoch, Adoption { first: at, last: at, workers: 1 });
    }

    /// Adds what others have seen.
    pub fn absorb(&mut self, other: Self) {
        let ours = &mut self.counts;
        let FleetCounts { reports_wanted, reports_sent, ack_ms, responses, canary_responses, .. } = other.counts;
        ours.reports_wanted += reports_wanted;
        ours.reports_sent += reports_sent;
        ours.ack_ms.extend(ack_ms);
        ours.responses += responses;
        ours.canary_responses += canary_responses;
        ours.bad_responses += other.counts.bad_responses;
        ours.ticks += other.counts.ticks;
        ours.ticks_late += other.counts.ticks_late;
        ours.streams_lost += other.counts.streams_lost;
        ours.last_loss = other.counts.last_loss.or(ours.last_loss.take());
        self.connected += other.connected;
        other.adoptions.into_iter().for_each(|(epoch, adoption)| self.merge(epoch, adoption));
    }

    /// The newest entry, if all workers have it and it is newer than `above`.
    #[must_use]
    pub fn adopted_by_all(&self, workers: usize, above: Epoch) -> Option<(Epoch, Adoption)> {
        let (epoch, adoption) = self.adoptions.last_key_value()?;
        (*epoch > above && adoption.workers == workers).then_some((*epoch, *adoption))
    }

    /// In words: how far things have come.
    #[must_use]
    pub fn standing(&self) -> String {
        let newest = self.adoptions.last_key_value();
        let (epoch, workers) = newest.map_or((0, 0), |(epoch, adoption)| (epoch.0, adoption.workers));
        let why = self.counts.last_loss.as_deref().map(|why| format!(", the last: {why}")).unwrap_or_default();
        let (connected, lost) = (self.connected, self.counts.streams_lost);
        format!("{connected} are connected, {workers} have entry {epoch}, {lost} streams were lost lately{why}")
    }

    fn merge(&mut self, epoch: Epoch, Adoption { first, last, workers }: Adoption) {
        let ours = self.adoptions.entry(epoch).or_insert(Adoption { first, last, workers: 0 });
        ours.first = ours.first.min(first);
        ours.last = ours.last.max(last);
        ours.workers += workers;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_has_arrived_when_the_last_worker_has_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut some, mut others) = (Seen::default(), Seen::default());
        some.adopted(Epoch(2), at(5));
        some.adopted(Epoch(2), at(3));
        others.adopted(Epoch(2), at(9));
        assert_eq!(some.adopted_by_all(3, Epoch(0)), None);
        some.absorb(others);
        let adoption = Adoption { first: at(3), last: at(9), workers: 3 };
        assert_eq!(some.adopted_by_all(3, Epoch(1)), Some((Epoch(2), adoption)));
        assert_eq!(some.adopted_by_all(3, Epoch(2)), None, "that one is known");
        some.adopted(Epoch(3), at(10));
        assert_eq!(some.adopted_by_all(3, Epoch(1)), None, "a newer one is on its way");
        assert_eq!(some.standing(), "0 are connected, 1 have entry 3, 0 streams were lost lately");
    }

    #[test]
    fn counts_add_up() {
        let counts = FleetCounts { reports_sent: 2, ack_ms: vec![1.0], bad_responses: 3, ..FleetCounts::default() };
        let mut all = Seen { counts: counts.clone(), connected: 2, ..Seen::default() };
        all.absorb(Seen { counts, connected: -1, ..Seen::default() });
        assert_eq!((all.counts.reports_sent, all.counts.bad_responses, all.connected), (4, 6, 1));
        assert_eq!(all.counts.ack_ms, [1.0, 1.0]);
    }
}
