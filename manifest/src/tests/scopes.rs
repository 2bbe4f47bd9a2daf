//! What a manifest says of its scope is honoured, or holds the release: no restriction is lost in a warning.

use rollout::routing::table::{Entry, Epoch, Routing, Table};

use super::*;

const HEAD: &str = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop, namespace: test}\nspec:\n  \
                    targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}\n";
const TAIL: &str = "  analysis: {interval: 10s, threshold: 5, maxWeight: 50, stepWeight: 10}\n";

fn manifest(service: &str) -> String {
    format!("{HEAD}  service: {{port: 80, hosts: [site.example.com], {service}}}\n{TAIL}")
}

/// Which of these paths a worker finds in the scope.
fn in_scope(text: &str, paths: &[&str]) -> Vec<bool> {
    let plan = plan_of(text);
    let routing = Routing { scope: plan.scope.clone(), primary: plan.primary.clone(), split: None };
    let mut table = Table::default();
    table.adopt(Entry { canary: plan.id.clone(), epoch: Epoch(2), routing: Some(routing) });
    paths.iter().map(|path| table.find(b"site.example.com", path.as_bytes()).is_some()).collect()
}

fn held(text: &str) -> Vec<String> {
    plan_of(text).unsupported.iter().map(|unsupported| unsupported.field.clone()).collect()
}

#[test]
fn every_prefix_bounds_the_scope() {
    let two = manifest("match: [{uri: {prefix: /api/v1}}, {uri: {prefix: /api/v2}}]");
    let paths = ["/api/v1/cart", "/api/v2", "/checkout", "/api", "/api/v3", "/"];
    assert_eq!(in_scope(&two, &paths), [true, true, false, false, false, false]);
    assert_eq!(held(&two), [""; 0]);
    let within = manifest("match: [{name: a, uri: {prefix: /api/v1}}, {uri: {prefix: /api}}, {uri: {prefix: /b}}]");
    assert_eq!(plan_of(&within).scope.path_prefixes, ["/api", "/b"]);
    let any = manifest("match: [{uri: {prefix: /api}}, {name: everything}]");
    assert_eq!(plan_of(&any).scope.path_prefixes, ["/"], "Istio's second alternative is every request");
    assert_eq!(held(&any), [""; 0]);
    let many: Vec<String> = (10..43).map(|n| format!("{{uri: {{prefix: /{n}}}}}")).collect();
    let refused = read("f.yaml", &manifest(&format!("match: [{}]", many.join(", ")))).documents;
    let problems: Vec<String> = refused[0].result.as_ref().unwrap_err().iter().map(ToString::to_string).collect();
    assert!(problems[0].contains("has 33 prefixes"), "{problems:?}");
}

/// Every field that Flagger's schema has there.
#[test]
fn every_other_condition_holds_the_release() {
    let conditions = [
        ("uri", "uri: {exact: /api}"),
        ("uri", "uri: {regex: \"/api/.*\"}"),
        ("method", "method: {exact: GET}"),
        ("scheme", "scheme: {exact: https}"),
        ("authority", "authority: {prefix: api.}"),
        ("headers", "headers: {x-tenant: {exact: a}}"),
        ("withoutHeaders", "withoutHeaders: {x-bot: {exact: a}}"),
        ("queryParams", "queryParams: {beta: {exact: a}}"),
        ("port", "port: 8080"),
        ("sourceLabels", "sourceLabels: {app: front}"),
        ("sourceNamespace", "sourceNamespace: front"),
        ("gateways", "gateways: [mesh]"),
        ("ignoreUriCase", "ignoreUriCase: true"),
    ];
    for (field, condition) in conditions {
        let alone = manifest(&format!("match: [{{{condition}}}]"));
        assert_eq!(held(&alone), [format!("spec.service.match[0].{field}")], "{condition}");
        let second = manifest(&format!("match: [{{uri: {{prefix: /a}}}}, {{name: b, {condition}}}]"));
        assert_eq!(held(&second), [format!("spec.service.match[1].{field}")], "beside a prefix: {condition}");
        if field != "uri" {
            let and = manifest(&format!("match: [{{uri: {{prefix: /a}}, {condition}}}]"));
            assert_eq!(held(&and), [format!("spec.service.match[0].{field}")], "with a prefix: {condition}");
            assert_eq!(in_scope(&and, &["/a", "/b"]), [true, false]);
        }
    }
    assert_eq!(held(&manifest("match: [{uri: {prefix: /a}, ignoreUriCase: false}]")), [""; 0]);
}

#[test]
fn hosts_that_only_a_gateway_bounds_hold_and_so_do_prefixes_of_whole_elements() {
    let wild = |more: &str| format!("{HEAD}  service: {{port: 80, hosts: [\"*\"]{more}}}\n{TAIL}");
    assert_eq!(held(&wild("")), [""; 0], "every host is what it says");
    assert_eq!(held(&wild(", gateways: [istio-system/public]")), ["spec.service.hosts"]);
    assert_eq!(held(&wild(", gatewayRefs: [{name: public}]")), ["spec.service.hosts"]);
    assert_eq!(held(&manifest("gateways: [istio-system/public]")), [""; 0], "its hosts are named");
    let elements = manifest("match: [{uri: {prefix: /api}}]").replace("spec:\n", "spec:\n  provider: gatewayapi:v1\n");
    assert_eq!(held(&elements), ["spec.service.match[0].uri.prefix"], "/apix is another element");
    assert_eq!(held(&elements.replace("/api}", "/api/}")), [""; 0]);
}
