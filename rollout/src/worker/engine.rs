//! Engine 1: all that the filter thinks. It does not know its host.
//!
//! The shell gathers (headers, time, messages), calls, and performs the [`WorkerAction`]s that come back. Whatever is missing
//! or broken routes to primary and is counted: a fault here may cost evidence, never a request.

use std::collections::BTreeMap;

use crate::base::names::{CanaryId, Upstream};
use crate::base::time::{Micros, Millis};
use crate::routing::outcome::{HUNG, Outcome};
use crate::routing::request::Request;
use crate::routing::route::{Candidate, Placement, Route, is_mirrored, pick_candidate, route};
use crate::routing::table::{Adoption, Entry, Epoch, Split, Table, Version, WeightPpm};
pub use crate::worker::api::{
    Decision, Faults, Finished, HeaderEdit, IDLE_EVERY, Identity, REPORT_EVERY, Settings, WorkerAction,
};
use crate::worker::connection::Link;
use crate::worker::in_flight::InFlight;
use crate::worker::messages::{ReportSender, ToAgent, ToWorker, Trip};
use crate::worker::slow_watch::SlowWatch;
use crate::worker::tally::{Slot, Stratum, Tally};

mod fuses;
mod mirror;
mod reports;

use self::fuses::Fuses;
pub use self::mirror::CopyEnd;

/// The engine.
#[derive(Debug)]
pub struct Worker {
    identity: Identity,
    settings: Settings,
    table: Table,
    /// When each entry of the agent's came into force; its slots count from then.
    since: BTreeMap<CanaryId, Micros>,
    tally: Tally,
    slow_watch: SlowWatch,
    fuses: Fuses,
    sender: ReportSender,
    link: Link,
    heard_at: Millis,
    sent_at: Millis,
    pace: Millis,
    numbers: BTreeMap<CanaryId, u16>,
    names: Vec<CanaryId>,
    faults: Faults,
    draws: Draws,
}

impl Worker {
    /// A worker without any table but the fixed one. `seed` is random: it spreads draws and retries.
    pub fn new(identity: Identity, settings: Settings, seed: u64) -> Self {
        let mut worker = Self {
            identity,
            table: Table::default(),
            since: BTreeMap::new(),
            tally: Tally::new(settings.max_strata),
            slow_watch: SlowWatch::default(),
            fuses: Fuses::default(),
            sender: ReportSender::default(),
            link: Link::new(settings.has_agent),
            heard_at: Millis(0),
            sent_at: Millis(0),
            pace: Millis(0),
            numbers: BTreeMap::new(),
            names: Vec::new(),
            faults: Faults::default(),
            draws: Draws(seed),
            settings,
        };
        worker.settings.fixed.clone().into_iter().for_each(|entry| worker.put(entry));
        worker
    }

    /// Where a request goes. Counts nothing yet: see [`Worker::start`].
    pub fn route(&mut self, request: Request<'_>, now: Micros) -> Decision {
        let draw = self.draws.next();
        let unset = |name: &str| if request.first(name).is_some() { HeaderEdit::Remove } else { HeaderEdit::Leave };
        let (unset, unmirrored) = (unset(&self.settings.decision_header), unset(&self.settings.mirror_header));
        let authority = request.first(":authority").unwrap_or_default();
        let Some(found) = self.table.find(authority, request.path()) else {
            return Decision { header: unset, mirror: unmirrored, set_cookie: None, counted: None };
        };
        let Candidate { entry, routing, is_stray, issued: lanes_cookie } =
            pick_candidate(&self.table, found, request, draw);
        // Placed by nobody's draw: counted as such, it would look as if the split were wrong.
        let is_failed_safe = is_stray || (routing.split.is_some() && self.is_failed_safe(entry, now.to_millis()));
        let Route { version, placement, issued } = if is_failed_safe {
            Route { version: Version::Primary, placement: Placement::FailSafe, issued: None }
        } else {
            route(routing, request, draw)
        };
        let mirroring = routing
            .split
            .as_ref()
            .filter(|split| version == Version::Primary && !is_failed_safe && split.mirror > WeightPpm::ZERO);
        let mirror = match mirroring.filter(|split| is_mirrored(split, self.draws.next())) {
            Some(split) => HeaderEdit::Set(split.canary.clone()),
            None => unmirrored,
        };
        let upstream = match (version, &routing.split) {
            (Version::Canary, Some(split)) => &split.canary,
            _ => &routing.primary,
        };
        let service = routing.scope.service(&entry.canary);
        let header = if self.is_default(service, upstream) { unset } else { HeaderEdit::Set(upstream.clone()) };
        let set_cookie = issued.or(lanes_cookie).map(|(cookie, id)| cookie.set_cookie(id));
        let limit = routing.split.as_ref().and_then(|split| split.latency_limit).unwrap_or(HUNG);
        let slot = match (version, placement) {
            // No test asks for their slots; told apart they would crowd out those of the failures before a trip.
            (Version::Primary, Placement::FailSafe) => Slot::MERGED,
            _ => routing.split.as_ref().map_or(Slot(0), |split| self.slot_of(&entry.canary, split, now)),
        };
        let (canary, epoch) = (entry.canary.clone(), entry.epoch);
        let stratum = Stratum { canary: self.number(&canary), epoch, version, placement, slot };
        Decision { header, mirror, set_cookie, counted: Some((stratum, limit)) }
    }

