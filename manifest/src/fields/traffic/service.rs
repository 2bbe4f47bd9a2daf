//! `spec.service`: which traffic a canary is about. What describes Kubernetes services or mesh routes is named in warnings.

use rollout::release::plan::Flavour;

use crate::fields::unsupported_fields;
use crate::reader::shape::{check, warn_groups};
use crate::reader::{Item, Log, Map};

/// The traffic.
pub(crate) struct Service {
    /// `service.name`.
    pub(crate) name: Option<String>,
    /// Hosts beside the service's own names; lower case.
    pub(crate) hosts: Vec<String>,
    /// String prefix of the path.
    pub(crate) path_prefix: String,
}

/// Takes and reads `service`; without one the defaults. `None` when it is no map.
pub(crate) fn read(spec: &mut Map<'_>, flavour: Flavour, log: &mut Log) -> Option<Service> {
    let mut service = Service { name: None, hosts: Vec::new(), path_prefix: "/".into() };
    let Some(item) = spec.take("service", log) else { return Some(service) };
    let mut fields = item.map(log)?;
    service.name = fields.take("name", log).and_then(|name| name.text(log));
    if let Some(hosts) = fields.take("hosts", log) {
        service.hosts = hosts.texts(log).into_iter().filter_map(|(item, text)| host(&item, &text, log)).collect();
    }
    if let Some(prefix) = fields.take("match", log).and_then(|item| matched_prefix(&item, log)) {
        service.path_prefix = prefix;
    }
    if flavour == Flavour::Serin
        && let Some(prefix) = fields.take("pathPrefix", log).and_then(|item| path_prefix(&item, log))
    {
        service.path_prefix = prefix;
    }
    if flavour == Flavour::Flagger && !fields.has("port") {
        log.problem(item.at, "spec.service.port", "", "is missing; it is required");
    }
    warn_groups(&mut fields, unsupported_fields::SERVICE, log);
    fields
        .finish(log, &[("pathPrefix", "is a field of serin.dev/v1alpha1; here write match: [{uri: {prefix: /path}}]")]);
    Some(service)
}

/// Flagger copies `match` into the mesh's route; here a single URI prefix bounds the scope.
fn matched_prefix(item: &Item<'_>, log: &mut Log) -> Option<String> {
    let list = item.list(log);
    list.iter().for_each(|item| check(item, unsupported_fields::MATCH, log));
    let [only] = list.as_slice() else {
        if !list.is_empty() {
            item.warn(
                log,
                "has several alternatives, and the scope of a canary has one path prefix; all paths are in scope",
            );
        }
        return None;
    };
    let mut fields = only.map(log)?;
    let uri = fields.take("uri", log);
    let others = fields.rest(log);
    for (name, other) in &others {
        if name != "name" {
            other.warn(log, "does not bound the scope of a canary; only uri.prefix does");
        }
    }
    let uri = uri?;
    let mut form = uri.map(log)?;
    let prefix = form.take("prefix", log).and_then(|item| path_prefix(&item, log));
    if prefix.is_none() {
        uri.warn(log, "does not bound the scope of a canary; only uri.prefix does; all paths are in scope");
    }
    prefix
}

fn path_prefix(item: &Item<'_>, log: &mut Log) -> Option<String> {
    let prefix = item.text(log)?;
    if prefix.starts_with('/') {
        return Some(prefix);
    }
    item.refuse(log, "must begin with /");
    None
}

/// A name, `*.suffix`, or `*`, in lower case.
fn host(item: &Item<'_>, text: &str, log: &mut Log) -> Option<String> {
    let host = text.to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if host == "*" || is_name || host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(host);
    }
    item.refuse(log, "is not a valid host; write a name or address without port or scheme, *.suffix, or * for any");
    None
}
