//! A/B/n: one document, several canaries.

use rollout::release::integrations::HookKind;
use rollout::routing::table::WeightPpm;

use super::directory::{put, start, summary};
use super::*;

fn plans(text: &str) -> Vec<Plan> {
    let loaded = read("f.yaml", text);
    let refused: Vec<_> = loaded.documents.iter().filter_map(|document| document.result.as_ref().err()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    loaded.documents.iter().flat_map(|document| document.plans().to_vec()).collect()
}

fn refused(from: &str, to: &str) -> String {
    let text = VERSIONS.replacen(from, to, 1);
    assert_ne!(text, VERSIONS, "{from}");
    let loaded = read("f.yaml", &text);
    let problems = loaded.documents.iter().filter_map(|document| document.result.as_ref().err()).flatten();
    problems.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_version_is_a_canary_with_a_lane_rules_an_upstream_and_a_gate_of_its_own() {
    let [blue, green] = &plans(VERSIONS)[..] else { panic!("two plans") };
    assert_eq!([blue.id.as_str(), green.id.as_str()], ["prod/web.blue", "prod/web.green"]);
    assert_eq!([blue.canary.as_str(), green.canary.as_str()], ["web-blue", "web-v3"]);
    assert_eq!([blue.primary.as_str(), green.primary.as_str()], ["web-primary"; 2]);
    assert_eq!([blue.rules.len(), green.rules.len()], [0, 1]);
    for (n, plan) in [blue, green].into_iter().enumerate() {
        let lane = plan.scope.lane.as_ref().unwrap();
        assert_eq!(
            (lane.of().as_str(), lane.width().ppm(), lane.from().ppm()),
            ("prod/web", 500_000, n as u32 * 500_000)
        );
        assert_eq!(plan.scope.hosts[..2], ["web", "web.prod"], "the service's names, not the version's");
        assert_eq!(percents(plan), [5.0, 20.0, 40.0], "of all traffic");
        let gates: Vec<_> = plan.outside.hooks.iter().filter(|hook| hook.target == HookTarget::Gate).collect();
        assert_eq!((gates.len(), gates[0].name.as_str(), gates[0].kind), (1, "winner", HookKind::ConfirmPromotion));
        assert!(plan.sticky.is_some());
    }
    assert_eq!(blue.most(), WeightPpm::new(500_000).unwrap());
}

#[test]
fn queries_can_name_the_version() {
    let queries: Vec<_> = plans(VERSIONS).iter().map(|plan| plan.outside.metrics[0].query.clone()).collect();
    let query = |version| format!("sum(rate(orders_total{{app=\"web\", version=\"{version}\"}}[1m]))");
    assert_eq!(queries, [query("blue"), query("green")]);
    let single = VERSIONS.replace("\n  versions:\n    - name: blue\n    - name: green\n      upstream: web-v3\n      match:\n        - headers:\n            x-version:\n              exact: green\n  winner: gate", "");
    assert_eq!(plan_of(&single).outside.metrics[0].query, query("canary"));
}

#[test]
fn the_first_that_is_proven_wins_where_the_manifest_says_so() {
    let plans = plans(&VERSIONS.replace("winner: gate", "winner: first"));
    assert!(plans.iter().all(|plan| !plan.outside.has(HookKind::ConfirmPromotion)));
}

#[test]
fn what_several_versions_cannot_have_is_refused_where_it_stands() {
    for (from, to, summary) in [
        (
            "[5, 20, 40]",
            "[5, 20, 60]",
            "f.yaml:24:26: spec.analysis.stepWeights[2]: 60 is more than 50 %, an equal part",
        ),
        (
            "stepWeights: [5, 20, 40]",
            "iterations: 3",
            "spec.analysis.iterations: without a match would give all traffic",
        ),
        ("stepWeights: [5, 20, 40]", "stepWeights: [5]\n    bakeTime: 5m", "f.yaml:25:15: spec.analysis.bakeTime: "),
        (
            "winner: gate",
            "winner: gate\n  promotion: {mode: swap}",
            "spec.promotion.mode: swap would change the primary",
        ),
        (
            "primary: web-primary",
            "primary: web-primary\n    canary: web-x",
            "f.yaml:10:13: spec.upstreams.canary: \"web-x\" is given beside versions",
        ),
        (
            "  analysis:",
            "  analysis:\n    match: [{path: {exact: /}}]",
            "spec.analysis.match: is given beside versions",
        ),
        ("- name: blue", "- name: green", "f.yaml:12:7: spec.versions[1].name: green is the name of one above it"),
        ("- name: blue", "- name: a.b", "spec.versions[0].name: \"a.b\" is not a valid version name; give 1 to 63"),
        ("- name: blue", "- name: primary", "spec.versions[0].name: \"primary\" is not a valid version name"),
        ("- name: blue", "- upstream: web-v3\n      name: blue", "spec.versions: name the upstream web-v3 twice"),
        ("- name: blue", "- upstream: web-primary\n      name: blue", "is also the primary"),
        ("- name: blue\n    ", "", "spec.versions: has 1 items; there must be 2 to 8"),
        (
            "- name: blue",
            "- name: blue\n      match: [{ headers: { x-version: { exact: green } } }]",
            "spec.versions: give web.blue and web.green the same match; web.green would never get a request",
        ),
        ("winner: gate", "winner: best", "f.yaml:18:11: spec.winner: \"best\" is not supported; use gate, first"),
        ("name: audit", "name: winner", "spec.versions: makes a stored gate \"winner\" for each version"),
        (
            "upstream: web-v3",
            "upstraem: web-v3",
            "spec.versions[1].upstraem: is not a field of spec.versions[1]; did you mean upstream?",
        ),
    ] {
        let problems = refused(from, to);
        assert!(problems.contains(summary), "{summary}\nis not in\n{problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
    let alone = OWN.replacen("spec:", "spec:\n  winner: first", 1);
    let loaded = read("f.yaml", &alone);
    assert!(format!("{:?}", loaded.documents[0].result).contains("has no effect without versions"));
}

#[test]
fn flaggers_kind_has_one_canary_at_a_time() {
    let text = WEIGHTED.replacen("  analysis:\n", "  versions: []\n  analysis:\n", 1);
    let loaded = read("f.yaml", &text);
    assert!(format!("{loaded:?}").contains("Flagger has one canary at a time"));
}

#[test]
fn two_documents_of_one_name_or_scope_are_refused_also_among_versions() {
    let other = VERSIONS.split("---").next().unwrap();
    let twice =
        format!("{VERSIONS}---\n{}", other.replace("name: blue", "name: red").replace("name: green", "name: pink"));
    assert!(report(&[read("f.yaml", &twice)], true).to_string().contains("prod/web is also defined in f.yaml"));
    let clash = format!("{VERSIONS}---\n{}", OWN.replace("{ name: pay }", "{ name: web.blue, namespace: prod }"));
    let summary = report(&[read("f.yaml", &clash)], true).to_string();
    assert!(summary.contains("prod/web.blue is also defined in f.yaml"), "{summary}");
    let summary = report(&[read("f.yaml", VERSIONS)], true).to_string();
    assert!(summary.ends_with("2 accepted, 0 accepted with warnings, 0 refused, 0 skipped\n"), "{summary}");
}

#[test]
fn a_directory_keeps_the_versions_of_a_document_that_is_wrong_and_lets_those_go_that_left() {
    let (folder, mut directory) = start();
    let mut scan = |text: &str| {
        put(folder.path(), "web.yaml", text);
        [summary(&directory.scan()), summary(&directory.scan()), summary(&directory.scan())]
    };
    assert_eq!(scan(VERSIONS), ["+web.blue +web.green", "", ""]);
    assert_eq!(scan(&VERSIONS.replace("winner: gate", "winner: zzz")), ["!", "!", "!"]);
    // By name: green has blue's lane, and red what green's was.
    assert_eq!(scan(&VERSIONS.replace("- name: blue", "- name: red")), ["+web.green +web.red", "-web.blue", ""]);
    let (blue, green) = VERSIONS.split_once("    - name: green").unwrap();
    let (green, rest) = green.split_once("  winner").unwrap();
    let (head, _) = blue.split_once("    - name: blue").unwrap();
    assert_eq!(scan(VERSIONS), ["+web.blue +web.green", "-web.red", ""]);
    let other_order = format!("{head}    - name: green{green}    - name: blue\n  winner{rest}");
    assert_eq!(scan(&other_order), ["", "", ""], "another order is no change");
    let single = "apiVersion: serin.dev/v1alpha1\nkind: Canary\nmetadata: {name: web, namespace: prod}\nspec: {analysis: {stepWeights: [5]}}\n";
    assert_eq!(scan(single), ["", "+web -web.blue -web.green", ""], "what comes waits for those who leave");
    assert_eq!(scan(VERSIONS), ["", "+web.blue +web.green -web", ""]);
}
