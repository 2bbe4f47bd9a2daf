//! What the door lets in, and the exact words with which it refuses the rest.

mod affinity;
mod convert;
mod directory;
mod doubts;
mod judging;
mod meaning;
mod providers;
mod published;
mod refusals;
mod rules;
mod schema;
mod scopes;
mod sets;
mod versions;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rollout::base::time::Millis;
use rollout::release::integrations::HookTarget;
use rollout::release::plan::{Advance, Flavour, Metric, Plan, Promotion, Strategy};
use rollout::routing::request::StringMatch;
use rollout::routing::table::StickyKey;

use super::*;

const WEIGHTED: &str = include_str!("../../tests/manifests/weighted.yaml");
const AB: &str = include_str!("../../tests/manifests/ab.yaml");
const OWN: &str = include_str!("../../tests/manifests/own.yaml");
const FULL: &str = include_str!("../../tests/manifests/full-flagger.yaml");
const FULL_OWN: &str = include_str!("../../tests/manifests/full-own.yaml");
const VERSIONS: &str = include_str!("../../tests/manifests/versions.yaml");
const EXAMPLE: &str = include_str!("../../../envoy-config/standalone/web.yaml");

/// The only Canary of a file that must load.
pub(super) fn plan_of(text: &str) -> Plan {
    let loaded = read("f.yaml", text);
    let refused: Vec<_> = loaded.documents.iter().filter_map(|document| document.result.as_ref().err()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    loaded.documents.iter().find_map(Document::plan).expect("a Canary").clone()
}

fn warnings(text: &str) -> Vec<String> {
    read("f.yaml", text).documents.iter().flat_map(|document| &document.warnings).map(ToString::to_string).collect()
}

fn percents(plan: &Plan) -> Vec<f64> {
    match &plan.strategy {
        Strategy::Steps(weights) => weights.iter().map(|weight| weight.percent()).collect(),
        Strategy::Iterations(_) => panic!("{} has no weights", plan.id),
    }
}

#[test]
fn a_weighted_flagger_canary_keeps_its_meaning() {
    let plan = plan_of(WEIGHTED);
    assert_eq!(plan.id.as_str(), "shop/cart");
    assert_eq!(
        plan.scope.hosts,
        ["cart", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local", "cart.example.com"]
    );
    assert_eq!(plan.scope.path_prefixes, ["/cart"]);
    assert_eq!((plan.primary.as_str(), plan.canary.as_str()), ("cart-primary", "cart-canary"));
    assert_eq!(percents(&plan), [20.0, 40.0, 60.0]);
    assert_eq!((plan.interval, plan.threshold), (Millis::from_secs(30), 5));
    let checks: Vec<_> = plan.checks.iter().map(|c| (c.metric, c.window.0, c.range.min, c.range.max)).collect();
    assert_eq!(
        checks,
        [
            (Metric::SuccessRate, 60_000, Some(99.5), None),
            (Metric::Duration { quantile: 0.95 }, 90_000, None, Some(250.0)),
        ]
    );
    assert_eq!(plan.promotion, Promotion::Copy { hook: None });
}

#[test]
fn nothing_of_a_flagger_canary_is_dropped_in_silence() {
    let shown = warnings(WEIGHTED).join("\n");
    for (place, word) in [
        ("f.yaml:13:7: ", "Deployment is not one of our kinds"),
        ("f.yaml:24:13: spec.provider: ", "Serin rewrites none"),
        ("f.yaml:25:3: spec.targetRef: ", "scales no Deployment"),
        ("f.yaml:26:3: spec.autoscalerRef: ", "scales nothing"),
        ("f.yaml:27:28: spec.progressDeadlineSeconds: ", "sees no pods"),
        ("f.yaml:29:11: spec.service.port: (also targetPort, portDiscovery) ", "Kubernetes services"),
        ("spec.service.gateways: ", "no mesh object"),
        ("spec.service.trafficPolicy: (also timeout) ", "no route is written"),
        ("f.yaml:48:20: spec.analysis.metrics[1].threshold: ", "read as thresholdRange.min"),
        ("f.yaml:49:9: spec.analysis.metrics[2]: ", "serin.dev/request-duration-quantile: \"0.99\""),
        ("f.yaml:62:9: spec.analysis.alerts[0].providerRef: ", "is not in this file"),
    ] {
        assert!(
            shown.lines().any(|line| line.contains(place) && line.contains(word)),
            "{place}{word} is not among\n{shown}"
        );
    }
    assert_eq!(plan_of(WEIGHTED).unsupported, []);
}

#[test]
fn an_ab_test_and_annotations() {
    let plan = plan_of(AB);
    assert_eq!(plan.strategy, Strategy::Iterations(10));
    assert_eq!((plan.rules.len(), plan.unsupported.len()), (2, 0));
    assert_eq!(plan.rules[0].headers[0].0, "cookie");
    assert_eq!(plan.rules[1].query, [("beta".to_owned(), StringMatch::Exact("1".into()))]);
    assert_eq!((plan.primary.as_str(), plan.canary.as_str()), ("search-blue", "search-green"));
    assert_eq!(plan.promotion, Promotion::Swap);
    assert_eq!(plan.sticky, Some(StickyKey::Header("x-user".into())));
    assert_eq!(plan.checks[1].metric, Metric::Duration { quantile: 0.99 });
    assert!(!warnings(AB).iter().any(|line| line.contains("percentile")));
}

#[test]
fn our_own_kind_has_every_field() {
    let plan = plan_of(OWN);
    assert_eq!(plan.id.as_str(), "default/pay");
    assert_eq!(percents(&plan), [0.1, 2.5, 50.0]);
    assert_eq!(plan.scope.path_prefixes, ["/v2"]);
    assert_eq!(plan.scope.hosts.last().map(String::as_str), Some("*.pay.example.com"));
    let rule = &plan.rules[0];
    let count =
        (rule.headers.len(), rule.without_headers.len(), rule.cookies.len(), rule.query.len(), rule.path.is_some());
    assert_eq!(count, (2, 1, 1, 1, true));
    let Promotion::Copy { hook: Some(hook) } = &plan.promotion else { panic!("a hook") };
    let HookTarget::Call(call) = &hook.target else { panic!("a call") };
    assert_eq!(
        (hook.name.as_str(), call.url.as_str(), call.timeout.0),
        ("deploy", "https://deploy.example.com/pay", 120_000)
    );
    assert_eq!(plan.sticky, Some(StickyKey::Cookie("session".into())));
    assert_eq!(plan.checks[0].metric, Metric::Duration { quantile: 0.5 });
    assert_eq!(warnings(OWN), [""; 0]);
}

#[test]
fn the_shipped_example_is_accepted_without_a_word() {
    let plan = plan_of(EXAMPLE);
    assert_eq!(warnings(EXAMPLE), [""; 0]);
    assert_eq!(plan.id.as_str(), "default/web");
    assert!(plan.scope.hosts.iter().any(|host| host == "*"));
    assert!(matches!(plan.advance, Advance::Certificate(_)));
}

#[test]
fn what_cannot_be_honoured_holds_the_release() {
    let with = |line: &str| OWN.replace("    interval: 5s\n", &format!("    interval: 5s\n{line}\n"));
    for (text, field) in [
        (
            OWN.replace("- name: request-duration", "- name: request-duratoin").replace("        quantile: 0.5\n", ""),
            "spec.analysis.metrics[0]",
        ),
        (
            AB.replace("headers:\n          Cookie:", "sourceLabels: { a: b }\n        headers:\n          Cookie:"),
            "spec.analysis.match[0].sourceLabels",
        ),
    ] {
        let held: Vec<_> = plan_of(&text).unsupported.iter().map(|unsupported| unsupported.field.clone()).collect();
        assert_eq!(held, [field], "{text}");
    }
    let off = with("    mirror: false\n    stepWeightPromotion: 0")
        .replace("spec:\n", "spec:\n  suspend: false\n  skipAnalysis: false\n");
    assert_eq!(plan_of(&off).unsupported, []);
}

#[test]
fn a_match_beside_weights_means_another_thing_than_in_flagger() {
    let text = AB.replace("iterations: 10", "stepWeights: [10, 50, 90]\n    maxWeight: 40");
    let plan = plan_of(&text);
    assert_eq!((percents(&plan), plan.rules.len()), (vec![10.0, 50.0], 2));
    let shown = warnings(&text).join("\n");
    assert!(shown.contains("spec.analysis.match: pins those it matches"), "{shown}");
    assert!(
        shown.contains("spec.analysis.maxWeight: is reached by stepWeights[1]; the steps after it are not used"),
        "{shown}"
    );
}

#[test]
fn rules_that_need_what_the_proxy_cannot_know_match_nobody() {
    let text = AB.replace("headers:\n          Cookie:", "sourceLabels: { a: b }\n        headers:\n          Cookie:");
    let rules = plan_of(&text).rules.clone();
    assert_eq!(rules.len(), 1, "the rule that asks for labels is left out: {rules:?}");
}

#[test]
fn one_line_for_each_document_and_a_count() {
    let wrong = WEIGHTED.replace("threshold: 5", "threshold: five");
    let files =
        [read("a.yaml", WEIGHTED), read("b.yaml", OWN), read("c.yaml", &wrong.replace("name: cart", "name: bag"))];
    let shown = report(&files, false).to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], "a.yaml:2: MetricTemplate shop/not-found: accepted");
    assert_eq!(lines[1], "a.yaml:12: Deployment cart: skipped, not one of our kinds");
    assert!(lines[2].starts_with("a.yaml:18: Canary shop/cart: accepted with 10 warnings"), "{shown}");
    assert_eq!(lines[3], "b.yaml:2: Canary default/pay: accepted");
    assert_eq!(
        lines[6],
        "c.yaml:18: Canary shop/bag: refused: 39:16: spec.analysis.threshold: expected a number, found the text \"five\""
    );
    assert_eq!(lines[7], "3 accepted, 1 accepted with warnings, 1 refused, 2 skipped");
}

