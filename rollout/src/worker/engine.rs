//! Engine 1: all that the filter thinks. It does not know its host.
//!
//! The shell gathers (headers, time, messages), calls, and performs the [`WorkerAction`]s that come back. What is missing
//! or broken routes to primary and is counted: a fault here may cost evidence, never a request.

use crate::base::names::CanaryId;
use crate::base::time::{Micros, Millis};
use crate::routing::request::Request;
use crate::routing::route::{Candidate, Placement, Route, choose_version, is_mirrored, pick_candidate, user};
use crate::routing::table::{CanaryIndex, Entry, Epoch, Split, Table, Version, WeightPpm};
pub use crate::worker::api::{
    Decision, Faults, Finished, HeaderEdit, IDLE_EVERY, Identity, REPORT_EVERY, Settings, WorkerAction,
};
use crate::worker::connection::{Connection, SILENCE};
use crate::worker::in_flight::Counting;
use crate::worker::messages::{ToAgent, ToWorker, Trip};
use crate::worker::repeats::Repeats;
use crate::worker::sender::ReportSender;
use crate::worker::tally::{Slot, Stratum, Tally};

mod adoption;
mod counting;
mod early;
mod fuses;
mod mirror;
mod reports;
mod sampling;

use self::adoption::Standing;
use self::counting::Watches;
use self::early::EarlyReports;
use self::fuses::Fuses;
pub use self::mirror::CopyEnd;
use self::sampling::Sampling;

/// The engine.
#[derive(Debug)]
pub struct Worker {
    identity: Identity,
    settings: Settings,
    table: Table,
    /// What is known of each entry of the table, under its index.
    standings: Vec<Standing>,
    tally: Tally,
    watches: Watches,
    fuses: Fuses,
    repeats: Repeats,
    sampling: Sampling,
    sender: ReportSender,
    early: EarlyReports,
    connection: Connection,
    last_message_at: Millis,
    sent_at: Millis,
    pace: Millis,
    faults: Faults,
    draws: Draws,
}

impl Worker {
    /// A worker without any table but the fixed one. `seed` is random: it spreads draws and retries.
    pub fn new(identity: Identity, settings: Settings, seed: u64) -> Self {
        let mut worker = Self {
            identity,
            table: Table::default(),
            standings: Vec::new(),
            tally: Tally::new(settings.max_strata),
            watches: Watches::default(),
            fuses: Fuses::default(),
            repeats: Repeats::default(),
            sampling: Sampling::new(seed),
            sender: ReportSender::default(),
            early: EarlyReports::default(),
            connection: Connection::new(settings.has_agent),
            last_message_at: Millis(0),
            sent_at: Millis(0),
            pace: Millis(0),
            faults: Faults::default(),
            draws: Draws(seed),
            settings,
        };
        worker.settings.fixed.clone().into_iter().for_each(|entry| worker.put(entry));
        worker
    }

    /// The first step of every request: where it goes. Counts nothing yet: see [`Worker::start`].
    pub fn route(&mut self, request: Request<'_>, now: Micros) -> Decision {
        let draw = self.draws.next();
        let removed = |name: &str| if request.first(name).is_some() { HeaderEdit::Remove } else { HeaderEdit::Leave };
        let removed = [removed(&self.settings.decision_header), removed(&self.settings.mirror_header)];
        let authority = request.first(":authority").unwrap_or_default();
        let Some(found) = self.table.find(authority, request.path()) else {
            let [header, mirror] = removed;
            return Decision { header, mirror, set_cookie: None, counted: None };
        };
        let candidate = pick_candidate(&self.table, found, request, draw);
        let is_failed_safe = candidate.is_stray
            || (candidate.routing.split.is_some()
                && self.is_failed_safe(candidate.index, candidate.entry, now.to_millis()));
        let route = if is_failed_safe {
            // By no draw: counted as drawn, the split would look wrong.
            Route { version: Version::Primary, placement: Placement::FailSafe, issued: None }
        } else {
            choose_version(candidate.routing, request, draw)
        };
        let is_copied = route.version == Version::Primary && !is_failed_safe && {
            let split = candidate.routing.split.as_ref().filter(|split| split.mirror > WeightPpm::ZERO);
            split.is_some_and(|split| is_mirrored(split, self.draws.next()))
        };
        self.decide(candidate, route, is_copied, removed, request, now)
    }

