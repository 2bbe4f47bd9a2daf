//! Metrics of other servers: a MetricTemplate that is named, or a query in the metric itself.

use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::release::integrations::{Provider, ProviderKind};
use rollout::release::plan::{ExternalMetric, Flavour, MAX_INTERVAL, MIN_INTERVAL, ThresholdRange};

use crate::fields::analysis::alerts::reference_to;
use crate::fields::analysis::query_template::{Values, render};
use crate::fields::context::{Around, METRICS_SERVER};
use crate::fields::webhooks::texts;
use crate::reader::{Item, Log, Map};

/// Flagger's window where none is given.
const WINDOW: &str = "1m";

/// What a metric says about whom to ask.
pub(crate) struct Asked<'a> {
    template: Option<Item<'a>>,
    query: Option<Item<'a>>,
    variables: Option<Item<'a>>,
}

impl<'a> Asked<'a> {
    /// Takes its fields.
    pub(crate) fn take(fields: &mut Map<'a>, log: &mut Log) -> Self {
        Self {
            template: fields.take("templateRef", log),
            query: fields.take("query", log),
            variables: fields.take("templateVariables", log),
        }
    }

    /// Whether anybody is asked.
    pub(crate) const fn is_any(&self) -> bool {
        self.template.is_some() || self.query.is_some()
    }
}

/// What both ways share.
pub(crate) struct Wanted<'a, 'i> {
    pub(crate) name: &'a str,
    pub(crate) window: Option<&'a Item<'i>>,
    pub(crate) range: ThresholdRange,
}

/// The metrics that are asked for: none, one, or with both ways two.
pub(crate) fn read(
    asked: &Asked<'_>,
    wanted: &Wanted<'_, '_>,
    around: &Around<'_>,
    log: &mut Log,
) -> Vec<ExternalMetric> {
    let before = log.problems.len();
    let variables = asked.variables.as_ref().map(|item| texts(item, log)).unwrap_or_default();
    if let (Some(item), false) = (&asked.variables, asked.is_any()) {
        item.warn(log, "is not used: there is neither templateRef nor query");
    }
    let mut metrics = Vec::new();
    let (window, written) = window(wanted, log);
    let values = Values {
        name: &around.name,
        version: &around.version,
        namespace: &around.namespace,
        target: &around.target,
        service: &around.service,
        ingress: &around.ingress,
        route: &around.route,
        interval: &written,
        variables: &variables,
    };
    let mut ask =
        |item: &Item<'_>, provider: Provider, query: &str, whose: &str, log: &mut Log| match render(query, &values) {
            Ok(query) => {
                let (name, range) = (wanted.name.to_owned(), wanted.range);
                metrics.push(ExternalMetric { name, provider, query, window, range });
            }
            // A variable that cannot be read has been reported.
            Err(_) if log.problems.len() > before => {}
            Err(error) => item.refuse(log, format!("{whose} cannot be rendered: {error}")),
        };
    if let Some(item) = &asked.template
        && let Some(id) = reference_to(item, around, log)
        && let Some((provider, query)) = template(item, &id, wanted.name, around, log)
    {
        if around.flavour == Flavour::Flagger && wanted.window.is_none() && query.contains("interval") {
            item.warn(log, "has no interval beside it; 1m is used, where Flagger would leave {{ interval }} empty");
        }
        ask(item, provider, &query, &format!("the query of the MetricTemplate {id}"), log);
    }
    if let Some(item) = &asked.query
        && let Some(query) = item.text(log)
    {
        let also =
            if asked.template.is_some() { "; the metric has a templateRef too, and both are queried" } else { "" };
        item.warn(log, format!("is deprecated; a MetricTemplate with this query can be named by templateRef{also}"));
        ask(item, prometheus(around), &query, "it", log);
    }
    metrics
}

fn template(
    item: &Item<'_>,
    id: &CanaryId,
    name: &str,
    around: &Around<'_>,
    log: &mut Log,
) -> Option<(Provider, String)> {
    let found = match around.catalogue.templates.find(id, around.catalogue.is_whole) {
        Some(found) => found,
        None => {
            let what = format!("the metric {name:?} needs the MetricTemplate {id}, which is not in this file");
            item.hold(log, what);
            return None;
        }
    };
    let template = match found {
        Ok((template, _)) => template,
        Err(why) => {
            item.refuse(log, why);
            return None;
        }
    };
    match &template.provider {
        Ok(provider) => Some((provider.clone(), template.query.clone())),
        Err(kind) => {
            item.hold(log, format!("the metric {name:?} needs a {kind} server, which this build cannot query"));
            None
        }
    }
}

fn prometheus(around: &Around<'_>) -> Provider {
    Provider {
        kind: ProviderKind::Prometheus,
        address: Some(around.metrics_server.clone().unwrap_or_else(|| METRICS_SERVER.into())),
        headers: std::collections::BTreeMap::new(),
        secret: None,
        region: None,
        insecure_skip_verify: false,
    }
}

/// The window, and how a query writes it: as in the manifest where Prometheus would take that, which knows no fractions.
fn window(wanted: &Wanted<'_, '_>, log: &mut Log) -> (Millis, String) {
    let usual = (Millis::from_secs(60), WINDOW.to_owned());
    let Some(item) = wanted.window else { return usual };
    // Another part has reported what is wrong with it.
    let Some(span) = item.clone().span(&mut Log::new("")) else { return usual };
    if span < MIN_INTERVAL || span > MAX_INTERVAL {
        if !log.problems.iter().any(|problem| problem.field == item.path) {
            item.refuse(log, "must be from 1s to 24h");
        }
        return usual;
    }
    let written = item.text(log).filter(|text| !text.contains('.'));
    (span, written.unwrap_or_else(|| format!("{}ms", span.0)))
}
