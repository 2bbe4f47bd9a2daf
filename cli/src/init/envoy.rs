//! `envoy.yaml`: the shipped standalone configuration with a user's own names and addresses. There is no other copy of
//! it here, so what the end-to-end tests prove of the shipped one holds for what is written.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::address::{Endpoint, Host};
use super::edits::{Edit, apply};
use super::name::{quoted, scalar};
use super::service::Service;

/// What is shipped, tested and shown.
pub(super) const SHIPPED: &str = include_str!("../../../envoy-config/standalone/envoy.yaml");

/// Where its own words about itself end.
const FIRST: &str = "admin:\n";

/// The configuration of a service's Envoy.
///
/// # Errors
/// When the shipped one no longer has a place that must change.
pub(super) fn render(service: &Service) -> Result<String> {
    let (_, shipped) = SHIPPED.split_once(&format!("\n{FIRST}")).context("the shipped envoy.yaml has no admin")?;
    Ok(head(service) + "\n" + &apply(&format!("{FIRST}{shipped}"), &edits(service))?)
}

fn head(service: &Service) -> String {
    let Service { name, .. } = service;
    format!(
        "\
# Envoy (1.36 or newer) with Serin's filter before the service {name}, in two versions: {name}-primary, {name}-canary.
# Made by `serin init` from the configuration that Serin ships (envoy-config/standalone/envoy.yaml). It is yours now.
#
#   ./start.sh                            starts the agent and this Envoy
#   envoy --mode validate -c envoy.yaml   is it right?
#   envoy -c envoy.yaml --service-node edge-1 --service-cluster {name}
# The node and cluster names are how this proxy appears in `serin proxies`. Give each proxy its own node name.
#
# The upstreams' names must be the same in canaries/{name}.yaml, in the routes, in `defaultUpstreams` and in the clusters.
# Both are spoken to in clear; for TLS give each cluster a transport_socket (Envoy's UpstreamTlsContext).
# A release never changes this file: weights reach the filter from the agent within milliseconds.
"
    )
}

fn edits(service: &Service) -> Vec<Edit> {
    let Service { name, namespace, primary, canary, .. } = service;
    let named = scalar(name.as_str());
    let id = quoted(&format!("{namespace}/{name}"));
    let mut edits = vec![
        Edit::once(socket("127.0.0.1", 9901), socket_of(service.admin)),
        Edit::once(socket("127.0.0.1", 8080), socket_of(service.listen)),
        Edit::once(socket("127.0.0.1", 8081), endpoint(primary)),
        Edit::once(socket("127.0.0.1", 8082), endpoint(canary)),
        Edit::once("filename: /etc/envoy/serin.wasm", format!("filename: {}", quoted(service.module.as_str()))),
        Edit::once("\"127.0.0.1:7070\"", quoted(&service.grpc.to_string())),
        Edit::once("\"default/web\"", id),
        Edit::once("stat_prefix: web\n", format!("stat_prefix: {named}\n")),
        Edit::all("name: web\n", format!("name: {named}\n")),
        Edit::all("web-primary", format!("{name}-primary")),
        Edit::all("web-canary", format!("{name}-canary")),
        Edit::once("../versions/web.yaml", "envoy-config/versions/web.yaml"),
    ];
    for (role, upstream) in [("primary", primary), ("canary", canary)] {
        let shipped = format!("- name: web-{role}\n      type: STATIC\n");
        edits.push(Edit::once(shipped, format!("- name: {name}-{role}\n{}", discovery(upstream))));
    }
    edits
}

/// How Envoy comes to know the cluster's addresses.
fn discovery(upstream: &Endpoint) -> &'static str {
    match upstream.host {
        Host::Ip(_) => "      type: STATIC\n",
        Host::Name(_) => {
            "      # The name is resolved again and again; requests are spread over all the addresses that it has.\n      \
             type: STRICT_DNS\n      dns_lookup_family: V4_PREFERRED\n"
        }
    }
}

fn endpoint(upstream: &Endpoint) -> String {
    match &upstream.host {
        Host::Ip(ip) => socket_of(SocketAddr::new(*ip, upstream.port)),
        Host::Name(name) => socket(name, upstream.port),
    }
}

fn socket_of(address: SocketAddr) -> String {
    socket(&address.ip().to_string(), address.port())
}

