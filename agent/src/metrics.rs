//! /metrics: what the agent knows, in OpenMetrics text, computed anew for each scrape from the controller.
//!
//! Labels come from configuration only (namespace, name, version), never from requests.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use rollout::controller::Controller;
use rollout::status::{self, CanaryStatus};
use rollout::time::Millis;

use crate::fleet::Counters;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVersion {
    namespace: String,
    name: String,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    namespace: String,
    name: String,
    version: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    namespace: String,
    name: String,
    phase: String,
}

type Real = Gauge<f64, AtomicU64>;

/// The whole page.
pub(crate) fn render(
    controller: &Controller,
    now: Millis,
    counters: &Counters,
    journal_failing: bool,
    manifest_problems: usize,
) -> String {
    let mut registry = Registry::with_prefix("serin");
    canaries(&mut registry, controller, now);
    fleet(&mut registry, controller, counters);
    let journal = ConstGauge::new(u64::from(!journal_failing));
    registry.register("journal_writable", "1 while events can be stored; at 0 the agent only reduces", journal);
    let problems = ConstGauge::new(manifest_problems as u64);
    registry.register("manifest_problems", "Problems in the manifests as last read", problems);
    let mut page = String::new();
    // Writing into a String cannot fail.
    let _ = encode(&mut page, &registry);
    page
}

fn canaries(registry: &mut Registry, controller: &Controller, now: Millis) {
    let weight = Family::<Of, Real>::default();
    let observed = Family::<Of, Real>::default();
    let failed_checks = Family::<Of, Gauge>::default();
    let in_phase = Family::<OfPhase, Gauge>::default();
    let requests = Family::<OfOutcome, Counter>::default();
    let p95 = Family::<OfVersion, Real>::default();
    for canary in controller.canaries() {
        let status = status::canary(controller, canary, now);
        let of = Of { namespace: status.namespace.clone(), name: status.name.clone() };
        weight.get_or_create(&of).set(status.weight_percent / 100.0);
        // Nothing observed is no sample: 0 would say that the canary got no traffic, or answered at once.
        if let Some(percent) = status.observed_percent {
            observed.get_or_create(&of).set(percent / 100.0);
        }
        failed_checks.get_or_create(&of).set(i64::from(status.failed_checks));
        let Of { namespace, name } = of;
        in_phase.get_or_create(&OfPhase { namespace, name, phase: status.phase.clone() }).set(1);
        count_versions(&status, &requests, &p95);
    }
    registry.register("canary_weight_ratio", "Share of traffic meant for the canary, 0 to 1", weight);
    registry.register("canary_observed_ratio", "Share it got under the table in force, 0 to 1", observed);
    registry.register("canary_failed_checks", "Failed checks of the release in progress", failed_checks);
    registry.register("canary_phase", "1 for the phase the canary is in", in_phase);
    registry.register("requests", "Requests by version and outcome since the agent first saw them", requests);
    registry.register("request_duration_p95_seconds", "95th percentile of latency in this release", p95);
}

fn count_versions(status: &CanaryStatus, requests: &Family<OfOutcome, Counter>, p95: &Family<OfVersion, Real>) {
    for version in &status.totals {
        let counts = [("success", version.succeeded), ("failure", version.failed), ("void", version.void)];
        for (outcome, count) in counts {
            let labels = OfOutcome {
                namespace: status.namespace.clone(),
                name: status.name.clone(),
                version: version.version.clone(),
                outcome: outcome.into(),
            };
            requests.get_or_create(&labels).inc_by(count);
        }
    }
    for version in &status.versions {
        let Some(p95_ms) = version.p95_ms else { continue };
        let labels = OfVersion {
            namespace: status.namespace.clone(),
            name: status.name.clone(),
            version: version.version.clone(),
        };
        p95.get_or_create(&labels).set(p95_ms / 1000.0);
    }
}

fn fleet(registry: &mut Registry, controller: &Controller, counters: &Counters) {
    let streams = ConstGauge::new(counters.streams.load(Ordering::Relaxed) as u64);
    registry.register("agent_streams", "Streams of workers open now", streams);
    let refused = ConstCounter::new(counters.refused.load(Ordering::Relaxed));
    registry.register("agent_refused_streams", "Streams refused: token, protocol, no Hello, too many", refused);
    let malformed = ConstCounter::new(counters.malformed.load(Ordering::Relaxed));
    registry.register("agent_malformed_messages", "Messages of workers that broke a rule", malformed);
    let missing: u64 = controller.fleet().workers().map(|(_, peer)| peer.received.missing()).sum();
    registry.register("agent_missing_reports", "Reports known to be missing", ConstGauge::new(missing));
}
