//! `spec.analysis.alerts`: who gets which events, through the AlertProvider that each names.

use rollout::base::names::CanaryId;
use rollout::release::integrations::{Alert, Severity};

use crate::fields::context::Around;
use crate::fields::webhooks::named;
use crate::reader::{Item, Log};

/// The empty one is `info`, as Flagger's documentation has it (its code sends nothing then).
pub(crate) const SEVERITIES: &[&str] = &["", "info", "warn", "error"];

/// Reads the list.
pub(crate) fn read(item: &Item<'_>, around: &Around<'_>, log: &mut Log) -> Vec<Alert> {
    item.list(log).iter().filter_map(|item| alert(item, around, log)).collect()
}

fn alert(item: &Item<'_>, around: &Around<'_>, log: &mut Log) -> Option<Alert> {
    let mut fields = item.map(log)?;
    let name = fields.need("name", log).and_then(|item| named(&item, log));
    let severity = fields.take("severity", log).map_or(Some(""), |item| item.one_of(log, SEVERITIES));
    let reference = fields.need("providerRef", log);
    fields.finish(log, &[]);
    let reference = reference?;
    let id = reference_to(&reference, around, log)?;
    let severity = match severity? {
        "error" => Severity::Error,
        "warn" => Severity::Warn,
        _ => Severity::Info,
    };
    let receiver = match around.catalogue.receivers.find(&id, around.catalogue.is_whole) {
        Some(Ok((receiver, _))) => receiver.clone(),
        Some(Err(why)) => {
            reference.refuse(log, why);
            return None;
        }
        None => {
            let reason =
                format!("names the AlertProvider {id}, which is not in this file; validate the files together");
            reference.warn(log, reason);
            return None;
        }
    };
    Some(Alert { name: name?, severity, receiver })
}

/// `{name, namespace}`; the namespace is the canary's unless another is named.
pub(crate) fn reference_to(item: &Item<'_>, around: &Around<'_>, log: &mut Log) -> Option<CanaryId> {
    let mut fields = item.map(log)?;
    let name_item = fields.need("name", log);
    let name = name_item.as_ref().and_then(|item| named(item, log));
    let namespace = fields.take("namespace", log).and_then(|item| named(&item, log));
    fields.finish(log, &[]);
    let namespace = namespace.unwrap_or_else(|| around.namespace.clone());
    CanaryId::new(&namespace, &name?).map_err(|error| item.refuse(log, error.to_string())).ok()
}