#[test]
fn what_two_documents_claim_is_refused_in_one_file_and_told_between_files() {
    let apart = report(&[read("a.yaml", OWN), read("b.yaml", OWN)], true);
    assert_eq!((apart.warned, apart.refused), (2, 0));
    assert!(apart.to_string().contains("default/pay is also defined in b.yaml:2"), "{apart}");
    let other = OWN.replace("{ name: pay }", "{ name: bill }");
    for (second, rule) in
        [(OWN, "default/pay is also defined in a.yaml:"), (&other, "is also in the scope of default/")]
    {
        let together = report(&[read("a.yaml", &format!("{OWN}---\n{second}"))], false);
        assert_eq!(together.refused, 2, "{together}");
        assert!(together.lines.iter().all(|line| line.contains(rule)), "{together}");
    }
}

/// The real files of Flagger and of our user, which are not ours to copy: tried wherever they are at hand.
#[test]
fn real_manifests_load_unmodified() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let fixtures = std::env::var_os("SERIN_FIXTURES").map_or_else(|| root.join("../shared/fixtures"), PathBuf::from);
    for part in ["flagger", "user"] {
        let Ok(entries) = std::fs::read_dir(fixtures.join(part)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(".yaml") || name == "crd.yaml" {
                continue;
            }
            let loaded = read(&name, &std::fs::read_to_string(&path).unwrap());
            assert!(loaded.documents.iter().any(|document| document.plan().is_some()), "{name}: {loaded:#?}");
            assert!(loaded.documents.iter().all(|document| document.result.is_ok()), "{name}: {loaded:#?}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,300}") {
        read("f.yaml", &text);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "[-a-z0-9:,\\[\\]{}&*!|>'\"#?% \n\t]{0,200}") {
        read("f.yaml", &text);
    }

    #[test]
    fn no_mutation_of_a_valid_file_makes_it_panic(
        which in 0usize..6,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "[-a-z0-9:,\\[\\]{}&*!|>'\"#?% \n\u{e4}]{0,4}"), 1..6),
    ) {
        let mut text: Vec<char> = [WEIGHTED, AB, OWN, EXAMPLE, FULL, FULL_OWN][which].chars().collect();
        for (at, length, new) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        let loaded = read("f.yaml", &text);
        for document in &loaded.documents {
            if let Err(problems) = &document.result {
                prop_assert!(!problems.is_empty(), "refused without a reason: {}", text);
            }
        }
        let _ = report(&[loaded], true).to_string();
    }
}

