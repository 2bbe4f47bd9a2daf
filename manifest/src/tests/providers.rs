//! `match` as each of Flagger's providers reads it, by what requests it sends to the canary.

use rollout::routing::request::Request;

use super::*;

const HEAD: &str = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop, namespace: test}\nspec:\n";

fn manifest(provider: &str, rules: &str) -> String {
    let provider = if provider.is_empty() { String::new() } else { format!("  provider: {provider}\n") };
    format!(
        "{HEAD}{provider}  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: shop}}\n  service: {{port: 80}}\n  \
         analysis:\n    interval: 1m\n    threshold: 10\n    iterations: 10\n    match: {rules}\n    \
         metrics: [{{name: request-success-rate, thresholdRange: {{min: 99}}}}]\n"
    )
}

/// Which of these requests, written as `header: value` lines, go to the canary.
fn chosen(text: &str, requests: &[&str]) -> Vec<bool> {
    let plan = plan_of(text);
    let fits = |lines: &&str| {
        let pairs: Vec<(&[u8], &[u8])> = lines
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        plan.rules.iter().any(|rule| rule.fits(Request { headers: &pairs, client_address: None }))
    };
    requests.iter().map(fits).collect()
}

/// What holds or is warned about in `match`, in words.
fn said(text: &str) -> Vec<String> {
    let document = read("f.yaml", text).documents.into_iter().next().unwrap();
    let warnings = document.warnings.iter().filter(|warning| warning.field.starts_with("spec.analysis.match"));
    warnings.map(|warning| format!("{}{}", if warning.holds { "holds: " } else { "" }, warning.reason)).collect()
}

/// The converted document means the same.
fn both(provider: &str, rules: &str, requests: &[&str], expected: &[bool]) {
    let text = manifest(provider, rules);
    assert_eq!(chosen(&text, requests), expected, "{provider}: {rules}");
    let converted = convert(&text).unwrap();
    assert_eq!(chosen(&converted, requests), expected, "converted: {converted}");
}

#[test]
fn a_canary_cookie_of_nginx_is_a_name_and_its_value_always() {
    let rules = "[{headers: {x-canary: {exact: insider}}}, {headers: {cookie: {exact: canary}}}]";
    let requests = [
        "cookie: a=b; canary=always",
        "cookie: canary=never",
        "cookie: canary",
        "cookie: canary=yes",
        "x-canary: insider",
        "x-canary: insiders",
        "x-canary: always",
        "x-canary: no\ncookie: canary=always",
        "a: b",
    ];
    both("nginx", rules, &requests, &[true, false, false, false, true, false, false, true, false]);
    assert!(said(&manifest("nginx", rules)).is_empty());
    // Istio's own reading is the whole header.
    both("istio", rules, &requests, &[false, false, true, false, true, false, false, false, false]);
}

#[test]
fn nginx_searches_for_a_pattern_and_knows_always_and_never() {
    let agent = "[{headers: {user-agent: {regex: \"Firefox|^curl/[78]\"}}}]";
    let agents = ["user-agent: Mozilla Firefox/9", "user-agent: curl/8.1", "user-agent: my curl/8.1", "user-agent: x"];
    both("nginx", agent, &agents, &[true, true, false, false]);
    both("istio", agent, &agents, &[false, false, false, false]);
    let both_in_one = "[{headers: {x-beta: {prefix: any}, cookie: {exact: beta}}}]";
    let requests = [
        "x-beta: always",
        "x-beta: anything",
        "cookie: beta=always",
        "x-beta: never\ncookie: beta=always",
        "x-beta: anything\ncookie: beta=always",
    ];
    both("nginx", both_in_one, &requests, &[true, false, true, false, true]);
    assert!(said(&manifest("nginx", both_in_one))[0].contains("x-beta with neither exact nor regex"));
}

#[test]
fn what_nginx_has_no_condition_for_holds() {
    let cases = [
        ("[{headers: {cookie: {regex: \"^a=1$\"}}}]", "a cookie without exact", 0),
        ("[{queryParams: {beta: {exact: a}}, headers: {x: {exact: a}}}]", "has queryParams", 1),
        ("[{headers: {x: {exact: a}}}, {headers: {y: {exact: b}}}]", "names 2 headers", 2),
    ];
    for (rules, words, count) in cases {
        let text = manifest("nginx", rules);
        assert!(
            said(&text).iter().any(|line| line.starts_with("holds: ") && line.contains(words)),
            "{:?}",
            said(&text)
        );
        assert_eq!(plan_of(&text).rules.len(), count);
        assert!(!plan_of(&text).unsupported.is_empty());
    }
}

#[test]
fn contour_gloo_and_appmesh_have_one_route_with_all_conditions() {
    let two = "[{headers: {x-a: {exact: a}}}, {headers: {x-b: {exact: b}}}]";
    let requests = ["x-a: a\nx-b: b", "x-a: a", "x-b: b"];
    for provider in ["contour", "gloo", "appmesh", "appmesh:v1beta2"] {
        both(provider, two, &requests, &[true, false, false]);
        assert!(said(&manifest(provider, two))[0].contains("must fit as well"));
    }
    for provider in ["istio", "gatewayapi:v1", ""] {
        both(provider, two, &requests, &[true, true, true]);
    }
    let parts = "[{headers: {x-a: {suffix: a.b}}}]";
    let values = ["x-a: a.b", "x-a: 1a.b2", "x-a: acb"];
    both("contour", parts, &values, &[true, true, false]);
    both("istio", parts, &values, &[true, false, false]);
    both("gloo", parts, &values, &[false, false, false]);
    both("gloo", "[{headers: {x-a: {regex: a.b}}}]", &values, &[true, false, true]);
    both("contour", "[{headers: {x-a: {regex: a.b}}}]", &values, &[false, false, false]);
    for (provider, rules) in [("gloo", parts), ("contour", "[{headers: {x-a: {regex: a.b}}}]")] {
        assert!(said(&manifest(provider, rules))[0].starts_with("holds: "), "{provider}");
    }
}

#[test]
fn a_provider_without_match_holds_and_a_missing_one_is_named() {
    let rules = "[{headers: {cookie: {exact: canary}}}]";
    for provider in ["skipper", "traefik", "apisix", "kuma", "linkerd", "knative", "osm", "smi:v1alpha2"] {
        let said = said(&manifest(provider, rules));
        assert!(
            said[0].starts_with(&format!("holds: is not acted on by Flagger with provider {provider}")),
            "{said:?}"
        );
    }
    let missing = said(&manifest("", rules));
    assert!(missing[0].contains("since spec.provider is missing"), "{missing:?}");
    assert!(said(&manifest("", "[{headers: {x-canary: {exact: insider}}}]")).is_empty(), "the same for all");
    assert!(said(&manifest("kubernetes", rules))[0].contains("is dropped by Flagger"));
}
