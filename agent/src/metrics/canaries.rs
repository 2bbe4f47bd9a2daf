//! Where each canary stands: weights, phase, checks, workers, guards, requests.

use prometheus_client::registry::Registry;
use rollout::base::time::Millis;
use rollout::controller::Controller;
use rollout::controller::canary::Canary;
use rollout::release::phase::{Awaiting, Hold, Phase};
use rollout::view::status::{self, CanaryStatus};

use super::{Counts, Labels, Real, Whole};

/// Every phase; one that is missing here is shown while it lasts.
const PHASES: [&str; 9] = [
    "Initialized",
    "Waiting",
    "Progressing",
    "Paused",
    "WaitingPromotion",
    "Promoting",
    "Finalising",
    "Succeeded",
    "Failed",
];
/// Every reason why a release does not advance; as `PHASES`.
const REASONS: [&str; 13] = [
    "approval",
    "confirmation",
    "default-upstream",
    "fuse",
    "misrouted",
    "no-latency",
    "no-traffic",
    "primary-fails",
    "stop",
    "suspended",
    "undecided",
    "unsupported",
    "workers-gone",
];

#[derive(Default)]
struct Families {
    weight: Real<2>,
    observed: Real<2>,
    failed_checks: Whole<2>,
    blind_checks: Whole<2>,
    phase: Whole<3>,
    phase_start: Real<2>,
    held: Whole<3>,
    toward_abort: Real<2>,
    toward_step: Real<2>,
    primary_fails: Whole<2>,
    workers: Whole<3>,
    gate_open: Whole<3>,
    requests: Counts<4>,
    p95: Real<3>,
}

pub(super) fn register(registry: &mut Registry, controller: &Controller, now: Millis) {
    let families = Families::default();
    for canary in controller.managed() {
        let status = status::canary(controller, canary, now);
        families.shares(&status);
        families.standing(canary, &status);
        families.workers(&status);
        families.versions(&status);
        for gate in status::stored_gates(canary, now) {
            families.gate_open.get_or_create(&of(&status, "gate", gate.gate)).set(i64::from(gate.open));
        }
    }
    let Families { weight, observed, failed_checks, blind_checks, phase, phase_start, held, .. } = families;
    registry.register("canary_weight_ratio", "Share of traffic meant for the canary, 0 to 1", weight);
    registry.register("canary_observed_ratio", "Share it got under the table in force, 0 to 1", observed);
    registry.register("canary_failed_checks", "Failed checks of the release in progress", failed_checks);
    let blind = "Checks of the release in progress at which a metric server had no value";
    registry.register("canary_blind_checks", blind, blind_checks);
    registry.register("canary_phase", "1 for the phase the canary is in, 0 for the others", phase);
    registry.register("canary_phase_start_time_seconds", "When that phase began, Unix time", phase_start);
    registry.register("canary_held", "1 for the reason why the release does not advance, 0 for the others", held);
    let Families { toward_abort, toward_step, primary_fails, workers, gate_open, requests, p95, .. } = families;
    let abort = "How far the guards' evidence has come toward an abort, 0 to 1";
    registry.register("canary_toward_abort_ratio", abort, toward_abort);
    let step = "How far this step's requests have come toward proving it, 0 to 1; none where checks decide";
    registry.register("canary_toward_step_ratio", step, toward_step);
    let fails = "1 while the primary fails and the canary does not, during a release";
    registry.register("canary_primary_failing", fails, primary_fails);
    let of_canary = "Workers of a canary: live, in sync with its table, lost during the release, with a tripped fuse";
    registry.register("canary_workers", of_canary, workers);
    registry.register("gate_open", "1 while a stored gate is open", gate_open);
    registry.register("requests", "Requests by version and outcome since the agent first saw them", requests);
    registry.register("request_duration_p95_seconds", "95th percentile of latency in this release", p95);
}

