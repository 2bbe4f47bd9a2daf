//! What a worker's own primary says beside a run: whether the canary's events are the canary's.
//!
//! Of the events of both versions in a run each is the canary's with its share of the requests, if the canary is no worse. With
//! k events of the canary's, at most so many of the primary's leave that implausible, with the run's share of alpha: a
//! table of integers. A trip needs both, too many events and too few of the primary's.
//!
//! What is open on the primary may turn out an event: in an incident that both share the canary may fail fast and the primary
//! time out. So a trip waits for the primary's requests that were open when the canary's last event came. Later ones are
//! no part of it: the evidence is taken at that moment, as the run's is at its youngest event.

use crate::statistics::mixture::G8;
use crate::worker::fuse::FuseTrip;

/// The primary's trials of one test beside one run.
#[derive(Debug)]
pub(super) struct Beside {
    /// The greatest share of the events that is the canary's if it is no worse.
    share: f64,
    /// The first ordinal of the primary's that belongs to the run.
    first: u64,
    /// Trials of the run of which it is not known yet whether they are events.
    open: u64,
    events: u64,
    waiting: Option<Waiting>,
    /// For k events of the canary's: the most of the primary's that do not excuse them. `None` where any do.
    most: Vec<Option<u64>>,
}

/// A trip, but for what the primary's open requests may say.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    trip: FuseTrip,
    /// Ordinals below it count.
    before: u64,
    open: u64,
    events: u64,
    most: u64,
}

impl Waiting {
    fn settled(&self) -> Option<FuseTrip> {
        (self.events.saturating_add(self.open) <= self.most).then_some(self.trip)
    }
}

impl Beside {
    /// Beside a run that begins; the primary's next trial is number `first`.
    pub(super) const fn new(share: f64, first: u64) -> Self {
        Self { share, first, open: 0, events: 0, waiting: None, most: Vec::new() }
    }

    /// Another run begins, with the same alpha or not.
    pub(super) fn begin_run(&mut self, first: u64, has_same_alpha: bool) {
        (self.first, self.open, self.events, self.waiting) = (first, 0, 0, None);
        if !has_same_alpha {
            self.most.clear();
        }
    }

    pub(super) const fn start(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    /// One of the primary's trials is an event.
    pub(super) fn event(&mut self, ordinal: u64) {
        if ordinal < self.first {
            return;
        }
        self.events = self.events.saturating_add(1);
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| ordinal < waiting.before) {
            waiting.events = waiting.events.saturating_add(1);
        }
        // The primary has excused these; later ones of the canary's are seen anew.
        self.waiting = self.waiting.filter(|waiting| waiting.events <= waiting.most);
    }

    /// It is known of one of the primary's trials whether it is an event; said once of each, after [`Beside::event`].
    pub(super) fn settled(&mut self, ordinal: u64) -> Option<FuseTrip> {
        if ordinal < self.first {
            return None;
        }
        self.open = self.open.saturating_sub(1);
        let waiting = self.waiting.as_mut().filter(|waiting| ordinal < waiting.before)?;
        waiting.open = waiting.open.saturating_sub(1);
        let trip = waiting.settled()?;
        self.waiting = None;
        Some(trip)
    }

    /// The canary's events would trip the fuse: whether they do, or wait. `next` is the ordinal of the primary's next trial;
    /// `needed` the ln e-value of the run's share of alpha.
    pub(super) fn judge(&mut self, trip: FuseTrip, next: u64, needed: f64, max_cluster: u32) -> Option<FuseTrip> {
        let most = self.most_of_primary(trip.events, needed, max_cluster)?;
        let waiting = Waiting { trip, before: next, open: self.open, events: self.events, most };
        let settled = waiting.settled();
        if settled.is_none() && waiting.events <= most {
            // One that has waited for longer knows sooner.
            self.waiting.get_or_insert(waiting);
        }
        settled
    }

    fn most_of_primary(&mut self, events: u64, needed: f64, max_cluster: u32) -> Option<u64> {
        let at = usize::try_from(events).ok()?;
        while self.most.len() <= at {
            let per_cluster = |count: u64| count as f64 / f64::from(max_cluster.max(1));
            let events = self.most.len() as u64;
            let holds = |primary: u64| {
                G8.ln_e(per_cluster(events), per_cluster(events.saturating_add(primary)), self.share) >= needed
            };
            // It grows with the canary's events, by less than one over its share for each.
            let last = self.most.last().copied().flatten().unwrap_or(0);
            let most = holds(last).then(|| (last..).take_while(|primary| holds(*primary)).last().unwrap_or(last));
            self.most.push(most);
        }
        self.most.get(at).copied().flatten()
    }
}
