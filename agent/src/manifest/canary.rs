//! A Canary document, of either kind, becomes a plan.

use proto::wire::check_routing;
use rollout::names::{CanaryId, Upstream};
use rollout::plan::{Flavour, Plan, PlanError, Spec};
use rollout::rearm::fuse_plan;
use rollout::table::{Routing, Scope, Split, StickyKey, WeightPpm};

use super::analysis::{self, Analysis};
use super::choices::{self, Choices};
use super::reader::{Item, Log, Map};
use super::service::{self, Service};

/// What the document's head says.
pub(super) struct Head<'a> {
    /// Which kind of Canary.
    pub(super) flavour: Flavour,
    /// `metadata.namespace` and `metadata.name`, if they can be a canary's.
    pub(super) id: Option<CanaryId>,
    /// `metadata.annotations`.
    pub(super) annotations: Vec<(String, Item<'a>)>,
}

/// Fields that only concern what runs in a cluster beside the proxies: group and reason.
const NOT_OURS: &[(&[&str], &str)] = &[
    (&["provider"], "chooses whose routes Flagger rewrites; Serin rewrites none, the proxy decides for each request"),
    (&["metricsServer"], "is where Flagger reads its built-in metrics; Serin counts in the proxy and asks nobody"),
    (&["autoscalerRef"], "is not acted on: a standalone agent scales nothing"),
    (&["ingressRef", "routeRef", "upstreamRef"], "is not acted on: no object of an ingress or gateway is rewritten"),
    (&["progressDeadlineSeconds"], "is not acted on: a standalone agent sees no pods; a release without traffic holds"),
];

