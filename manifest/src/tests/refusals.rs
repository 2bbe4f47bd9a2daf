//! A table: one mistake in a valid file, and the line that names it.

use super::super::{Document, read};

/// Valid; each case changes one place.
const OWN: &str = "\
apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: {name: web, namespace: prod}
spec:
  service: {hosts: [web.example.com]}
  analysis:
    interval: 1m
    threshold: 3
    stepWeights: [10, 20, 30]
    metrics:
      - name: unknown-metric
        thresholdRange: {min: 1}
      - name: request-success-rate
        thresholdRange: {min: 99}
";

const FLAGGER: &str = "\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web, namespace: prod}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {port: 80}
  analysis:
    interval: 1m
    threshold: 3
    maxWeight: 50
    stepWeight: 10
    metrics:
      - name: request-success-rate
        thresholdRange: {min: 99}
";

fn refusals(text: &str) -> Vec<String> {
    let refused = |document: Document| document.result.err().unwrap_or_default();
    read("f.yaml", text).documents.into_iter().flat_map(refused).map(|problem| problem.to_string()).collect()
}

fn check(base: &str, from: &str, to: &str, expected: &str) {
    assert!(base.contains(from), "the base has no {from:?}");
    let text = base.replacen(from, to, 1);
    let found = refusals(&text);
    assert_eq!(found, [expected], "after {from:?} became {to:?}:\n{text}");
}

#[test]
fn the_bases_are_valid() {
    assert_eq!(refusals(OWN), [""; 0]);
    assert_eq!(refusals(FLAGGER), [""; 0]);
}

/// Infinity is no bound: everything, or nothing, would pass it.
#[test]
fn a_number_must_be_finite_wherever_one_stands() {
    let digits = "9".repeat(309);
    for number in ["1e999", "-1e999", ".inf", "+.Inf", "-.INF", ".nan", ".NaN", "inf", "NaN", &digits] {
        for (base, from, to, field) in [
            (OWN, "{min: 1}", "{min: NUMBER}", "spec.analysis.metrics[0].thresholdRange.min"),
            (OWN, "{min: 99}", "{max: NUMBER, min: 99}", "spec.analysis.metrics[1].thresholdRange.max"),
            (OWN, "threshold: 3", "threshold: NUMBER", "spec.analysis.threshold"),
            (OWN, "[10, 20, 30]", "[10, 20, NUMBER]", "spec.analysis.stepWeights[2]"),
            (FLAGGER, "{min: 99}", "{min: NUMBER}", "spec.analysis.metrics[0].thresholdRange.min"),
            (FLAGGER, "maxWeight: 50", "maxWeight: NUMBER", "spec.analysis.maxWeight"),
        ] {
            let text = base.replacen(from, &to.replace("NUMBER", number), 1);
            let found = refusals(&text);
            let rule =
                if number.to_lowercase().contains("nan") { "expected a number" } else { "must be a finite number" };
            let named = |problem: &String| problem.contains(&format!("{field}: ")) && problem.contains(rule);
            assert!(found.iter().any(named), "{number} for {field}: {found:?}");
        }
    }
}

#[test]
fn wrong_types_name_what_was_found() {
    for (from, to, expected) in [
        (
            "threshold: 3",
            "threshold: ten",
            "f.yaml:8:16: spec.analysis.threshold: expected a number, found the text \"ten\"",
        ),
        (
            "threshold: 3",
            "threshold: \"3\"",
            "f.yaml:8:16: spec.analysis.threshold: expected a number, found the text \"3\"",
        ),
        ("[10, 20, 30]", "10", "f.yaml:9:18: spec.analysis.stepWeights: expected a list, found the number 10"),
        (
            "[10, 20, 30]",
            "[10, x]",
            "f.yaml:9:23: spec.analysis.stepWeights[1]: expected a number, found the text \"x\"",
        ),
        (
            "[10, 20, 30]",
            "[10, .nan]",
            "f.yaml:9:23: spec.analysis.stepWeights[1]: expected a number, found the text \".nan\"",
        ),
        (
            "name: web,",
            "name: 12,",
            "f.yaml:3:18: metadata.name: expected a text, found the number 12; put it in quotes",
        ),
        (
            "interval: 1m",
            "interval: 30",
            "f.yaml:7:15: spec.analysis.interval: expected a time span with its unit, such as 30s or 1m30s, found the number 30",
        ),
        (
            "{min: 99}",
            "99",
            "f.yaml:14:25: spec.analysis.metrics[1].thresholdRange: expected a map, found the number 99",
        ),
        (
            "service: {",
            "suspend: yes\n  service: {",
            "f.yaml:5:12: spec.suspend: expected true or false, found the text \"yes\"",
        ),
    ] {
        check(OWN, from, to, expected);
    }
}