    /// What the shell must do about a route, and where the request is counted.
    fn decide(
        &self,
        Candidate { index, entry, routing, issued, .. }: Candidate<'_>,
        route: Route<'_>,
        is_copied: bool,
        [unset_header, unset_mirror]: [HeaderEdit; 2],
        request: Request<'_>,
        now: Micros,
    ) -> Decision {
        let Route { version, placement, issued: issued_by_version } = route;
        let split = routing.split.as_ref();
        let upstream = match (version, split) {
            (Version::Canary, Some(split)) => &split.canary,
            _ => &routing.primary,
        };
        let header = match self.is_default(index, version) {
            true => unset_header,
            false => HeaderEdit::Set(upstream.clone()),
        };
        let mirror = match split.filter(|_| is_copied) {
            Some(split) => HeaderEdit::Set(split.canary.clone()),
            None => unset_mirror,
        };
        let slot = match placement {
            // No test asks for their slots; kept apart they would displace those of the failures before a trip.
            Placement::FailSafe => Slot::MERGED,
            _ => split.map_or(Slot(0), |split| self.slot_of(index, split, now)),
        };
        let stratum = Stratum { canary: index, epoch: entry.epoch, version, placement, slot };
        let set_cookie = issued_by_version.or(issued).map(|(cookie, id)| cookie.set_cookie(id));
        Decision { header, mirror, set_cookie, counted: Some(counted_as(stratum, split, request)) }
    }

    /// Whether [`Worker::route`] needs the client's address; asking the host for it costs.
    pub const fn needs_client_address(&self) -> bool {
        self.table.needs_client_address()
    }

    /// The heartbeat: opens, reports, gives up.
    pub fn tick(&mut self, now: Millis) -> Vec<WorkerAction> {
        let mut actions = Vec::new();
        self.pass_deadlines(Micros(now.0.saturating_mul(1000)));
        self.early.tick();
        let is_unanswered = self.connection.is_up() && self.sender.waiting(now).is_some_and(|wait| wait >= SILENCE);
        if self.connection.is_silent(now) || is_unanswered {
            actions.push(WorkerAction::CloseStream);
            self.stream_lost(now);
        }
        if self.connection.open_if_due(now) {
            self.sent_at = now;
            actions.extend([WorkerAction::OpenStream, WorkerAction::Send(ToAgent::Hello(self.hello()))]);
        }
        if self.has_tripped() || (self.connection.is_up() && now.since(self.sent_at) >= self.report_every()) {
            actions.extend(self.report(now));
        }
        actions.extend(self.repace());
        actions
    }

    /// Whether something should not wait for the next tick, and the agent can be reached: a fuse has tripped, or an answer
    /// speaks against a canary.
    pub fn must_flush(&self) -> bool {
        self.has_tripped() || (self.can_report() && self.is_early_due())
    }

    /// Reports what should not wait.
    pub fn flush(&mut self, now: Millis) -> Vec<WorkerAction> {
        if !self.has_tripped() {
            if !(self.can_report() && self.is_early_due()) {
                return Vec::new();
            }
            self.early.spend();
        }
        vec![self.next_report(now)]
    }

    /// Whether a trip waits to be reported, and can be.
    fn has_tripped(&self) -> bool {
        self.fuses.has_unreported() && self.can_report()
    }

    fn can_report(&self) -> bool {
        self.connection.is_up() && self.sender.is_free()
    }

    fn is_early_due(&self) -> bool {
        self.early.is_due(|canary| self.watches.is_open((canary, Version::Primary)))
    }

    /// A message from the agent.
    pub fn message(&mut self, message: ToWorker, now: Millis) -> Vec<WorkerAction> {
        self.last_message_at = now;
        self.connection.on_message(now);
        let mut actions = Vec::new();
        match message {
            ToWorker::Welcome(_) => {
                self.connection.welcomed(now);
                let again = self.sender.again(now).into_iter();
                actions.extend(again.map(|report| WorkerAction::Send(ToAgent::Report(report))));
            }
            ToWorker::Received(number) => {
                self.sender.received(number);
                actions.extend(self.flush(now));
            }
            ToWorker::Stored(number) => {
                self.sender.stored(number);
                actions.extend(self.flush(now));
            }
            ToWorker::Entry(entry) => actions.extend(self.adopt(*entry, now)),
            ToWorker::Beat => {}
        }
        actions.extend(self.repace());
        actions
    }