/// Advice for fields that stand in the wrong kind or under an old name.
const ADVICE: &[(&str, &str)] = &[
    ("canaryAnalysis", "was renamed by Flagger; write spec.analysis"),
    (
        "upstreams",
        "is a field of serin.dev/v1alpha1; here use the annotations serin.dev/upstream-primary and serin.dev/upstream-canary",
    ),
    (
        "promotion",
        "is a field of serin.dev/v1alpha1; here use the annotations serin.dev/promotion and serin.dev/promotion-hook",
    ),
    ("sticky", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/sticky"),
    ("gates", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/gates"),
];

const OWN_ADVICE: &[(&str, &str)] = &[("gates", "stands in analysis: write spec.analysis.gates")];

/// Reads `spec`. `None` when a problem was logged.
pub(super) fn plan(spec: &Item<'_>, head: &Head<'_>, log: &mut Log) -> Option<Plan> {
    let mut spec = spec.map(log)?;
    let target = target(&mut spec, head.flavour, log);
    let service = service::read(&mut spec, head.flavour, log);
    let choices = match head.flavour {
        Flavour::Flagger => choices::from_annotations(&head.annotations, log),
        Flavour::Serin => choices::from_spec(&mut spec, &head.annotations, log),
    };
    switches(&mut spec, log);
    let analysis = match spec.need("analysis", log) {
        Some(item) => analysis::read(&item, head.flavour, &choices, log),
        None => None,
    };
    spec.warn_groups(NOT_OURS, log);
    let advice = if head.flavour == Flavour::Flagger { ADVICE } else { OWN_ADVICE };
    spec.finish(log, advice);
    meant(head, target, service?, choices, analysis?, log)
}

/// Puts the parts together and applies the plan's own rules, in the document's terms.
fn meant(
    head: &Head<'_>,
    target: Option<String>,
    service: Service,
    choices: Choices,
    analysis: Analysis,
    log: &mut Log,
) -> Option<Plan> {
    let id = head.id.clone()?;
    let name = service.name.or(target).unwrap_or_else(|| id.name().to_owned());
    let scope = scope(&id, &name, service.hosts, service.path_prefix, log)?;
    let upstream = |role: &str| Upstream::parse(&format!("{name}-{role}")).ok();
    let spec = Spec {
        flavour: head.flavour,
        scope,
        primary: choices.primary.or_else(|| upstream("primary"))?,
        canary: choices.canary.or_else(|| upstream("canary"))?,
        rules: analysis.rules,
        gates: analysis.gates,
        advance: analysis.advance,
        sticky: choices.sticky.map(lower_header),
        strategy: analysis.strategy,
        interval: analysis.interval,
        threshold: analysis.threshold,
        checks: analysis.checks,
        promotion: choices.promotion,
        unsupported: log.unsupported.clone(),
        id,
    };
    let refused = match Plan::new(spec) {
        Ok(plan) => {
            if let Err(error) = carried(&plan) {
                log.plan_error(error);
            }
            return log.problems.is_empty().then_some(plan);
        }
        Err(refused) => refused,
    };
    for error in refused {
        log.plan_error(in_manifest(error, &analysis.check_at));
    }
    None
}

/// Whether workers will take what follows from the plan: the wire has limits of its own, and nobody should learn of
/// them in the middle of a release.
fn carried(plan: &Plan) -> Result<(), PlanError> {
    let split = Split {
        canary: plan.canary.clone(),
        weight: WeightPpm::ZERO,
        rules: plan.rules.clone(),
        sticky: plan.sticky.clone(),
        salt: plan.id.to_string(),
        slot: plan.interval,
        latency_limit: plan.gates.latency_limit(),
        fuse: fuse_plan(&plan.gates, 1),
    };
    let routing = Routing { scope: plan.scope.clone(), primary: plan.primary.clone(), split: Some(split) };
    check_routing(&plan.id, &routing).map_err(|error| {
        // The wire's names for the fields that a plan does not bound itself.
        let field = if error.field.contains("hosts") { "spec.service.hosts" } else { "spec.analysis.match" };
        PlanError { field: field.into(), value: error.value, rule: format!("{} ({})", error.rule, error.field) }
    })
}

fn scope(id: &CanaryId, name: &str, hosts: Vec<String>, path_prefix: String, log: &mut Log) -> Option<Scope> {
    let service = match CanaryId::new(id.namespace(), name) {
        Ok(service) => service,
        Err(error) => {
            let rule = error.to_string();
            log.plan_error(PlanError { field: "spec.service.name".into(), value: format!("{name:?}"), rule });
            return None;
        }
    };
    let mut scope = Scope { path_prefix, ..Scope::of_service(&service) };
    for host in hosts {
        if !scope.hosts.contains(&host) {
            scope.hosts.push(host);
        }
    }
    Some(scope)
}

/// Metrics that cannot be measured are not in the plan, so its n-th check may be a later one of the document.
fn in_manifest(mut error: PlanError, check_at: &[usize]) -> PlanError {
    const METRICS: &str = "spec.analysis.metrics[";
    if let Some(rest) = error.field.strip_prefix(METRICS)
        && let Some((n, tail)) = rest.split_once(']')
        && let Some(at) = n.parse().ok().and_then(|n: usize| check_at.get(n))
    {
        error.field = format!("{METRICS}{at}]{tail}");
    }
    error
}

fn lower_header(key: StickyKey) -> StickyKey {
    match key {
        StickyKey::Header(name) => StickyKey::Header(name.to_ascii_lowercase()),
        other => other,
    }
}

/// `targetRef`: its name is the default of the service's name; the rest is Kubernetes' business.
fn target(spec: &mut Map<'_>, flavour: Flavour, log: &mut Log) -> Option<String> {
    let item = match flavour {
        Flavour::Flagger => spec.need("targetRef", log),
        Flavour::Serin => spec.take("targetRef", log),
    }?;
    let mut fields = item.map(log)?;
    if let Some(api) = fields.take("apiVersion", log) {
        api.text(log);
    }
    let kind = fields.need("kind", log).and_then(|kind| kind.one_of(log, &["Deployment", "DaemonSet", "Service"]));
    let name = fields.need("name", log).and_then(|name| name.text(log));
    fields.finish(log, &[]);
    let kind = kind.unwrap_or("workload");
    item.warn(
        log,
        format!("is not acted on: a standalone agent starts, copies and scales no {kind}; run both versions yourself"),
    );
    name
}

/// The switches that change what a release may do at all.
fn switches(spec: &mut Map<'_>, log: &mut Log) {
    let mut on = |key, log: &mut Log| spec.take(key, log).filter(|item| item.boolean(log) == Some(true));
    if let Some(item) = on("suspend", log) {
        item.hold(log, "asks that nothing be done; this build cannot suspend a canary, so its releases do not begin");
    }
    if let Some(item) = on("skipAnalysis", log) {
        item.hold(log, "asks for promotion without any check, which this build does not do");
    }
    if let Some(item) = on("revertOnDeletion", log) {
        item.warn(log, "is not acted on: a standalone agent changed nothing in the cluster that could be reverted");
    }
}
