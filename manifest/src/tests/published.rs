//! docs/guards.md says what the reader reads: its examples load, its defaults are the defaults, no key is missing.

use rollout::judgement::guards::GuardRule;
use rollout::release::plan::Spec;
use serde_json::Value;

use super::{plan_of, warnings};

const PAGE: &str = include_str!("../../../docs/guards.md");

fn examples() -> Vec<&'static str> {
    PAGE.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// A Canary with an objective of 99 % and a limit of 500 ms, and these lines in its analysis.
fn with(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: serin.dev/v1alpha1\nkind: Canary\nmetadata: {{ name: web, namespace: prod }}\nspec:\n  analysis:\n    \
         stepWeights: [1, 10]\n{lines}    metrics:\n      - {{ name: request-success-rate, thresholdRange: {{ min: 99 }} }}\n      \
         - {{ name: request-duration, thresholdRange: {{ max: 500 }} }}\n"
    )
}

#[test]
fn the_first_example_loads_without_a_word() {
    let first = examples()[0];
    assert_eq!(warnings(first), [""; 0]);
    let guards = &plan_of(first).guards;
    assert!((guards.alpha - 0.001).abs() < 1e-12 && guards.guards.len() == 5, "{guards:?}");
}

#[test]
fn the_second_says_every_default() {
    assert_eq!(warnings(&with(examples()[1])), [""; 0]);
    assert_eq!(spec_of(&with(examples()[1])), spec_of(&with("")));
}

/// Half of one minus 0.99 is not quite 0.005.
fn spec_of(text: &str) -> Spec {
    let mut spec = Spec::from(plan_of(text));
    for guard in &mut spec.guards.guards {
        if let GuardRule::Regression { floor_rate, .. } = &mut guard.rule {
            *floor_rate = (*floor_rate * 1e9).round() / 1e9;
        }
    }
    spec
}

#[test]
fn no_key_is_missing() {
    fn keys(schema: &Value, found: &mut Vec<String>) {
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            found.push(key.clone());
            keys(below, found);
        }
        schema["anyOf"].as_array().into_iter().flatten().for_each(|one| keys(one, found));
    }
    let schema: Value = serde_json::from_str(include_str!("../../../docs/schema/serin.dev-v1alpha1.json")).unwrap();
    let analysis = &schema["oneOf"][0]["properties"]["spec"]["properties"]["analysis"]["properties"];
    let mut found = Vec::new();
    ["guards", "certificate"].iter().for_each(|key| keys(&analysis[key], &mut found));
    assert!(found.len() > 15, "{found:?}");
    for key in found {
        assert!(examples()[1].contains(&format!("{key}:")), "{key}");
    }
}