    /// A message from the agent that could not be understood; the last good table stays.
    pub const fn malformed_message(&mut self) {
        self.faults.messages += 1;
    }

    /// The stream is gone, or could not be opened.
    pub fn stream_lost(&mut self, now: Millis) {
        self.faults.streams += 1;
        let draw = self.draws.next();
        self.connection.lost(now, draw);
    }

    /// New settings for a living worker: entries from the agent stay in force.
    pub fn reconfigure(&mut self, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        if old.has_agent != self.settings.has_agent {
            self.connection = Connection::new(self.settings.has_agent);
        }
        self.resolve_defaults();
        for entry in self.settings.fixed.clone() {
            // The same again must not arm a fuse that has tripped.
            if self.table.get(&entry.canary).is_none_or(|held| held.epoch == Epoch(0) && *held != entry) {
                self.put(entry);
            }
        }
    }

    /// The canary under an index.
    pub fn canary(&self, index: CanaryIndex) -> Option<&CanaryId> {
        self.table.at(index).map(|entry| &entry.canary)
    }

    /// What went wrong so far.
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// Whether an agent has welcomed this worker.
    pub const fn is_connected(&self) -> bool {
        self.connection.is_up()
    }

    /// Fuses that are tripped now.
    pub fn tripped(&self) -> impl Iterator<Item = &Trip> {
        self.fuses.tripped()
    }

    /// The canary's share of its service's traffic now in force, per canary; zero once the lease is over, or while its
    /// fuse is tripped.
    pub fn weights(&self, now: Millis) -> impl Iterator<Item = (&CanaryId, Epoch, WeightPpm)> {
        self.table.entries().map(move |(index, entry)| {
            let split = entry.routing.as_ref().and_then(|routing| Some((&routing.scope, routing.split.as_ref()?)));
            let split = split.filter(|_| !self.is_failed_safe(index, entry, now));
            let weight = split.map_or(WeightPpm::ZERO, |(scope, split)| scope.of_all(split.weight));
            (&entry.canary, entry.epoch, weight)
        })
    }

    fn report_every(&self) -> Millis {
        let has_split = |entry: &Entry| entry.routing.as_ref().is_some_and(|routing| routing.split.is_some());
        if self.table.entries().any(|(_, entry)| entry.epoch > Epoch(0) && has_split(entry)) {
            REPORT_EVERY
        } else {
            IDLE_EVERY
        }
    }

    /// Ticks fast while a release is on, a fuse must see what hangs, or the agent is sought; slowly when all is quiet.
    fn repace(&mut self) -> Option<WorkerAction> {
        let is_seeking = self.settings.has_agent && !self.connection.is_up();
        let pace = if is_seeking || !self.fuses.is_empty() { REPORT_EVERY } else { self.report_every() };
        (pace != self.pace).then(|| {
            self.pace = pace;
            WorkerAction::TickEvery(pace)
        })
    }

    fn is_lease_over(&self, entry: &Entry, now: Millis) -> bool {
        entry.epoch > Epoch(0) && now.since(self.last_message_at) > self.settings.lease
    }

    /// Whether the canary gets nothing although its entry may say otherwise.
    fn is_failed_safe(&self, index: CanaryIndex, entry: &Entry, now: Millis) -> bool {
        self.is_lease_over(entry, now) || self.fuses.is_tripped(index)
    }
}

/// How a request is counted under an entry's split.
fn counted_as(stratum: Stratum<CanaryIndex>, split: Option<&Split>, request: Request<'_>) -> Counting {
    let measurement = split.map(|split| split.measurement).unwrap_or_default();
    Counting {
        stratum,
        limit: split.and_then(|split| split.latency_limit),
        latency_end: measurement.latency_end,
        good_after: measurement.good_after.to_micros(),
        failures: measurement.failures,
        user: split
            .filter(|split| match stratum.placement {
                Placement::Sticky => true,
                Placement::Matched => split.is_by_rule_alone(),
                Placement::Drawn | Placement::FailSafe | Placement::Mirrored => false,
            })
            .and_then(|split| user(split, request)),
        grpc: request.grpc(),
        is_upgrade: request.is_upgrade(),
    }
}

/// SplitMix64: uniform, fast, and seeded from outside (Steele, Lea & Flood 2014).
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests;
