//! Flagger's names, for dashboards and rules that know them: only where the meaning is the same. `docs/observability.md`
//! says what differs and what is left out.

use prometheus_client::registry::Registry;
use rollout::base::time::Millis;
use rollout::controller::Controller;
use rollout::controller::canary::Canary;
use rollout::release::phase::Phase;
use rollout::release::plan::Metric;
use rollout::release::threshold_checks::check;

use super::{Real, Sources, Whole};

#[derive(Default)]
struct Families {
    total: Whole<1>,
    status: Whole<2>,
    weight: Real<2>,
    analysis: Real<3>,
}

pub(super) fn register(registry: &mut Registry, controller: &Controller, sources: &Sources, now: Millis) {
    let families = Families::default();
    for canary in controller.managed() {
        families.add(canary, sources, now);
    }
    let flaggers = registry.sub_registry_with_prefix("flagger");
    let info = Whole::default();
    info.get_or_create(&[("version", env!("CARGO_PKG_VERSION").into()), ("mesh_provider", "serin".into())]).set(1);
    flaggers.register("info", "Version and mesh provider of what runs in Flagger's place", info);
    let Families { total, status, weight, analysis } = families;
    flaggers.register("canary_total", "Canaries by namespace", total);
    flaggers.register("canary_status", "Last canary analysis: 0 running, 1 successful, 2 failed", status);
    flaggers.register("canary_weight", "Share of traffic in percent, of the canary and of its primary", weight);
    flaggers.register("canary_metric_analysis", "What the last analysis measured, by metric", analysis);
    flaggers.register("canary_successes", "Promoted releases", sources.events.flagger_successes.clone());
    flaggers.register("canary_failures", "Failed releases", sources.events.flagger_failures.clone());
}

impl Families {
    fn add(&self, canary: &Canary, sources: &Sources, now: Millis) {
        let (name, namespace) = (canary.plan.id.name(), canary.plan.id.namespace());
        let of = |label, value: &str| [(label, value.to_owned()), ("namespace", namespace.to_owned())];
        self.total.get_or_create(&[("namespace", namespace.into())]).inc();
        self.status.get_or_create(&of("name", name)).set(code(&canary.phase));
        let percent = canary.weight().percent();
        self.weight.get_or_create(&of("workload", name)).set(percent);
        self.weight.get_or_create(&of("workload", &format!("{name}-primary"))).set(100.0 - percent);
        for (metric, value) in measured(canary, now).into_iter().chain(sources.calls.last_values(canary)) {
            let [name, namespace] = of("name", name);
            self.analysis.get_or_create(&[name, namespace, ("metric", metric)]).set(value);
        }
    }
}

/// Flagger has no Paused: a release that a person stopped is one that runs.
const fn code(phase: &Phase) -> i64 {
    match phase {
        Phase::Progressing(_) | Phase::Paused(_) => 0,
        Phase::Failed(..) => 2,
        _ => 1,
    }
}

/// The checks in the proxy, over their windows up to now: success rates in percent, latencies in seconds.
fn measured(canary: &Canary, now: Millis) -> Vec<(String, f64)> {
    if canary.phase.judged().is_none() {
        return Vec::new();
    }
    let findings = check(&canary.plan, &canary.evidence, now).findings.into_iter();
    let value = |metric, value: f64| match metric {
        Metric::SuccessRate => value,
        Metric::Duration { .. } => value / 1000.0,
    };
    findings.filter_map(|finding| Some((finding.check, value(finding.metric, finding.value?)))).collect()
}
