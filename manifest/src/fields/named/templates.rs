//! MetricTemplate and AlertProvider documents: which server a metric queries, and where an alert goes.

use std::collections::BTreeMap;

use rollout::release::integrations::{Provider, ProviderKind, Receiver, ReceiverKind, SecretRef};
use rollout::release::plan::Flavour;

use crate::fields::named::catalogue::Template;
use crate::fields::values::url;
use crate::reader::{Item, Log, Map};

/// Types of metric servers; Flagger's are all but the last.
pub(crate) const OWN_METRIC_TYPES: &[&str] = &[
    "prometheus",
    "influxdb",
    "datadog",
    "externalmetrics",
    "stackdriver",
    "cloudwatch",
    "newrelic",
    "graphite",
    "dynatrace",
    "keptn",
    "splunk",
    "http",
];
pub(crate) const METRIC_TYPES: &[&str] = all_but_last(OWN_METRIC_TYPES);
/// Types of receivers; Flagger's are all but the last.
pub(crate) const OWN_ALERT_TYPES: &[&str] = &["slack", "msteams", "discord", "rocket", "gchat", "webhook"];
pub(crate) const ALERT_TYPES: &[&str] = all_but_last(OWN_ALERT_TYPES);

const fn all_but_last(types: &'static [&'static str]) -> &'static [&'static str] {
    match types.split_last() {
        Some((_, others)) => others,
        None => types,
    }
}

/// Flagger's channel where none is given.
const CHANNEL: &str = "general";
/// The sender's name where none is given: Flagger's default, and ours.
pub(crate) const FLAGGERS_USERNAME: &str = "flagger";
const USERNAME: &str = "serin";

/// Reads a MetricTemplate's spec.
pub(crate) fn metric_template(spec: &Item<'_>, flavour: Flavour, namespace: &str, log: &mut Log) -> Option<Template> {
    let mut fields = spec.map(log)?;
    let provider = fields.need("provider", log).and_then(|item| provider(&item, flavour, namespace, log));
    let query = fields.need("query", log).and_then(|item| {
        let text = item.text(log)?;
        if text.trim().is_empty() {
            item.refuse(log, "is empty; write the query");
        }
        Some(text)
    });
    fields.finish(log, &[]);
    Some(Template { provider: provider?, query: query? })
}

fn provider(item: &Item<'_>, flavour: Flavour, namespace: &str, log: &mut Log) -> Option<Result<Provider, String>> {
    let mut fields = item.map(log)?;
    let types = if flavour == Flavour::Flagger { METRIC_TYPES } else { OWN_METRIC_TYPES };
    let kind_item = fields.need("type", log);
    let kind = kind_item.as_ref().and_then(|item| item.one_of(log, types));
    let address = fields.take("address", log).and_then(|item| address(&item, kind, log));
    let region = fields.take("region", log).and_then(|item| item.text(log));
    let headers = fields.take("headers", log).map(|item| headers(&item, log)).unwrap_or_default();
    let insecure = fields.take("insecureSkipVerify", log).and_then(|item| item.boolean(log)) == Some(true);
    let secret = fields.take("secretRef", log).and_then(|item| secret(&item, namespace, log));
    fields.finish(log, &[]);
    let (name, kind_item) = (kind?, kind_item?);
    let Some(kind) = kind_of(name) else {
        let reason = "is read, but this build cannot query such a server; metrics that use it hold their releases";
        kind_item.warn(log, reason);
        return Some(Err(name.to_owned()));
    };
    let needed = match kind {
        ProviderKind::CloudWatch if region.is_none() => Some(("region", "is missing; cloudwatch needs it")),
        ProviderKind::Prometheus
        | ProviderKind::Graphite
        | ProviderKind::InfluxDb
        | ProviderKind::Dynatrace
        | ProviderKind::Splunk
        | ProviderKind::Http
            if address.is_none() =>
        {
            Some(("address", "is missing; this type has no default address"))
        }
        _ => None,
    };
    if let Some((field, rule)) = needed {
        log.problem(item.at, &format!("{}.{field}", item.path), "", rule);
    }
    Some(Ok(Provider { kind, address, headers, secret, region, insecure_skip_verify: insecure }))
}