#[test]
fn values_out_of_their_rules_are_named_with_line_and_rule() {
    for (from, to, expected) in [
        (
            "[10, 20, 30]",
            "[10, 20, 20]",
            "f.yaml:9:27: spec.analysis.stepWeights[2]: 20 must be greater than the step before it (and the first greater than 0)",
        ),
        ("[10, 20, 30]", "[10, 101]", "f.yaml:9:23: spec.analysis.stepWeights[1]: 101 must be from 0 to 100 percent"),
        ("[10, 20, 30]", "[-1, 10]", "f.yaml:9:19: spec.analysis.stepWeights[0]: -1 must be from 0 to 100 percent"),
        (
            "[10, 20, 30]",
            "[0.00001]",
            "f.yaml:9:19: spec.analysis.stepWeights[0]: 0.00001 has more than four decimals; a share of traffic is counted in millionths",
        ),
        ("[10, 20, 30]", "[]", "f.yaml:9:5: spec.analysis.stepWeights: 0 items; there must be 1 to 256"),
        ("interval: 1m", "interval: 100ms", "f.yaml:7:15: spec.analysis.interval: 100ms must be from 1s to 24h"),
        (
            "interval: 1m",
            "interval: soon",
            "f.yaml:7:15: spec.analysis.interval: \"soon\" is not a time span; write numbers with units (ms, s, m, h), such as 30s, 1m30s or 500ms",
        ),
        (
            "threshold: 3",
            "threshold: 0",
            "f.yaml:8:16: spec.analysis.threshold: 0 must be a whole number from 1 to 2147483647",
        ),
        (
            "{min: 99}",
            "{min: 101}",
            "f.yaml:14:31: spec.analysis.metrics[1].thresholdRange.min: 101 must be from 0 to 100",
        ),
        (
            "{min: 99}",
            "{min: 9, max: 8}",
            "f.yaml:14:31: spec.analysis.metrics[1].thresholdRange.min: 9 is greater than max, 8",
        ),
        (
            "{min: 99}",
            "{}",
            "f.yaml:13:9: spec.analysis.metrics[1]: has no bounds, so it checks nothing; give thresholdRange with min, max or both",
        ),
        (
            "web.example.com",
            "web.example.com:80",
            "f.yaml:5:21: spec.service.hosts[0]: \"web.example.com:80\" is not a valid host; write a name or address without port or scheme, *.suffix, or * for any",
        ),
        (
            "name: web,",
            "name: we b,",
            "f.yaml:3:18: metadata.name: \"we b\" contains ' '; allowed are letters, digits and . _ -",
        ),
        (
            "service: {",
            "upstreams: {primary: a, canary: a}\n  service: {",
            "f.yaml:5:35: spec.upstreams.canary: a is also the primary; the two must be different upstreams",
        ),
        (
            "service: {",
            "promotion: {mode: swop}\n  service: {",
            "f.yaml:5:21: spec.promotion.mode: \"swop\" is not supported; use copy, swap; did you mean swap?",
        ),
        (
            "service: {",
            "promotion: {mode: swap, hook: {url: \"http://a/\"}}\n  service: {",
            "f.yaml:5:27: spec.promotion.hook: has no effect when promotion is swap: the roles change and nothing is deployed; remove one",
        ),
        (
            "service: {",
            "sticky: {cookie: a, header: b}\n  service: {",
            "f.yaml:5:3: spec.sticky: must name exactly one key: header: NAME, cookie: NAME or clientAddress: true",
        ),
        ("hosts:", "pathPrefix: shop, hosts:", "f.yaml:5:25: spec.service.pathPrefix: \"shop\" must begin with /"),
    ] {
        check(OWN, from, to, expected);
    }
}