    /// The decision was carried out (`applied`) or could not be: counts the request that starts. One whose header could
    /// not be set goes wherever the routes send it, so it belongs to no version.
    pub fn start(&mut self, decision: &Decision, applied: bool, now: Micros) -> Option<InFlight> {
        if !applied {
            self.faults.requests += 1;
            return None;
        }
        let (stratum, limit) = decision.counted?;
        Some(self.begin(stratum, limit, now))
    }

    fn begin(&mut self, stratum: Stratum<u16>, limit: Micros, now: Micros) -> InFlight {
        self.tally.start(stratum);
        let ordinal = self.fuses.start(stratum, self.slow_watch.oldest(stratum.canary));
        let serial = self.slow_watch.start(stratum, ordinal, Micros(now.0.saturating_add(limit.0)));
        InFlight::new(stratum, now, limit, [serial, ordinal])
    }

    /// A request's headers could not be read: it passes untouched and uncounted.
    pub const fn unreadable_request(&mut self) {
        self.faults.requests += 1;
    }

    /// The headers of a stream's answer came: however long it lives, it is not slow any more. Asked for apart, since most
    /// answers need no clock at their headers.
    pub fn stream_answered(&mut self, ticket: &mut InFlight, now: Micros) {
        let was_counted = self.slow_watch.end(ticket.stratum().canary, ticket.serial());
        ticket.stream_answered(now, was_counted);
    }

    /// A request is over; `flags` are Envoy's response flags, `attempts` the router's tries upstream.
    pub fn finish(&mut self, ticket: &InFlight, flags: u64, attempts: Option<u64>, now: Micros) -> Finished {
        let (outcome, latency, is_slow) = ticket.end(flags, attempts, now);
        let was_counted = ticket.counted_before_answer();
        let was_counted = was_counted.unwrap_or_else(|| self.slow_watch.end(ticket.stratum().canary, ticket.serial()));
        self.tally.end(ticket.stratum(), outcome, latency, is_slow && !was_counted);
        self.fuses.ended(ticket, outcome, is_slow, was_counted);
        let Stratum { canary, version, placement, .. } = ticket.stratum();
        Finished { canary, version, is_copy: placement == Placement::Mirrored, outcome, latency }
    }

    /// A request is over and how it ended cannot be known, by the shell's fault: it says nothing about the version.
    pub fn lose(&mut self, ticket: &InFlight, now: Micros) {
        self.faults.requests += 1;
        let was_counted = self.slow_watch.end(ticket.stratum().canary, ticket.serial());
        self.tally.end(ticket.stratum(), Outcome::Void, now, false);
        self.fuses.ended(ticket, Outcome::Void, false, was_counted);
    }

    /// Whether [`Worker::route`] needs the client's address; asking the host for it costs.
    pub const fn needs_client_address(&self) -> bool {
        self.table.needs_client_address()
    }

    /// The heartbeat: opens, reports, gives up.
    pub fn tick(&mut self, now: Millis) -> Vec<WorkerAction> {
        let mut actions = Vec::new();
        for (stratum, ordinal) in self.slow_watch.passed(Micros(now.0.saturating_mul(1000))) {
            self.tally.aged(stratum);
            self.fuses.aged(stratum, ordinal);
        }
        if self.link.is_silent(now)
            || self
                .sender
                .waiting(now)
                .is_some_and(|wait| self.link.is_up() && wait >= crate::worker::connection::SILENCE)
        {
            actions.push(WorkerAction::CloseStream);
            self.stream_lost(now);
        }
        if self.link.open_if_due(now) {
            self.sent_at = now;
            actions.extend([WorkerAction::OpenStream, WorkerAction::Send(ToAgent::Hello(self.hello()))]);
        }
        if self.is_pressing() || (self.link.is_up() && now.since(self.sent_at) >= self.report_every()) {
            actions.extend(self.report(now));
        }
        actions.extend(self.repace());
        actions
    }

    /// Whether something may not wait for the next tick: a fuse has tripped, and the agent can be told.
    pub fn is_pressing(&self) -> bool {
        self.fuses.has_news() && self.link.is_up() && self.sender.is_free()
    }

    /// Says what may not wait.
    pub fn press(&mut self, now: Millis) -> Vec<WorkerAction> {
        if self.is_pressing() { self.report(now).into_iter().collect() } else { Vec::new() }
    }