/// As the shipped file has it.
fn socket(host: &str, port: u16) -> String {
    format!("address: {}, port_value: {port}", scalar(host))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::service::fixture::service;
    use super::*;

    fn read(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    fn rendered(name: &str, more: &[&str]) -> Value {
        read(&render(&service(name, more)).unwrap())
    }

    fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
        value.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {value}"))
    }

    const LISTENER: &str = "/static_resources/listeners/0";
    const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

    #[test]
    fn with_the_shipped_values_it_is_the_shipped_configuration() {
        let shipped = [
            ["--primary", "127.0.0.1:8081"],
            ["--canary", "127.0.0.1:8082"],
            ["--listen", "127.0.0.1:8080"],
            ["--admin", "127.0.0.1:9901"],
            ["--grpc", "127.0.0.1:7070"],
            ["--module", "/etc/envoy/serin.wasm"],
        ];
        assert_eq!(rendered("web", shipped.as_flattened()), read(SHIPPED));
    }

    #[test]
    fn every_value_is_where_it_belongs() {
        let made = rendered("shop", &["-n", "prod", "--module", "/opt/a b.wasm"]);
        let socket = |place: &str| {
            let socket = at(&made, &format!("{place}/address/socket_address"));
            (socket["address"].as_str().unwrap(), socket["port_value"].as_u64().unwrap())
        };
        let cluster = |n: u8| format!("/static_resources/clusters/{n}");
        let upstream = |n| socket(&format!("{}/load_assignment/endpoints/0/lb_endpoints/0/endpoint", cluster(n)));
        assert_eq!((socket("/admin"), socket(LISTENER)), (("127.0.0.1", 9000), ("0.0.0.0", 8443)));
        assert_eq!((upstream(0), upstream(1)), (("10.0.0.5", 3000), ("2001:db8::6", 3001)));
        for (n, name) in [(0, "shop-primary"), (1, "shop-canary")] {
            let cluster = at(&made, &cluster(n));
            assert_eq!((&cluster["name"], &cluster["load_assignment"]["cluster_name"]), (&name.into(), &name.into()));
            assert_eq!(cluster["type"], "STATIC");
        }
        let filter = at(&made, &format!("{MANAGER}/http_filters/0/typed_config/config"));
        assert_eq!(filter["vm_config"]["code"]["local"]["filename"], "/opt/a b.wasm");
        let settings: Value = serde_json::from_str(filter["configuration"]["value"].as_str().unwrap()).unwrap();
        let expected = serde_json::json!({
            "agent": "127.0.0.1:6060", "defaultUpstreams": { "prod/shop": "shop-primary" }
        });
        assert_eq!(settings, expected);
        let routes = at(&made, &format!("{MANAGER}/route_config/virtual_hosts/0/routes"));
        let to: Vec<_> = routes.as_array().unwrap().iter().map(|route| at(route, "/route/cluster")).collect();
        assert_eq!(to, ["shop-canary", "shop-primary", "shop-primary"]);
    }

    /// The shipped service's name stands for nothing of the user's, in no comment either.
    #[test]
    fn nothing_is_left_of_the_shipped_service() {
        let text = render(&service("shop", &[])).unwrap().replace("envoy-config/versions/web.yaml", "");
        let is_word = |c: char| c.is_ascii_alphanumeric();
        assert!(text.split(|c| !is_word(c)).all(|word| word != "web"), "{text}");
        for shipped in ["127.0.0.1:7070", "9901", "8080", "8081", "8082"] {
            assert!(!text.contains(shipped), "{shipped} in {text}");
        }
    }

    #[test]
    fn an_upstream_with_a_name_is_resolved() {
        let made = rendered("shop", &["--canary", "shop-v2.internal:80"]);
        let types = [0, 1].map(|n| at(&made, &format!("/static_resources/clusters/{n}/type")));
        assert_eq!(types, ["STATIC", "STRICT_DNS"]);
        assert_eq!(at(&made, "/static_resources/clusters/1/dns_lookup_family"), "V4_PREFERRED");
    }

    /// Names that are like the shipped ones, like each other, or like YAML's own words.
    #[test]
    fn awkward_names_stay_text_and_change_nothing_else() {
        for name in ["web-primary", "web", "true", "123", "name"] {
            let made = rendered(name, &["--primary", "web-canary:80", "--canary", "null:80"]);
            assert_eq!(at(&made, &format!("{LISTENER}/name")), name);
            assert_eq!(at(&made, "/static_resources/clusters/0/name"), &format!("{name}-primary"));
            let socket = "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address";
            let hosts = [0, 1].map(|n| at(&made, &format!("/static_resources/clusters/{n}/{socket}")));
            assert_eq!(hosts, ["web-canary", "null"]);
        }
    }
}