#[test]
fn what_is_no_kubernetes_object_is_skipped_and_half_of_one_refused() {
    let of = |text: &str| read("f.yaml", text).documents.remove(0);
    let config = of("admin: {}\nstatic_resources: {}\n");
    assert!(matches!(config.result, Ok(Content::Skipped)) && config.warnings.len() == 1);
    assert!(of("kind: Canary\nspec: {}\n").result.is_err());
    assert!(of("spec: {}\n").result.is_err(), "a Canary that lost its head is no foreign file");
}

#[test]
fn other_kinds_are_told_apart_and_lists_are_taken_apart() {
    let lines = |text: &str| report(&[read("f.yaml", text)], false).to_string();
    let skipped = [
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", "Deployment a: skipped, not one of our kinds"),
        (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n",
            "Kustomization: skipped",
        ),
        ("resources: [a.yaml]\n", "document: skipped, not a Kubernetes object"),
        (
            "apiVersion: v1\nkind: X\na: {kind: Canary}\nb:\n  kind: Canary\nc: [\n",
            "document: skipped, not YAML, and none of our kinds",
        ),
        ("- {op: replace, path: /spec}\n", "document: skipped, not a Kubernetes object"),
        (
            "{{- if .Values.canary }}\napiVersion: flagger.app/v1beta1\n{{- end }}\n",
            "skipped, a Helm template; render it first",
        ),
        (
            "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: \"{{ .Release.Name }}\"}\n",
            "skipped, a Helm template; render it first",
        ),
    ];
    for (text, line) in skipped {
        let shown = lines(text);
        assert!(shown.contains(line) && shown.ends_with(", 0 refused, 1 skipped\n"), "{shown}");
    }
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let item = |text: &str| format!("  -\n{}", indented(text));
    let (first, second) =
        EXAMPLE.split_once("---").unwrap_or((EXAMPLE, "apiVersion: v1\nkind: Service\nmetadata: {name: web}"));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item(first), item(second));
    let shown = lines(&list);
    assert!(shown.contains("Canary default/web: accepted") && shown.contains("Service web: skipped"), "{shown}");
}

#[test]
fn what_no_worker_would_take_is_refused_at_the_door() {
    let rules: String = (0..70).map(|n| format!("\n    - headers: {{ x-user: {{ exact: u{n} }} }}")).collect();
    let text = EXAMPLE.replacen("  analysis:\n", &format!("  analysis:\n    match:{rules}\n"), 1);
    let refused = read("f.yaml", &text).documents.remove(0).result.unwrap_err();
    let shown = refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(shown.contains("spec.analysis.match") && shown.contains("64"), "{shown}");
}
