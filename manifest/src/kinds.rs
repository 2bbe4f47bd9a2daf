//! The kinds that are read here, recognised before anything in a document is read.

use crate::yaml::tree::{Node, Value};

/// What Kubernetes answers with when it is asked for several.
pub(crate) const LISTS: &[&str] = &["List", "CanaryList", "MetricTemplateList", "AlertProviderList"];
pub(crate) const CANARY: &str = "Canary";
pub(crate) const METRIC_TEMPLATE: &str = "MetricTemplate";
pub(crate) const ALERT_PROVIDER: &str = "AlertProvider";
/// What can be read of each version.
pub(crate) const KINDS: [&str; 3] = [CANARY, METRIC_TEMPLATE, ALERT_PROVIDER];
/// The group of Argo Rollouts, whose users may try their files.
pub(crate) const ARGO: &str = "argoproj.io";
pub(crate) const FLAGGER: &str = "flagger.app/v1beta1";
pub(crate) const SERIN: &str = "serin.dev/v1alpha1";

/// Whether an `apiVersion` is of Flagger's group or ours, whatever the version.
pub(crate) fn is_of_our_group(version: &str) -> bool {
    let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
    group(version).is_some_and(|own| [FLAGGER, SERIN].into_iter().any(|ours| group(ours).as_deref() == Some(&own)))
}

/// The items of what Kubernetes answers with when it is asked for several; each is a document of its own.
pub(crate) fn listed(node: Node) -> Vec<Node> {
    let Value::Map(entries) = &node.value else { return vec![node] };
    let of = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value.value);
    match (of("kind"), of("items")) {
        (Some(Value::Text(kind)), Some(Value::List(items))) if LISTS.contains(&kind.as_str()) => items.clone(),
        _ => vec![node],
    }
}

/// Whether a document is a Canary of ours, and so may name others.
pub(crate) fn is_canary(node: &Node) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    let is = |key: &str, values: &[&str]| {
        entries.iter().any(|entry| {
            entry.key == key && matches!(&entry.value.value, Value::Text(text) if values.contains(&text.as_str()))
        })
    };
    is("kind", &[CANARY]) && is("apiVersion", &[FLAGGER, SERIN])
}
