//! Counts of calls and queries: hooks by their answer, metric servers by whether they had a value.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rollout::base::names::CanaryId;
use rollout::controller::Controller;
use rollout::controller::canary::Canary;
use rollout::release::integrations::{HookTarget, MetricError};
use rollout::release::plan::Promotion;

use super::{Counts, Real, Times};
use crate::providers;

/// Seconds; a hook may wait for a deployment.
const HOOK_BUCKETS: [f64; 11] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];
/// Seconds; no query takes longer than the last.
const QUERY_BUCKETS: [f64; 8] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counters of calls and queries. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    hooks: Counts<4>,
    hook_seconds: Times<3>,
    queries: Counts<5>,
    query_seconds: Times<1>,
    /// The last answers, by canary and metric; none where the server was blind.
    values: Arc<Mutex<BTreeMap<(CanaryId, String), f64>>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            hooks: Counts::default(),
            hook_seconds: Times::new_with_constructor(|| Histogram::new(HOOK_BUCKETS)),
            queries: Counts::default(),
            query_seconds: Times::new_with_constructor(|| Histogram::new(QUERY_BUCKETS)),
            values: Arc::default(),
        }
    }
}

impl Calls {
    /// A hook was called, with all its attempts.
    pub(crate) fn hook(&self, canary: &CanaryId, hook: &str, has_agreed: bool, took: Duration) {
        let [namespace, name] = id(canary);
        let outcome = ("outcome", if has_agreed { "agreed" } else { "refused" }.into());
        let hook = ("hook", hook.to_owned());
        self.hooks.get_or_create(&[namespace.clone(), name.clone(), hook.clone(), outcome]).inc();
        self.hook_seconds.get_or_create(&[namespace, name, hook]).observe(took.as_secs_f64());
    }

    /// A metric server was asked.
    pub(crate) fn query(
        &self,
        canary: &CanaryId,
        metric: &str,
        provider: &str,
        reply: &Result<f64, MetricError>,
        took: Duration,
    ) {
        let outcome = match reply {
            Ok(_) => "value",
            Err(MetricError::NoValue) => "none",
            Err(MetricError::Failed(_)) => "failed",
        };
        let ([namespace, name], provider) = (id(canary), ("provider", provider.to_owned()));
        let labels = [namespace, name, ("metric", metric.into()), provider.clone(), ("outcome", outcome.into())];
        self.queries.get_or_create(&labels).inc();
        self.query_seconds.get_or_create(&[provider]).observe(took.as_secs_f64());
        let key = (canary.clone(), metric.to_owned());
        match reply {
            Ok(value) => drop(self.values().insert(key, *value)),
            Err(_) => drop(self.values().remove(&key)),
        }
    }

    /// What the servers last answered about a canary, by the names of its metrics.
    pub(super) fn last_values(&self, canary: &Canary) -> Vec<(String, f64)> {
        let values = self.values();
        let value = |name: &str| values.get(&(canary.plan.id.clone(), name.to_owned())).copied();
        let metrics = canary.plan.outside.metrics.iter();
        metrics.filter_map(|metric| Some((metric.name.clone(), value(&metric.name)?))).collect()
    }

    /// Counters begin at 0, so that increase() sees the first.
    fn begin(&self, canary: &Canary) {
        let of = |label, value: &str| {
            let [namespace, name] = id(&canary.plan.id);
            [namespace, name, (label, value.to_owned())]
        };
        let promotion = match &canary.plan.promotion {
            Promotion::Copy { hook } => hook.as_ref(),
            Promotion::Swap => None,
        };
        let hooks = canary.plan.outside.hooks.iter().chain(promotion);
        for hook in hooks.filter(|hook| matches!(hook.target, HookTarget::Call(_))) {
            for outcome in ["agreed", "refused"] {
                let [namespace, name, hook] = of("hook", &hook.name);
                drop(self.hooks.get_or_create(&[namespace, name, hook, ("outcome", outcome.into())]));
            }
        }
        for metric in &canary.plan.outside.metrics {
            let provider = ("provider", providers::name(metric.provider.kind).to_owned());
            for outcome in ["value", "none", "failed"] {
                let [namespace, name, metric] = of("metric", &metric.name);
                let labels = [namespace, name, metric, provider.clone(), ("outcome", outcome.into())];
                drop(self.queries.get_or_create(&labels));
            }
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, controller: &Controller) {
        controller.canaries().for_each(|canary| self.begin(canary));
        let help = "Calls of hooks, all attempts of one together, by whether the hook agreed";
        registry.register("hook_calls", help, self.hooks.clone());
        let help = "How long calls of hooks took, with waits and repetitions";
        registry.register("hook_call_duration_seconds", help, self.hook_seconds.clone());
        let help = "Queries of metric servers: a value, none, or failed; the last two are blind";
        registry.register("provider_queries", help, self.queries.clone());
        registry.register(
            "provider_query_duration_seconds",
            "How long queries of metric servers took",
            self.query_seconds.clone(),
        );
        let values = Real::<3>::default();
        for canary in controller.canaries() {
            for (metric, value) in self.last_values(canary) {
                let [namespace, name] = id(&canary.plan.id);
                values.get_or_create(&[namespace, name, ("metric", metric)]).set(value);
            }
        }
        let help = "What the metric server last answered, in the metric's own unit; no sample while it is blind";
        registry.register("provider_value", help, values);
    }

    fn values(&self) -> MutexGuard<'_, BTreeMap<(CanaryId, String), f64>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(canary: &CanaryId) -> [(&'static str, String); 2] {
    [("namespace", canary.namespace().into()), ("name", canary.name().into())]
}