    /// A message from the agent.
    pub fn message(&mut self, message: ToWorker, now: Millis) -> Vec<WorkerAction> {
        self.heard_at = now;
        self.link.heard(now);
        let mut actions = Vec::new();
        match message {
            ToWorker::Welcome(_) => {
                self.link.welcomed(now);
                actions.extend(self.sender.again(now).map(|report| WorkerAction::Send(ToAgent::Report(report))));
            }
            ToWorker::Ack(number) => {
                self.sender.acked(number);
                actions.extend(self.press(now));
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
        self.link.lost(now, draw);
    }

    /// New settings for a living worker: entries from the agent stay in force.
    pub fn reconfigure(&mut self, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        if old.has_agent != self.settings.has_agent {
            self.link = Link::new(self.settings.has_agent);
        }
        for entry in self.settings.fixed.clone() {
            // The same again must not arm a fuse that has tripped.
            if self.table.get(&entry.canary).is_none_or(|held| held.epoch == Epoch(0) && *held != entry) {
                self.put(entry);
            }
        }
    }

    /// The name behind a canary's number.
    pub fn canary(&self, number: u16) -> Option<&CanaryId> {
        self.names.get(usize::from(number))
    }

    /// What went wrong so far.
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// Whether an agent has welcomed this worker.
    pub const fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// Fuses that are tripped now.
    pub fn tripped(&self) -> impl Iterator<Item = &Trip> {
        self.fuses.tripped()
    }

    /// The canary's share of its service's traffic now in force, per canary; zero once the lease is over, or while its
    /// fuse is tripped.
    pub fn weights(&self, now: Millis) -> impl Iterator<Item = (&CanaryId, Epoch, WeightPpm)> {
        self.table.entries().map(move |entry| {
            let split = entry.routing.as_ref().and_then(|routing| Some((&routing.scope, routing.split.as_ref()?)));
            let split = split.filter(|_| !self.is_failed_safe(entry, now));
            let weight = split.map_or(WeightPpm::ZERO, |(scope, split)| scope.of_all(split.weight));
            (&entry.canary, entry.epoch, weight)
        })
    }

    /// Puts an entry of the configuration in place.
    fn put(&mut self, entry: Entry) {
        let number = self.number(&entry.canary);
        self.fuses.adopt(number, &entry);
        self.table.put(entry);
    }

    /// An entry from the agent. A stale one is confirmed as well: the agent learns what is in force.
    fn adopt(&mut self, entry: Entry, now: Millis) -> Option<WorkerAction> {
        let canary = entry.canary.clone();
        match self.table.adopt(entry) {
            Adoption::Full => {
                self.faults.entries += 1;
                return None;
            }
            Adoption::Stale => {}
            Adoption::Adopted => {
                self.since.insert(canary.clone(), Micros(now.0.saturating_mul(1000)));
                let number = self.number(&canary);
                self.table.get(&canary).into_iter().for_each(|entry| self.fuses.adopt(number, entry));
            }
        }
        let in_force = self.table.get(&canary)?.epoch;
        Some(WorkerAction::Send(ToAgent::Adopted(canary, in_force)))
    }

    fn slot_of(&self, canary: &CanaryId, split: &Split, now: Micros) -> Slot {
        let Some(since) = self.since.get(canary) else { return Slot(0) };
        let passed = now.since(*since).0 / split.slot.0.max(1).saturating_mul(1000);
        Slot(u32::try_from(passed).unwrap_or(u32::MAX).min(Slot::MERGED.0 - 1))
    }

    fn report_every(&self) -> Millis {
        let has_split = |entry: &Entry| entry.routing.as_ref().is_some_and(|routing| routing.split.is_some());
        if self.table.entries().any(|entry| entry.epoch > Epoch(0) && has_split(entry)) {
            REPORT_EVERY
        } else {
            IDLE_EVERY
        }
    }

    /// Ticks fast while a release is on, a fuse must see what hangs, or the agent is sought; slowly when all is quiet.
    fn repace(&mut self) -> Option<WorkerAction> {
        let is_seeking = self.settings.has_agent && !self.link.is_up();
        let pace = if is_seeking || !self.fuses.is_empty() { REPORT_EVERY } else { self.report_every() };
        (pace != self.pace).then(|| {
            self.pace = pace;
            WorkerAction::TickEvery(pace)
        })
    }

    fn is_lease_over(&self, entry: &Entry, now: Millis) -> bool {
        entry.epoch > Epoch(0) && now.since(self.heard_at) > self.settings.lease
    }

    /// Whether the canary gets nothing although its entry may say otherwise.
    fn is_failed_safe(&self, entry: &Entry, now: Millis) -> bool {
        let number = self.numbers.get(&entry.canary);
        self.is_lease_over(entry, now) || number.is_some_and(|number| self.fuses.is_tripped(*number))
    }

    fn is_default(&self, service: &CanaryId, upstream: &Upstream) -> bool {
        match self.settings.default_upstreams.get(service) {
            Some(default) => default == upstream,
            None => upstream.as_str().strip_suffix("-primary") == Some(service.name()),
        }
    }

    fn number(&mut self, canary: &CanaryId) -> u16 {
        if let Some(number) = self.numbers.get(canary) {
            return *number;
        }
        // The table holds at most 1024 canaries at a time and remembers withdrawn ones, so this cannot run out.
        let number = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.numbers.insert(canary.clone(), number);
        self.names.push(canary.clone());
        number
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