impl Families {
    fn shares(&self, status: &CanaryStatus) {
        let of = id(status);
        self.weight.get_or_create(&of).set(status.weight_percent / 100.0);
        // Nothing observed is no sample: 0 would say that the canary got no traffic, or answered at once.
        if let Some(percent) = status.observed_percent {
            self.observed.get_or_create(&of).set(percent / 100.0);
        }
        self.toward_abort.get_or_create(&of).set(status.toward_abort);
        if let Some(progress) = status.toward_step {
            self.toward_step.get_or_create(&of).set(progress);
        }
    }

    fn standing(&self, canary: &Canary, status: &CanaryStatus) {
        self.failed_checks.get_or_create(&id(status)).set(i64::from(status.failed_checks));
        self.primary_fails.get_or_create(&id(status)).set(i64::from(status.primary_fails.is_some()));
        let blind = canary.phase.run().map_or(0, |run| run.blind_checks);
        self.blind_checks.get_or_create(&id(status)).set(i64::from(blind));
        for phase in PHASES {
            self.phase.get_or_create(&of(status, "phase", phase)).set(0);
        }
        self.phase.get_or_create(&of(status, "phase", status.phase.as_str())).set(1);
        let run_began = canary.phase.run().map(|run| run.phase_at);
        if let Some(at) = run_began.or_else(|| canary.phase.ended().map(|ended| ended.at)) {
            self.phase_start.get_or_create(&id(status)).set(at.0 as f64 / 1000.0);
        }
        for reason in REASONS {
            self.held.get_or_create(&of(status, "reason", reason)).set(0);
        }
        if let Some(reason) = reason(canary) {
            self.held.get_or_create(&of(status, "reason", reason)).set(1);
        }
    }

    fn workers(&self, status: &CanaryStatus) {
        let states = [
            ("live", status.workers_live),
            ("in-sync", status.workers_in_sync),
            ("lost", status.workers_lost),
            ("tripped", status.workers_tripped),
        ];
        for (state, count) in states {
            self.workers.get_or_create(&of(status, "state", state)).set(count as i64);
        }
    }

    fn versions(&self, status: &CanaryStatus) {
        for version in &status.totals {
            let counts = [("success", version.succeeded), ("failure", version.failed), ("void", version.void)];
            for (outcome, count) in counts {
                let [namespace, name, version] = of(status, "version", version.version.as_str());
                let labels = [namespace, name, version, ("outcome", outcome.into())];
                self.requests.get_or_create(&labels).inc_by(count);
            }
        }
        for version in &status.versions {
            let Some(p95_ms) = version.p95_ms else { continue };
            self.p95.get_or_create(&of(status, "version", version.version.as_str())).set(p95_ms / 1000.0);
        }
    }
}

fn reason(canary: &Canary) -> Option<&'static str> {
    let phase = &canary.phase;
    if matches!(phase, Phase::Promoting(_) | Phase::Finalising(_)) && canary.keeps_users() {
        return Some("primary-fails");
    }
    if matches!(phase.awaiting(), Some(Awaiting::Confirmation { .. })) {
        return Some("confirmation");
    }
    Some(match phase.hold()? {
        Hold::NoTraffic => "no-traffic",
        Hold::Undecided => "undecided",
        Hold::Unsupported => "unsupported",
        Hold::Approval { .. } => "approval",
        Hold::Stop => "stop",
        Hold::Suspended => "suspended",
        Hold::DefaultUpstream { .. } => "default-upstream",
        Hold::Misrouted { .. } => "misrouted",
        Hold::NoLatency => "no-latency",
        Hold::WorkersGone => "workers-gone",
        Hold::Fuse { .. } => "fuse",
    })
}

fn id(status: &CanaryStatus) -> Labels<2> {
    [("namespace", status.namespace.clone()), ("name", status.name.clone())]
}

fn of(status: &CanaryStatus, label: &'static str, value: impl Into<String>) -> Labels<3> {
    let [namespace, name] = id(status);
    [namespace, name, (label, value.into())]
}
