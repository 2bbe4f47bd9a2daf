//! What surrounds the analysis and is named in it: the other documents, and the names that queries may use.

use rollout::release::plan::Flavour;

use super::catalogue::Catalogue;
use super::serin_fields::Choices;

/// Flagger's own default, where `query` stands in a metric and `metricsServer` nowhere.
pub(super) const METRICS_SERVER: &str = "http://prometheus:9090";

/// What surrounds it.
#[derive(Clone)]
pub(super) struct Around<'a> {
    pub(super) flavour: Flavour,
    pub(super) choices: &'a Choices<'a>,
    pub(super) catalogue: &'a Catalogue,
    /// The canary's name.
    pub(super) name: String,
    /// The version's name; `canary` where there are not several.
    pub(super) version: String,
    /// Whether there are several versions.
    pub(super) has_versions: bool,
    /// The canary's namespace.
    pub(super) namespace: String,
    /// `targetRef.name`, or the service's.
    pub(super) target: String,
    /// The service's name.
    pub(super) service: String,
    /// `ingressRef.name`.
    pub(super) ingress: String,
    /// `routeRef.name`.
    pub(super) route: String,
    /// `metricsServer`.
    pub(super) metrics_server: Option<String>,
}