#[test]
fn unknown_and_missing_fields_are_named_with_the_likely_one() {
    for (from, to, expected) in [
        (
            "stepWeights: [10, 20, 30]",
            "stepWieghts: [10]\n    stepWeight: 10",
            "f.yaml:9:5: spec.analysis.stepWieghts: is not a field of spec.analysis; did you mean stepWeights?",
        ),
        (
            "thresholdRange: {min: 99}",
            "thresholdRange: {min: 99, mx: 3}",
            "f.yaml:14:35: spec.analysis.metrics[1].thresholdRange.mx: is not a field of spec.analysis.metrics[1].thresholdRange; did you mean max?",
        ),
        (
            "threshold: 3",
            "threshold: 3\n    threshold: 4",
            "f.yaml:9:5: spec.analysis.threshold: is given twice, first on line 8; remove one",
        ),
        (
            "    stepWeights: [10, 20, 30]\n",
            "",
            "f.yaml:6:3: spec.analysis: must have one of stepWeight, stepWeights, steps or iterations",
        ),
        (
            "threshold: 3",
            "threshold: 3\n    iterations: 3",
            "f.yaml:9:17: spec.analysis.iterations: 3 is given beside stepWeights; keep only one of stepWeight, stepWeights, steps and iterations",
        ),
        ("metadata: {name: web,", "metadata: {", "f.yaml:3:1: metadata.name: is missing; it is required"),
        (
            "kind: Canary",
            "kind: Canery",
            "f.yaml:2:7: kind: \"Canery\" is not a supported kind of serin.dev/v1alpha1; did you mean Canary?",
        ),
        (
            "serin.dev/v1alpha1",
            "serin.dev/v2",
            "f.yaml:1:13: apiVersion: \"serin.dev/v2\" has no Canary that is supported; use flagger.app/v1beta1 or serin.dev/v1alpha1",
        ),
        (
            "metadata: {",
            "metadata: {annotations: {serin.dev/promotion: swap}, ",
            "f.yaml:3:47: metadata.annotations[\"serin.dev/promotion\"]: \"swap\" belongs to an annotation for flagger.app manifests; this kind has the field in spec",
        ),
    ] {
        check(OWN, from, to, expected);
    }
}

#[test]
fn match_rules_are_checked_condition_by_condition() {
    let rule = |rule: &str| format!("threshold: 3\n    match: [{rule}]");
    for (written, expected) in [
        ("{}", "f.yaml:9:13: spec.analysis.match[0]: has no condition and would match every request"),
        (
            "{headers: {x: {exact: a, prefix: b}}}",
            "f.yaml:9:24: spec.analysis.match[0].headers.x: must have exactly one of exact, prefix, suffix, regex, present: true",
        ),
        (
            "{headers: {x: {prefix: \"\"}}}",
            "f.yaml:9:36: spec.analysis.match[0].headers.x.prefix: \"\" is empty and would match every value; use `present` if that is meant",
        ),
        (
            "{headers: {x: {regex: \"a(b\"}}}",
            "f.yaml:9:35: spec.analysis.match[0].headers.x.regex: \"a(b\" is not a usable regular expression (RE2 syntax): unclosed group",
        ),
        (
            "{headers: {x: {exakt: a}}}",
            "f.yaml:9:28: spec.analysis.match[0].headers.x.exakt: is not a field of spec.analysis.match[0].headers.x; did you mean exact?",
        ),
        (
            "{headers: {\"a b\": {exact: a}}}",
            "f.yaml:9:24: spec.analysis.match[0].headers[\"a b\"]: \"a b\" cannot be the name of a header",
        ),
    ] {
        check(OWN, "threshold: 3", &rule(written), expected);
    }
}

