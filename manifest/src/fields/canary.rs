//! A Canary document, of either kind, becomes a plan.

use proto::wire::check_routing;
use rollout::base::names::{CanaryId, Upstream};
use rollout::controller::rearm::fuse_plan;
use rollout::release::plan::{Course, ExternalMetric, Flavour, Plan, PlanError, Spec};
use rollout::routing::table::{Routing, Scope, Split, StickyKey, WeightPpm};

use crate::fields::analysis::section::{self, Analysis};
use crate::fields::context::Around;
use crate::fields::named::catalogue::Catalogue;
use crate::fields::serin_fields::{self, Choices};
use crate::fields::traffic::service::{self, Service};
use crate::fields::traffic::versions::{self, Versions};
use crate::fields::unsupported_fields;
use crate::fields::values::url;
use crate::fields::webhooks::named;
use crate::reader::shape::{Shape, check, warn_groups};
use crate::reader::{Item, Log, Map};

/// What the document's head says.
pub(crate) struct Head<'a> {
    /// Which kind of Canary.
    pub(crate) flavour: Flavour,
    /// `metadata.namespace` and `metadata.name`, if they can be a canary's.
    pub(crate) id: Option<CanaryId>,
    /// `metadata.annotations`.
    pub(crate) annotations: Vec<(String, Item<'a>)>,
}

/// Advice for fields of the wrong kind or under an old name.
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
    ("versions", "is a field of serin.dev/v1alpha1; Flagger has one canary at a time"),
    ("winner", "is a field of serin.dev/v1alpha1; Flagger has one canary at a time"),
    ("guards", "is a field of serin.dev/v1alpha1; here use the annotation serin.dev/guards"),
    ("gates", "is an earlier name of guards; here use the annotation serin.dev/guards"),
];

const OWN_ADVICE: &[(&str, &str)] = &[
    ("guards", "belongs in analysis: write spec.analysis.guards"),
    ("gates", "is an earlier name of guards; write spec.analysis.guards"),
];

/// Reads `spec`: one plan, or one for each version. `None` when a problem was logged.
pub(crate) fn plans(spec: &Item<'_>, head: &Head<'_>, catalogue: &Catalogue, log: &mut Log) -> Option<Vec<Plan>> {
    let mut spec = spec.map(log)?;
    let target = target(&mut spec, head.flavour, log);
    let provider = provider(&mut spec, log);
    let service = service::read(&mut spec, head.flavour, provider, log);
    let (namespace, name) = head.id.as_ref().map_or(("default", ""), |id| (id.namespace(), id.name()));
    let choices = match head.flavour {
        Flavour::Flagger => serin_fields::from_annotations(&head.annotations, log),
        Flavour::Serin => serin_fields::from_spec(&mut spec, &head.annotations, namespace, log),
    };
    let versions = match head.flavour {
        Flavour::Flagger => None,
        Flavour::Serin => versions::read(&mut spec, log),
    };
    let has_versions = versions.is_some();
    if let Some(item) = choices.canary_at.as_ref().filter(|_| has_versions) {
        versions::refuse_shared(item, log);
    }
    let switches = switches(&mut spec, log);
    let named = service.as_ref().and_then(|service| service.name.clone()).or_else(|| target.clone());
    let named = named.unwrap_or_else(|| name.to_owned());
    let metrics_server = spec.take("metricsServer", log);
    let around = Around {
        flavour: head.flavour,
        choices: &choices,
        catalogue,
        provider,
        name: name.to_owned(),
        version: "canary".into(),
        has_versions,
        namespace: namespace.to_owned(),
        target: target.unwrap_or_else(|| named.clone()),
        ingress: reference(&mut spec, "ingressRef", unsupported_fields::INGRESS, log),
        route: reference(&mut spec, "routeRef", unsupported_fields::ROUTE, log),
        metrics_server: metrics_server.as_ref().and_then(|item| url(item, log)),
        service: named,
    };
    let analysis_item = spec.need("analysis", log);
    let analysis = analysis_item.as_ref().and_then(|item| section::read(item, &around, log));
    let versions = versions.map(|versions| {
        versions.with_metrics(|version| {
            analysis_item.as_ref().map(|item| metrics_of(version, item, &around)).unwrap_or_default()
        })
    });
    if let Some(item) = metrics_server {
        unused_server(&item, analysis.as_ref(), log);
    }
    warn_groups(&mut spec, unsupported_fields::SPEC, log);
    let advice = if head.flavour == Flavour::Flagger { ADVICE } else { OWN_ADVICE };
    spec.finish(log, advice);
    let name = around.service;
    let mut analysis = analysis?;
    analysis.course = switches.of(analysis.course);
    let common = meant(head, &name, service?, choices, &mut analysis, log)?;
    let specs = specs(common, versions, &name, log)?;
    let plans = specs.into_iter().map(|spec| checked(spec, &analysis, log)).collect::<Option<Vec<Plan>>>()?;
    log.problems.is_empty().then_some(plans)
}

