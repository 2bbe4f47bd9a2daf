//! MetricTemplate and AlertProvider documents: read and validated, so that a wrong one is known before it is needed.

use super::choices::url;
use super::reader::{Item, Log};

const METRIC_PROVIDERS: &[&str] = &[
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
];
const ALERT_PROVIDERS: &[&str] = &["slack", "msteams", "discord", "rocket", "gchat"];

/// Reads a MetricTemplate's spec.
pub(super) fn metric_template(spec: &Item<'_>, log: &mut Log) {
    let Some(mut fields) = spec.map(log) else { return };
    if let Some(mut provider) = fields.need("provider", log).and_then(|item| item.map(log)) {
        if let Some(item) = provider.need("type", log) {
            item.one_of(log, METRIC_PROVIDERS);
        }
        for key in ["address", "region"] {
            if let Some(item) = provider.take(key, log) {
                item.text(log);
            }
        }
        if let Some(headers) = provider.take("headers", log).and_then(|item| item.map(log)) {
            headers.rest(log).iter().for_each(|(_, values)| drop(values.texts(log)));
        }
        if let Some(item) = provider.take("insecureSkipVerify", log) {
            item.boolean(log);
        }
        if let Some(item) = provider.take("secretRef", log) {
            secret(&item, log);
        }
        provider.finish(log, &[]);
    }
    if let Some(item) = fields.need("query", log) {
        item.text(log);
    }
    fields.finish(log, &[]);
    spec.warn(
        log,
        "is read but not honoured: this build sends no queries, and metrics that refer to it hold their releases",
    );
}

/// Reads an AlertProvider's spec.
pub(super) fn alert_provider(spec: &Item<'_>, log: &mut Log) {
    let Some(mut fields) = spec.map(log) else { return };
    if let Some(item) = fields.need("type", log) {
        item.one_of(log, ALERT_PROVIDERS);
    }
    for key in ["channel", "username", "proxy"] {
        if let Some(item) = fields.take(key, log) {
            item.text(log);
        }
    }
    let address = fields.take("address", log);
    let reference = fields.take("secretRef", log);
    match (&address, &reference) {
        (Some(address), None) => drop(url(address, log)),
        (None, Some(reference)) => secret(reference, log),
        _ => spec.refuse(log, "must have exactly one of address and secretRef"),
    }
    fields.finish(log, &[]);
    spec.warn(log, "is read but not honoured: this build sends no alerts");
}

fn secret(item: &Item<'_>, log: &mut Log) {
    let Some(mut fields) = item.map(log) else { return };
    if let Some(name) = fields.need("name", log) {
        name.text(log);
    }
    fields.finish(log, &[]);
}
