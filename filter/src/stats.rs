//! What Envoy's own statistics show, for those who scrape Envoy. The agent does not use them.
//!
//! Envoy puts `wasmcustom.` in front of these names:
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `serin.requests;canary=NS/NAME;version=V` | counter | answered requests: successes and failures |
//! | `serin.failures;canary=NS/NAME;version=V;class=C` | counter | failures, by class (5xx, grpc, reset, timeout, unavailable, retried) |
//! | `serin.void;canary=NS/NAME;version=V` | counter | requests that say nothing about the version |
//! | `serin.latency_ms;canary=NS/NAME;version=V` | histogram | milliseconds of the answered ones |
//! | `serin.weight_ppm;canary=NS/NAME` | gauge | the canary's share in force, in parts per million |
//! | `serin.trips;canary=NS/NAME` | counter | how often a worker's fuse tripped |
//! | `serin.tripped;canary=NS/NAME` | gauge | worker VMs of this proxy whose fuse is tripped |
//! | `serin.faults;kind=K` | counter | survived faults: requests, messages, entries, streams, host |
//! | `serin.connected` | gauge | worker VMs of this proxy that an agent has welcomed |
//! | `serin.bad_config` | gauge | 1 while the filter's configuration is refused |
//!
//! V is `primary`, `canary` or, for the copies that a canary got, `mirrored`. No name may hold a `;`, so `stats_tags`
//! extract the labels, for instance `{ tag_name: canary, regex: "(;canary=([^;]+))" }`, and the same for `version`,
//! `class` and `kind`.

use std::collections::BTreeMap;

use proxy_wasm::types::MetricType;
use rollout::base::names::CanaryId;
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::table::{CanaryIndex, WeightPpm};
use rollout::worker::messages::Trip;
use rollout::worker::{Faults, Finished};

use crate::host::{self, HostError};

/// Envoy's numbers for our names, looked up once each.
#[derive(Default)]
pub(crate) struct Stats {
    ids: BTreeMap<Name, u32>,
    weights: BTreeMap<CanaryId, WeightPpm>,
    tripped: BTreeMap<CanaryId, Trip>,
    faults: Faults,
    host_faults: u64,
    host_faults_shown: u64,
    is_connected: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Requests(CanaryIndex, Side),
    Failures(CanaryIndex, Side, FailureClass),
    Void(CanaryIndex, Side),
    Latency(CanaryIndex, Side),
    Weight(CanaryId),
    Trips(CanaryId),
    Tripped(CanaryId),
    Faults(&'static str),
    Connected,
    BadConfig,
}

/// A version's name, or `mirrored`.
type Side = &'static str;

impl Name {
    const fn kind(&self) -> MetricType {
        match self {
            Self::Requests(..) | Self::Failures(..) | Self::Void(..) | Self::Trips(_) | Self::Faults(_) => {
                MetricType::Counter
            }
            Self::Latency(..) => MetricType::Histogram,
            Self::Weight(_) | Self::Tripped(_) | Self::Connected | Self::BadConfig => MetricType::Gauge,
        }
    }

    /// `canary` is the one whose number the name holds.
    fn text(&self, canary: Option<&CanaryId>) -> String {
        let of = |what: &str, side: &Side| {
            let canary = canary.map_or("unknown", CanaryId::as_str);
            format!("serin.{what};canary={canary};version={side}")
        };
        match self {
            Self::Requests(_, version) => of("requests", version),
            Self::Failures(_, version, class) => {
                format!("{};class={}", of("failures", version), class.name())
            }
            Self::Void(_, version) => of("void", version),
            Self::Latency(_, version) => of("latency_ms", version),
            Self::Weight(canary) => format!("serin.weight_ppm;canary={canary}"),
            Self::Trips(canary) => format!("serin.trips;canary={canary}"),
            Self::Tripped(canary) => format!("serin.tripped;canary={canary}"),
            Self::Faults(kind) => format!("serin.faults;kind={kind}"),
            Self::Connected => "serin.connected".into(),
            Self::BadConfig => "serin.bad_config".into(),
        }
    }
}

impl Stats {
    /// One request has ended. `canary` is the name behind its number.
    pub(crate) fn finished(&mut self, finished: &Finished, canary: Option<&CanaryId>) {
        let number = finished.canary;
        let version = if finished.is_copy { "mirrored" } else { finished.version.name() };
        match finished.outcome {
            Outcome::Void | Outcome::Abandoned => return self.count(Name::Void(number, version), canary, 1),
            Outcome::Failure(class) => {
                self.count(Name::Failures(number, version, class), canary, 1);
            }
            Outcome::Success => {}
        }
        self.count(Name::Requests(number, version), canary, 1);
        if let Some(latency) = finished.latency {
            self.record(Name::Latency(number, version), canary, latency.to_millis().0);
        }
    }