/// Splunk's may be a web socket's, as Flagger is given it.
fn address(item: &Item<'_>, kind: Option<&str>, log: &mut Log) -> Option<String> {
    let is_socket = |text: &str| ["ws://", "wss://"].iter().any(|scheme| text.starts_with(scheme));
    let text = if kind == Some("splunk") && item.is_text() { item.text(log) } else { None };
    text.filter(|text| is_socket(text)).or_else(|| url(item, log))
}

fn kind_of(name: &str) -> Option<ProviderKind> {
    Some(match name {
        "prometheus" => ProviderKind::Prometheus,
        "influxdb" => ProviderKind::InfluxDb,
        "datadog" => ProviderKind::Datadog,
        "stackdriver" => ProviderKind::Stackdriver,
        "cloudwatch" => ProviderKind::CloudWatch,
        "newrelic" => ProviderKind::NewRelic,
        "graphite" => ProviderKind::Graphite,
        "dynatrace" => ProviderKind::Dynatrace,
        "splunk" => ProviderKind::Splunk,
        "http" => ProviderKind::Http,
        _ => return None,
    })
}

fn headers(item: &Item<'_>, log: &mut Log) -> BTreeMap<String, Vec<String>> {
    let named = item.map(log).map(|map| map.rest(log)).unwrap_or_default();
    let values = |item: &Item<'_>, log: &mut Log| item.texts(log).into_iter().map(|(_, text)| text).collect();
    named.into_iter().map(|(name, item)| (name, values(&item, log))).collect()
}

/// Reads an AlertProvider's spec.
pub(crate) fn alert_provider(spec: &Item<'_>, flavour: Flavour, namespace: &str, log: &mut Log) -> Option<Receiver> {
    let mut fields = spec.map(log)?;
    let types = if flavour == Flavour::Flagger { ALERT_TYPES } else { OWN_ALERT_TYPES };
    let kind = fields.need("type", log).and_then(|item| item.one_of(log, types));
    let text = |fields: &mut Map<'_>, key, log: &mut Log| fields.take(key, log).and_then(|item| item.text(log));
    let channel = text(&mut fields, "channel", log).unwrap_or_else(|| CHANNEL.into());
    let usual = if flavour == Flavour::Flagger { FLAGGERS_USERNAME } else { USERNAME };
    let username = text(&mut fields, "username", log).unwrap_or_else(|| usual.into());
    let proxy = fields.take("proxy", log).and_then(|item| url(&item, log));
    let (address_item, secret_item) = (fields.take("address", log), fields.take("secretRef", log));
    if address_item.is_none() && secret_item.is_none() {
        spec.refuse(log, "must have one of address, secretRef");
    }
    let address = address_item.and_then(|item| url(&item, log));
    let secret = secret_item.and_then(|item| secret(&item, namespace, log));
    fields.finish(log, &[]);
    let kind = match kind? {
        "slack" => ReceiverKind::Slack,
        "msteams" => ReceiverKind::MsTeams,
        "discord" => ReceiverKind::Discord,
        "rocket" => ReceiverKind::Rocket,
        "gchat" => ReceiverKind::GChat,
        _ => ReceiverKind::Webhook,
    };
    Some(Receiver { kind, address, secret, channel, username, proxy })
}

fn secret(item: &Item<'_>, namespace: &str, log: &mut Log) -> Option<SecretRef> {
    let mut fields = item.map(log)?;
    let name = fields.need("name", log).and_then(|name| name.text(log));
    fields.finish(log, &[("namespace", "cannot be chosen: the secret is read in the document's own namespace")]);
    Some(SecretRef { namespace: namespace.to_owned(), name: name? })
}
