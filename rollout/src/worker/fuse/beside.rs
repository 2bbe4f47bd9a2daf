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
    /// Its run's ordinals count, from this one on…
    first: u64,
    /// …and below this one.
    before: u64,
    open: u64,
    events: u64,
    most: u64,
}

impl Waiting {
    const fn counts(&self, ordinal: u64) -> bool {
        self.first <= ordinal && ordinal < self.before
    }

    fn settled(&self) -> Option<FuseTrip> {
        (self.events.saturating_add(self.open) <= self.most).then_some(self.trip)
    }
}

impl Beside {
    /// Beside a run that begins; the primary's next trial is number `first`.
    pub(super) const fn new(share: f64, first: u64) -> Self {
        Self { share, first, open: 0, events: 0, waiting: None, most: Vec::new() }
    }

    /// Another run begins, with the same alpha or not. A trip that waits is the run's before it, and goes on waiting: where the
    /// canary fails fast a run is over before a slow primary has answered.
    pub(super) fn begin_run(&mut self, first: u64, has_same_alpha: bool) {
        (self.first, self.open, self.events) = (first, 0, 0);
        if !has_same_alpha {
            self.most.clear();
        }
    }

    pub(super) const fn start(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    /// One of the primary's trials is an event.
    pub(super) fn event(&mut self, ordinal: u64) {
        self.events = self.events.saturating_add(u64::from(ordinal >= self.first));
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.counts(ordinal)) {
            waiting.events = waiting.events.saturating_add(1);
        }
        // The primary has excused these; later ones of the canary's are seen anew.
        self.waiting = self.waiting.filter(|waiting| waiting.events <= waiting.most);
    }

    /// It is known of one of the primary's trials whether it is an event; said once of each, after [`Beside::event`].
    pub(super) fn settled(&mut self, ordinal: u64) -> Option<FuseTrip> {
        self.open = self.open.saturating_sub(u64::from(ordinal >= self.first));
        let waiting = self.waiting.as_mut().filter(|waiting| waiting.counts(ordinal))?;
        waiting.open = waiting.open.saturating_sub(1);
        let trip = waiting.settled()?;
        self.waiting = None;
        Some(trip)
    }

    /// The canary's events would trip the fuse: whether they do, or wait. `next` is the ordinal of the primary's next trial;
    /// `needed` the ln e-value of the run's share of alpha.
    pub(super) fn judge(&mut self, trip: FuseTrip, next: u64, needed: f64, max_cluster: u32) -> Option<FuseTrip> {
        let most = self.most_of_primary(trip.events, needed, max_cluster)?;
        let waiting = Waiting { trip, first: self.first, before: next, open: self.open, events: self.events, most };
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
            let last = self.most.last().copied().flatten().unwrap_or(0);
            self.most.push(holds(last).then(|| last_that_holds(last, holds)));
        }
        self.most.get(at).copied().flatten()
    }
}

/// The last number for which it holds, where it holds for `first` and for none above one for which it does not.
pub(super) fn last_that_holds(first: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let mut step = 1u64;
    while holds(first.saturating_add(step)) && step < u64::MAX / 4 {
        step *= 2;
    }
    // It holds at the lower end, not at the upper.
    let (mut low, mut high) = (first.saturating_add(step / 2), first.saturating_add(step));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}