    /// The shares in force; only those that changed are written.
    pub(crate) fn weights<'a>(&mut self, weights: impl Iterator<Item = (&'a CanaryId, WeightPpm)>) {
        for (canary, weight) in weights {
            if self.weights.get(canary) != Some(&weight) {
                self.weights.insert(canary.clone(), weight);
                let ppm = u64::from(weight.ppm());
                self.record(Name::Weight(canary.clone()), None, ppm);
            }
        }
    }

    /// All fuses that are tripped now; returns those that were not before. Counted up and down, because all workers of the
    /// proxy share the gauge.
    pub(crate) fn tripped<'a>(&mut self, tripped: impl Iterator<Item = &'a Trip>) -> Vec<Trip> {
        let now: BTreeMap<CanaryId, Trip> = tripped.map(|trip| (trip.canary.clone(), trip.clone())).collect();
        if now == self.tripped {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.tripped, now.clone());
        for canary in before.keys().filter(|canary| !now.contains_key(*canary)) {
            self.add(Name::Tripped(canary.clone()), -1);
        }
        for canary in now.keys().filter(|canary| !before.contains_key(*canary)) {
            self.add(Name::Tripped(canary.clone()), 1);
        }
        let new: Vec<Trip> = now.into_values().filter(|trip| before.get(&trip.canary) != Some(trip)).collect();
        new.iter().for_each(|trip| self.count(Name::Trips(trip.canary.clone()), None, 1));
        new
    }

    /// All faults so far; what is new of them is added.
    pub(crate) fn faults(&mut self, faults: Faults) {
        let old = std::mem::replace(&mut self.faults, faults);
        let host_faults = self.host_faults;
        let old_host = std::mem::replace(&mut self.host_faults_shown, host_faults);
        for (kind, now, before) in [
            ("requests", faults.requests, old.requests),
            ("messages", faults.messages, old.messages),
            ("entries", faults.entries, old.entries),
            ("streams", faults.streams, old.streams),
            ("host", host_faults, old_host),
        ] {
            if now > before {
                self.count(Name::Faults(kind), None, now - before);
            }
        }
    }

    /// Whether an agent has welcomed this worker; returns whether that is news. Counted up and down, because all
    /// workers of the proxy share the gauge.
    pub(crate) fn connected(&mut self, is_connected: bool) -> bool {
        if self.is_connected == is_connected {
            return false;
        }
        self.is_connected = is_connected;
        self.add(Name::Connected, if is_connected { 1 } else { -1 });
        true
    }

    /// Whether the configuration was refused.
    pub(crate) fn bad_config(&mut self, is_bad: bool) {
        self.record(Name::BadConfig, None, u64::from(is_bad));
    }

    /// The host refused something that we can do without.
    pub(crate) const fn host_fault(&mut self) {
        self.host_faults = self.host_faults.saturating_add(1);
    }

    fn add(&mut self, name: Name, offset: i64) {
        if let Some(id) = self.id(name, None) {
            self.note(host::add_metric(id, offset));
        }
    }

    fn count(&mut self, name: Name, canary: Option<&CanaryId>, more: u64) {
        if let Some(id) = self.id(name, canary) {
            self.note(host::add_metric(id, i64::try_from(more).unwrap_or(i64::MAX)));
        }
    }

    fn record(&mut self, name: Name, canary: Option<&CanaryId>, value: u64) {
        if let Some(id) = self.id(name, canary) {
            self.note(host::record_metric(id, value));
        }
    }

    fn id(&mut self, name: Name, canary: Option<&CanaryId>) -> Option<u32> {
        if let Some(id) = self.ids.get(&name) {
            return Some(*id);
        }
        match host::define_metric(name.kind(), &name.text(canary)) {
            Ok(id) => {
                self.ids.insert(name, id);
                Some(id)
            }
            Err(_) => {
                self.host_fault();
                None
            }
        }
    }

    fn note(&mut self, result: Result<(), HostError>) {
        if result.is_err() {
            self.host_fault();
        }
    }
}
