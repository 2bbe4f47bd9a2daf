//! A converted document means what the one before it meant.

use rollout::release::plan::Spec;

use super::super::convert;
use super::*;

/// Every plan of a text, with what the two kinds cannot share taken out.
fn plans(text: &str) -> Vec<Spec> {
    let loaded = read_together(&[("f.yaml".to_owned(), text.to_owned())]).remove(0);
    let read = loaded.documents.iter().map(|document| {
        let refused = document.result.as_ref().err();
        assert!(refused.is_none(), "{refused:#?} in\n{text}");
        document.plan().cloned()
    });
    let alike = |plan: Plan| {
        let mut spec = Spec::from(plan);
        spec.flavour = Flavour::Serin;
        for check in &mut spec.checks {
            // A success rate without bounds always passes, and so does one of at most 100.
            if check.range.min.is_none() && check.metric == Metric::SuccessRate {
                check.range.max = Some(100.0);
            }
        }
        spec
    };
    read.flatten().map(alike).collect()
}

fn same(text: &str) -> String {
    let before = plans(text);
    assert!(!before.is_empty(), "no plan in\n{text}");
    let converted = convert(text).unwrap();
    assert_eq!(plans(&converted), before, "{converted}");
    assert!(!converted.contains("apiVersion: flagger.app"), "{converted}");
    assert_eq!(convert(&converted).unwrap(), converted, "a second time changes nothing");
    converted
}

#[test]
fn every_fixture_keeps_its_plan() {
    let chat = "---\napiVersion: flagger.app/v1beta1\nkind: AlertProvider\nmetadata: {name: chat, namespace: shop}\nspec: {type: rocket, address: \"http://chat/\"}\n";
    for text in [FULL, AB, &format!("{WEIGHTED}{chat}"), FULL_OWN, OWN, EXAMPLE] {
        same(text);
    }
}

#[test]
fn real_manifests_keep_their_plans() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let fixtures = std::env::var_os("SERIN_FIXTURES").map_or_else(|| root.join("../shared/fixtures"), PathBuf::from);
    for part in ["flagger", "user"] {
        for path in std::fs::read_dir(fixtures.join(part)).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("crd.yaml") {
                same(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
}

#[test]
fn what_flagger_takes_for_granted_is_written() {
    let with = |lines: &str| {
        format!(
            "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata:\n  name: web\n  annotations: {{a: b{}}}\nspec:\n  \
             targetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}\n  service: {{port: 80}}\n  analysis:\n    \
             interval: 10s\n    threshold: 3\n{}\n",
            lines.split_once('@').map_or("", |(annotations, _)| annotations),
            lines.split_once('@').map_or(lines, |(_, lines)| lines),
        )
    };
    for (lines, part) in [
        (
            "    stepWeight: 10",
            "    advance: interval\n    guards:\n      action: abort\n      latencyRegression: notify\n",
        ),
        (", serin.dev/guards: pause@    stepWeight: 10", "      action: pause\n      latencyRegression: notify\n"),
        (", serin.dev/guards: notify@    stepWeight: 10", "    guards: notify\n"),
        (", serin.dev/guards: \"off\"@    stepWeight: 10", "    guards: off\n"),
        (", serin.dev/sticky: clientAddress@    stepWeight: 10", "  sticky:\n    clientAddress: true\n"),
        (
            ", serin.dev/promotion-hook: \"http://a/b\"@    stepWeight: 10",
            "  promotion:\n    hook:\n      url: http://a/b\n",
        ),
        ("    iterations: 2\n    mirror: true\n    mirrorWeight: 0", "    mirror: true\n"),
        ("    iterations: 2\n    mirror: true\n    match: [{headers: {x: {exact: a}}}]", "    match:\n"),
        ("    stepWeight: 10\n    metrics: [{name: request-success-rate}]", "          max: 100\n"),
        ("    stepWeight: 10\n    metrics: [{name: request-success-rate, threshold: 99}]", "          min: 99\n"),
        (
            "    stepWeight: 10\n    metrics: [{name: m, query: q, threshold: 9, thresholdRange: {min: 1}}]",
            "    metricsBlindLimit: 2  # tolerated checks without a value: threshold - 1, since to Flagger each has failed\n",
        ),
        ("    stepWeight: 10\n    metrics: [{name: m, query: q}]", "          max: 0\n"),
        (
            "    stepWeight: 10\n    metrics: [{name: request-success-rate, query: q, threshold: 9}]",
            "        threshold: 9\n",
        ),
        (
            ", serin.dev/request-duration-quantile: \"0.99\"@    stepWeight: 10\n    metrics: [{name: request-duration, threshold: 9}]",
            "        quantile: 0.99\n",
        ),
        (
            "    stepWeight: 10\n    metrics: [{name: request-duration, threshold: 9}]",
            "        quantile: 0.95  # Serin's usual one; Flagger takes 0.99\n",
        ),
        ("    stepWeight: 10\n    metrics: [{name: unheard-of}]", "unheard-of"),
    ] {
        let converted = same(&with(lines));
        assert!(converted.contains(part), "{part} is not in\n{converted}");
        assert!(converted.contains("  annotations:\n    a: b\n"), "{converted}");
    }
    let zero = with("    stepWeight: 10").replace("threshold: 3", "threshold: 0");
    assert!(same(&zero).contains("threshold: 1\n"));
    let error =
        convert(&with("    stepWeight: 10\n    metrics: [{name: m, query: q, thresholdRange: {}}]")).unwrap_err();
    assert!(error.to_string().starts_with("spec.analysis.metrics[0]: \"m\" has no bounds"), "{error}");
}

#[test]
fn what_is_not_flaggers_stays_byte_for_byte() {
    let other = "# a note\napiVersion: v1\nkind: ConfigMap   # kept\nmetadata: {name:   a}\ndata: {a: 'x'}\n";
    let text = format!("# above\n\n{}\n---\n{other}---\n{}", FULL.split("---\n").next().unwrap(), OWN);
    let converted = convert(&text).unwrap();
    assert!(converted.starts_with("# above\n\n# Every field"), "{converted}");
    assert!(converted.contains(&format!("---\n{other}---\n{OWN}")), "{converted}");
    for text in ["", "# nothing\n", "---\n", "a: [\n", "apiVersion: v1\nkind: List\nitems: []\n"] {
        assert_eq!(convert(text).unwrap().trim_start_matches("---\n"), text.trim_start_matches("---\n"));
    }
}

#[test]
fn a_list_keeps_its_form() {
    let item: String = AB.lines().filter(|line| !line.starts_with('#')).map(|line| format!("    {line}\n")).collect();
    let converted = same(&format!("apiVersion: v1\nkind: List\nitems:\n  -\n{item}"));
    assert!(converted.contains("kind: List") && converted.contains("- apiVersion: serin.dev/v1alpha1"), "{converted}");
}