#[test]
fn flagger_manifests_are_told_where_our_fields_go() {
    for (from, to, expected) in [
        (
            "service:",
            "promotion: {mode: swap}\n  service:",
            "f.yaml:6:3: spec.promotion: is a field of serin.dev/v1alpha1; here use the annotations serin.dev/promotion and serin.dev/promotion-hook",
        ),
        (
            "  analysis:",
            "  canaryAnalysis: {}\n  analysis:",
            "f.yaml:7:3: spec.canaryAnalysis: was renamed by Flagger; write spec.analysis",
        ),
        (
            "  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n",
            "",
            "f.yaml:4:1: spec.targetRef: is missing; it is required",
        ),
        ("stepWeight: 10", "stepWeight: 0", "f.yaml:11:17: spec.analysis.stepWeight: 0 must be greater than 0"),
        (
            "stepWeight: 10",
            "stepWeight: 0.1",
            "f.yaml:11:17: spec.analysis.stepWeight: 0.1 needs more than 256 steps to reach 50; take larger steps",
        ),
        (
            "metadata: {",
            "metadata: {annotations: {serin.dev/promotoin: swap}, ",
            "f.yaml:3:47: metadata.annotations[\"serin.dev/promotoin\"]: \"swap\" belongs to an unknown annotation; did you mean serin.dev/promotion?",
        ),
        (
            "metadata: {",
            "metadata: {annotations: {serin.dev/sticky: cookies}, ",
            "f.yaml:3:44: metadata.annotations[\"serin.dev/sticky\"]: \"cookies\" is not a valid sticky key; write header:NAME, cookie:NAME or clientAddress",
        ),
        (
            "metadata: {",
            "metadata: {annotations: {serin.dev/promotion-hook: ftp://a}, ",
            "f.yaml:3:52: metadata.annotations[\"serin.dev/promotion-hook\"]: \"ftp://a\" is not a valid URL; write http://host/path or https://host/path",
        ),
        (
            "metrics:",
            "webhooks: [{name: a, url: \"http://a/\", type: pre-rolout}]\n    metrics:",
            "f.yaml:12:50: spec.analysis.webhooks[0].type: \"pre-rolout\" is not supported; use confirm-rollout, pre-rollout, rollout, confirm-traffic-increase, confirm-promotion, post-rollout, rollback, event; did you mean pre-rollout?",
        ),
    ] {
        check(FLAGGER, from, to, expected);
    }
}

#[test]
fn all_problems_of_a_document_are_told_at_once() {
    let text = OWN
        .replace("interval: 1m", "interval: x")
        .replace("threshold: 3", "threshold: y")
        .replace("min: 99", "min: 101");
    let fields: Vec<_> = refusals(&text).iter().map(|line| line.split(": ").nth(1).unwrap().to_owned()).collect();
    assert_eq!(
        fields,
        ["spec.analysis.interval", "spec.analysis.threshold", "spec.analysis.metrics[1].thresholdRange.min"]
    );
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line_and_hides_the_rest() {
    let loaded = read("f.yaml", &format!("{OWN}---\na: [1, 2\nb: 3\n---\n{FLAGGER}"));
    assert!(!loaded.complete);
    assert!(loaded.documents[0].plan().is_some());
    let problem = loaded.documents.last().and_then(|d| d.result.as_ref().err()).and_then(|p| p.first()).unwrap();
    assert!((16..=18).contains(&problem.at.line), "{problem}");
    assert!(problem.to_string().starts_with("f.yaml:1"), "{problem}");
    let large = read("f.yaml", &" ".repeat(1 << 21));
    assert!(large.documents[0].result.as_ref().unwrap_err()[0].rule.contains("at most 1048576"), "{large:?}");
}
