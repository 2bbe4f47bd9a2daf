//! /metrics: what the agent knows, in OpenMetrics text. What has a state is computed anew for each scrape from the
//! controller; only what happens and passes (events, calls, queries) is counted.
//!
//! Labels come from configuration only (names of canaries, gates, hooks, metrics, and words of this program), never from
//! requests, answers or revisions.

/// The state of canaries.
mod canaries;

/// Counts of what was announced.
mod events;

/// The same under Flagger's names.
mod flagger;

/// Counts of calls and queries.
mod integrations;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rollout::base::time::Millis;
use rollout::controller::Controller;

use crate::alerts::Alerts;
use crate::counters::StreamCounters;
pub(crate) use events::{EventCounts, started_releases};
pub(crate) use integrations::Calls;

/// Labels in this order: names and values.
type Labels<const N: usize> = [(&'static str, String); N];
/// Whole numbers by labels.
type Whole<const N: usize> = Family<Labels<N>, Gauge>;
/// Fractions by labels.
type Real<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;
/// Counts by labels.
type Counts<const N: usize> = Family<Labels<N>, Counter>;
/// Times by labels.
type Times<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// What a page is made of besides the controller.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// Of the streams.
    pub(crate) streams: Arc<StreamCounters>,
    /// Of the receivers.
    pub(crate) alerts: Alerts,
    /// Of hooks and metric servers.
    pub(crate) calls: Calls,
    /// Of what was announced.
    pub(crate) events: EventCounts,
    /// Whether Flagger's names stand beside our own.
    pub(crate) flagger: bool,
}

/// What only the moment of the scrape knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Now.
    pub(crate) now: Millis,
    /// Whether the journal refuses.
    pub(crate) is_journal_failing: bool,
    /// Problems of the manifests.
    pub(crate) manifest_problems: usize,
}

/// The whole page.
pub(crate) fn render(controller: &Controller, sources: &Sources, moment: Moment) -> String {
    let mut registry = Registry::default();
    let own = registry.sub_registry_with_prefix("serin");
    canaries::register(own, controller, moment.now);
    fleet(own, controller, &sources.streams);
    sources.calls.register(own, controller);
    sources.events.register(own, controller);
    sources.alerts.register(own);
    let journal = ConstGauge::new(u64::from(!moment.is_journal_failing));
    own.register("journal_writable", "1 while events can be stored; at 0 the agent only reduces", journal);
    let problems = ConstGauge::new(moment.manifest_problems as u64);
    own.register("manifest_problems", "Problems in the manifests as last read", problems);
    let build = Whole::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").into())]).set(1);
    own.register("build_info", "1, with the agent's version", build);
    if sources.flagger {
        flagger::register(&mut registry, controller, sources, moment.now);
    }
    let mut page = String::new();
    // Writing into a String cannot fail.
    let _ = encode(&mut page, &registry);
    page
}

fn fleet(registry: &mut Registry, controller: &Controller, streams: &StreamCounters) {
    let open = ConstGauge::new(streams.open() as u64);
    registry.register("agent_streams", "Streams of workers open now", open);
    let refused = ConstCounter::new(streams.refused());
    registry.register("agent_refused_streams", "Streams refused: token, protocol, no Hello, too many", refused);
    let malformed = ConstCounter::new(streams.malformed());
    registry.register("agent_malformed_messages", "Messages of workers that broke a rule", malformed);
    let missing: u64 = controller.fleet().workers().map(|(_, peer)| peer.received.missing()).sum();
    registry.register("agent_missing_reports", "Reports known to be missing", ConstGauge::new(missing));
}