/// The metrics of one of several versions; the reading for all has reported what is wrong with them.
fn metrics_of(version: &str, analysis: &Item<'_>, around: &Around<'_>) -> Vec<ExternalMetric> {
    let around = Around { version: version.to_owned(), ..around.clone() };
    let read = section::read(analysis, &around, &mut Log::new(""));
    read.map(|analysis| analysis.outside.metrics).unwrap_or_default()
}

/// One for each version, or the one that there is.
fn specs(common: Spec, versions: Option<Versions>, service: &str, log: &mut Log) -> Option<Vec<Spec>> {
    match versions.map(|versions| versions.specs(&common, service)) {
        None => Some(vec![common]),
        Some(Ok(specs)) => Some(specs),
        Some(Err((field, rule))) => {
            log.plan_error(PlanError { field: field.into(), value: String::new(), rule });
            None
        }
    }
}

/// The built-in metrics are not asked for; only a query in a metric is.
fn unused_server(item: &Item<'_>, analysis: Option<&Analysis>, log: &mut Log) {
    let address = item.text(&mut Log::new(""));
    let metrics = analysis.map(|analysis| analysis.outside.metrics.as_slice()).unwrap_or_default();
    if !metrics.iter().any(|metric| metric.provider.address == address) {
        item.warn(
            log,
            "is where Flagger reads its built-in metrics; Serin counts in the proxy, and sends this server only queries",
        );
    }
}

