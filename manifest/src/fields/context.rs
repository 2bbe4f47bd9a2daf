//! What surrounds the analysis and is named in it: the other documents, and the names that queries may use.

use rollout::release::plan::Flavour;

use crate::fields::named::catalogue::Catalogue;
use crate::fields::serin_fields::Choices;

/// Flagger's own default, where a metric has a `query` and the Canary no `metricsServer`.
pub(crate) const METRICS_SERVER: &str = "http://prometheus:9090";

/// What surrounds the analysis.
#[derive(Clone)]
pub(crate) struct Around<'a> {
    pub(crate) flavour: Flavour,
    pub(crate) choices: &'a Choices<'a>,
    pub(crate) catalogue: &'a Catalogue,
    /// `provider`, by which Flagger reads `match`.
    pub(crate) provider: Option<&'static str>,
    /// The canary's name.
    pub(crate) name: String,
    /// The version's name; `canary` where there are not several.
    pub(crate) version: String,
    /// Whether there are several versions.
    pub(crate) has_versions: bool,
    /// The canary's namespace.
    pub(crate) namespace: String,
    /// `targetRef.name`, or the service's.
    pub(crate) target: String,
    /// The service's name.
    pub(crate) service: String,
    /// `ingressRef.name`.
    pub(crate) ingress: String,
    /// `routeRef.name`.
    pub(crate) route: String,
    /// `metricsServer`.
    pub(crate) metrics_server: Option<String>,
}
