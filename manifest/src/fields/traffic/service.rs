//! `spec.service`: which traffic a canary is about. What describes Kubernetes services or mesh routes is named in warnings.

use proto::limits::MAX_PATH_PREFIXES;
use rollout::release::plan::Flavour;
use rollout::routing::table::Scope;

use crate::fields::unsupported_fields;
use crate::reader::shape::{check, warn_groups};
use crate::reader::{Item, Log, Map};

/// The traffic.
pub(crate) struct Service {
    /// `service.name`.
    pub(crate) name: Option<String>,
    /// Hosts beside the service's own names; lower case.
    pub(crate) hosts: Vec<String>,
    /// String prefixes of the path, as a scope has them.
    pub(crate) path_prefixes: Vec<String>,
}

/// Takes and reads `service`; without one the defaults. `None` when it is no map.
pub(crate) fn read(
    spec: &mut Map<'_>,
    flavour: Flavour,
    provider: Option<&'static str>,
    log: &mut Log,
) -> Option<Service> {
    let mut service = Service { name: None, hosts: Vec::new(), path_prefixes: vec!["/".into()] };
    let Some(item) = spec.take("service", log) else { return Some(service) };
    let mut fields = item.map(log)?;
    service.name = fields.take("name", log).and_then(|name| name.text(log));
    if let Some(hosts) = fields.take("hosts", log) {
        let is_any = hosts.texts(&mut Log::new("")).iter().any(|(_, host)| host.starts_with('*'));
        if is_any && (fields.has("gateways") || fields.has("gatewayRefs")) {
            let what = "has a wildcard, which the hosts of the gateways bound, and no gateway is read; accepted, every host \
                        that fits is in scope";
            hosts.hold(log, what);
        }
        service.hosts = hosts.texts(log).into_iter().filter_map(|(item, text)| host(&item, &text, log)).collect();
    }
    if let Some(prefixes) = fields.take("match", log).and_then(|item| matched_prefixes(&item, provider, log)) {
        service.path_prefixes = prefixes;
    }
    if flavour == Flavour::Serin
        && let Some(prefix) = fields.take("pathPrefix", log).and_then(|item| path_prefix(&item, log))
    {
        service.path_prefixes = vec![prefix];
    }
    if flavour == Flavour::Flagger && !fields.has("port") {
        log.problem(item.at, "spec.service.port", "", "is missing; it is required");
    }
    warn_groups(&mut fields, unsupported_fields::SERVICE, log);
    fields
        .finish(log, &[("pathPrefix", "is a field of serin.dev/v1alpha1; here write match: [{uri: {prefix: /path}}]")]);
    Some(service)
}

/// Flagger copies `match` into the mesh's route; here the URI prefixes of all alternatives bound the scope. A condition that
/// is not honoured would leave more in scope than it says, so it holds the release.
fn matched_prefixes(item: &Item<'_>, provider: Option<&'static str>, log: &mut Log) -> Option<Vec<String>> {
    let list = item.list(log);
    list.iter().for_each(|item| check(item, unsupported_fields::MATCH, log));
    let prefixes: Vec<Option<String>> = list.iter().map(|item| alternative(item, provider, log)).collect();
    if prefixes.is_empty() {
        return None;
    }
    let count = prefixes.iter().flatten().count();
    if count > MAX_PATH_PREFIXES {
        item.refuse(log, format!("has {count} prefixes, and at most {MAX_PATH_PREFIXES} are allowed"));
    }
    // One alternative without a prefix is all paths.
    Some(Scope::merged(prefixes.into_iter().map(|prefix| prefix.unwrap_or_else(|| "/".into())).collect()))
}

/// The prefix of one alternative; `None` where it bounds no path, or has a mistake.
fn alternative(item: &Item<'_>, provider: Option<&'static str>, log: &mut Log) -> Option<String> {
    let mut fields = item.map(log)?;
    let uri = fields.take("uri", log);
    for (name, other) in fields.rest(log) {
        let is_unset = name == "ignoreUriCase" && other.boolean(&mut Log::new("")) == Some(false);
        if name != "name" && !is_unset {
            let what = "does not bound the scope of a canary, only uri.prefix does; accepted, what it leaves out is split as well";
            other.hold(log, what);
        }
    }
    let uri = uri?;
    let Some(item) = uri.map(log)?.take("prefix", log) else {
        let what = "does not bound the scope of a canary, only uri.prefix does; accepted, all paths are in scope";
        uri.hold(log, what);
        return None;
    };
    let prefix = path_prefix(&item, log)?;
    if provider.is_some_and(|provider| provider.starts_with("gatewayapi")) && !prefix.ends_with('/') {
        let what = format!(
            "means whole elements of the path with the Gateway API, and any path that begins so here: write {prefix}/, or \
             accept that {prefix}-more is in scope"
        );
        item.hold(log, what);
    }
    Some(prefix)
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