/// Whose routes Flagger would rewrite.
fn provider(spec: &mut Map<'_>, log: &mut Log) -> Option<&'static str> {
    let item = spec.take("provider", log)?;
    item.warn(
        log,
        "chooses whose routes Flagger rewrites; Serin rewrites none, the proxy decides for each request, and reads \
         analysis.match as that provider does",
    );
    item.one_of(log, unsupported_fields::PROVIDERS)
}

/// An object that is not rewritten; its name can be used in queries.
fn reference(spec: &mut Map<'_>, key: &'static str, shape: Shape, log: &mut Log) -> String {
    let Some(item) = spec.take(key, log) else { return String::new() };
    check(&item, shape, log);
    item.warn(log, "is not acted on: no object of an ingress or gateway is rewritten; its name can be used in queries");
    let mut unread = Log::new("");
    let name = item.map(&mut unread).and_then(|mut fields| fields.take("name", &mut unread));
    name.and_then(|item| item.text(&mut unread)).unwrap_or_default()
}

/// Puts the parts together.
fn meant(
    head: &Head<'_>,
    name: &str,
    service: Service,
    choices: Choices<'_>,
    analysis: &mut Analysis,
    log: &mut Log,
) -> Option<Spec> {
    let id = head.id.clone()?;
    let scope = scope(&id, name, service.hosts, service.path_prefixes, log)?;
    let upstream = |role: &str| Upstream::parse(&format!("{name}-{role}")).ok();
    Some(Spec {
        flavour: head.flavour,
        scope,
        primary: choices.primary.or_else(|| upstream("primary"))?,
        canary: choices.canary.or_else(|| upstream("canary"))?,
        rules: std::mem::take(&mut analysis.rules),
        measurement: analysis.measurement,
        guards: analysis.guards.clone(),
        advance: analysis.advance,
        sticky: analysis.sticky.take().map(lower_header),
        strategy: analysis.strategy.clone(),
        interval: analysis.interval,
        threshold: analysis.threshold,
        checks: std::mem::take(&mut analysis.checks),
        course: std::mem::take(&mut analysis.course),
        outside: std::mem::take(&mut analysis.outside),
        promotion: choices.promotion,
        unsupported: log.unsupported.clone(),
        id,
    })
}

/// Applies the plan's own rules, in the document's terms.
fn checked(spec: Spec, analysis: &Analysis, log: &mut Log) -> Option<Plan> {
    let refused = match Plan::new(spec) {
        Ok(plan) => {
            if let Err(error) = carried(&plan) {
                log.plan_error(error);
            }
            return Some(plan);
        }
        Err(refused) => refused,
    };
    for error in refused {
        log.plan_error(in_manifest(error, &analysis.check_at, analysis.has_steps));
    }
    None
}

/// Whether workers will take what follows from the plan: the wire has limits of its own, and no one should learn of
/// them in the middle of a release.
fn carried(plan: &Plan) -> Result<(), PlanError> {
    let split = Split {
        canary: plan.canary.clone(),
        weight: WeightPpm::ZERO,
        mirror: plan.course.mirror.unwrap_or_default(),
        rules: plan.rules.clone(),
        sticky: plan.sticky.clone(),
        salt: plan.id.to_string(),
        slot: plan.interval,
        latency_limit: plan.guards.latency_limit(),
        measurement: plan.measurement,
        fuse: fuse_plan(&plan.guards, 1),
    };
    let routing = Routing { scope: plan.scope.clone(), primary: plan.primary.clone(), split: Some(split) };
    check_routing(&plan.id, &routing).map_err(|error| {
        // The wire's names for the fields that a plan does not bound itself.
        let field = if error.field.contains("hosts") { "spec.service.hosts" } else { "spec.analysis.match" };
        PlanError { field: field.into(), value: error.value, rule: format!("{} ({})", error.rule, error.field) }
    })
}

fn scope(id: &CanaryId, name: &str, hosts: Vec<String>, path_prefixes: Vec<String>, log: &mut Log) -> Option<Scope> {
    let service = match CanaryId::new(id.namespace(), name) {
        Ok(service) => service,
        Err(error) => {
            let rule = error.to_string();
            log.plan_error(PlanError { field: "spec.service.name".into(), value: format!("{name:?}"), rule });
            return None;
        }
    };
    let mut scope = Scope { path_prefixes, ..Scope::of_service(&service) };
    for host in hosts {
        if !scope.hosts.contains(&host) {
            scope.hosts.push(host);
        }
    }
    Some(scope)
}

/// Metrics that others are asked for are no checks of the plan, so its n-th check may be a later one of the document; and
/// weights may be in `steps`.
fn in_manifest(mut error: PlanError, check_at: &[usize], has_steps: bool) -> PlanError {
    const WEIGHTS: &str = "spec.analysis.stepWeights";
    if has_steps && let Some(rest) = error.field.strip_prefix(WEIGHTS) {
        let of_one = if rest.is_empty() { "" } else { ".weight" };
        error.field = format!("spec.analysis.steps{rest}{of_one}");
        return error;
    }
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
    let version = match flavour {
        Flavour::Flagger => fields.need("apiVersion", log),
        Flavour::Serin => fields.take("apiVersion", log),
    };
    if let Some(version) = version {
        version.text(log);
    }
    let kind = fields.need("kind", log).and_then(|kind| kind.one_of(log, &["Deployment", "DaemonSet", "Service"]));
    let name = fields.need("name", log).and_then(|name| named(&name, log));
    fields.finish(log, &[]);
    let kind = kind.unwrap_or("workload");
    item.warn(
        log,
        format!("is not acted on: a standalone agent starts, copies and scales no {kind}; run both versions yourself"),
    );
    name
}

/// What the whole specification says of a release's course.
struct Switches {
    suspend: bool,
    skip_analysis: bool,
}

impl Switches {
    fn of(&self, course: Course) -> Course {
        Course { suspend: self.suspend, skip_analysis: self.skip_analysis, ..course }
    }
}

/// The switches that change what a release may do at all.
fn switches(spec: &mut Map<'_>, log: &mut Log) -> Switches {
    let mut on = |key, log: &mut Log| spec.take(key, log).filter(|item| item.boolean(log) == Some(true));
    let suspend = on("suspend", log).is_some();
    let skipped = on("skipAnalysis", log);
    if let Some(item) = &skipped {
        item.warn(log, "promotes without any check; only the approval to start (confirm-rollout) is asked for. A release in progress \
             keeps the plan it began with: `serin promote` ends its analysis");
    }
    if let Some(item) = on("revertOnDeletion", log) {
        item.warn(log, "is not acted on: a standalone agent changed nothing in the cluster that could be reverted");
    }
    Switches { suspend, skip_analysis: skipped.is_some() }
}
