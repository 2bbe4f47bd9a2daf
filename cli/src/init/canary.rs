//! `canaries/NAME.yaml`: the shipped Canary with a user's own names and hosts, comments included.

use anyhow::{Context, Result};

use super::edits::{Edit, apply};
use super::name::{quoted, scalar};
use super::service::Service;

/// What is shipped beside the shipped envoy.yaml.
const SHIPPED: &str = include_str!("../../../envoy-config/standalone/web.yaml");

/// Where its own words about itself end.
const FIRST: &str = "apiVersion:";

/// A service's Canary.
///
/// # Errors
/// When the shipped one no longer has a place that must change.
pub(super) fn render(service: &Service) -> Result<String> {
    let (_, shipped) = SHIPPED.split_once(&format!("\n{FIRST}")).context("the shipped web.yaml has no apiVersion")?;
    Ok(head(service) + &apply(&format!("{FIRST}{shipped}"), &edits(service))?)
}

fn head(service: &Service) -> String {
    let Service { name, .. } = service;
    format!(
        "\
# The Canary that belongs to ../envoy.yaml: the service {name}, in two versions. Made by `serin init` from the one that
# Serin ships (envoy-config/standalone/web.yaml). It is yours now; the agent reads it again whenever it changes.
#
#   serin validate canaries              # says what is wrong, with line and rule
#   serin simulate -f canaries/{name}.yaml --fault 5%
#   serin release {name} --revision 1.2.3  # begins a release; `serin get -w` shows it climb
#
# This is Serin's own kind. A Canary of flagger.app/v1beta1 is read as it is.
"
    )
}

fn edits(service: &Service) -> Vec<Edit> {
    let Service { name, namespace, .. } = service;
    let hosts: Vec<String> = service.hosts.iter().map(|host| quoted(host.as_str())).collect();
    let mut edits = vec![
        Edit::once("Together default/web:", format!("Together {namespace}/{name}:")),
        Edit::once("  namespace: default\n", format!("  namespace: {}\n", scalar(namespace.as_str()))),
        Edit::once("  name: web\n", format!("  name: {}\n", scalar(name.as_str()))),
        Edit::once("(web, web.default, web.default.svc...)", format!("({name}, {name}.{namespace}, ...)")),
        Edit::once("hosts: [\"*\"]", format!("hosts: [{}]", hosts.join(", "))),
        Edit::all("web-primary", format!("{name}-primary")),
        Edit::all("web-canary", format!("{name}-canary")),
        Edit::once("`serin confirm web`", format!("`serin confirm {name}`")),
    ];
    if !service.has_every_host() {
        let every = "\"*\" adds every other host, since this Envoy has only the one service.";
        edits.push(Edit::once(every, "these are added. Requests for other hosts go to the primary."));
    }
    edits
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::service::fixture::service;
    use super::*;

    fn read(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn with_the_shipped_values_it_is_the_shipped_canary() {
        assert_eq!(read(&render(&service("web", &[])).unwrap()), read(SHIPPED));
    }

    #[test]
    fn names_and_hosts_are_the_user_s() {
        let hosts = ["-n", "prod", "--host", "Shop.test", "--host", "*.shop.test", "--host", "shop.test"];
        let text = render(&service("shop", &hosts)).unwrap();
        let made = read(&text);
        assert_eq!(made["metadata"], serde_json::json!({ "namespace": "prod", "name": "shop" }));
        assert_eq!(made["spec"]["service"]["hosts"], serde_json::json!(["shop.test", "*.shop.test"]));
        let upstreams = serde_json::json!({ "primary": "shop-primary", "canary": "shop-canary" });
        assert_eq!(made["spec"]["upstreams"], upstreams);
        assert_eq!(made["spec"]["analysis"], read(SHIPPED)["spec"]["analysis"]);
        let text = text.replace("standalone/web.yaml", "");
        assert!(text.split(|c: char| !c.is_ascii_alphanumeric()).all(|word| word != "web"), "{text}");
    }

    #[test]
    fn names_that_yaml_takes_for_something_else_stay_text() {
        let made = read(&render(&service("123", &["-n", "true"])).unwrap());
        assert_eq!(made["metadata"], serde_json::json!({ "namespace": "true", "name": "123" }));
    }
}
