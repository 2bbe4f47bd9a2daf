//! Documents that name each other: in one file, in several, missing, wrong and twice.

use super::*;

const CANARY: &str = "\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web, namespace: prod}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {port: 80}
  analysis:
    interval: 1m
    threshold: 3
    stepWeight: 10
    metrics:
      - {name: m, templateRef: {name: errors}, thresholdRange: {max: 1}}
    alerts:
      - {name: a, providerRef: {name: chat, namespace: ops}}
";
const TEMPLATE: &str = "\
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: errors, namespace: prod}
spec: {provider: {type: prometheus, address: \"http://p:9090\"}, query: up}
";
const CHAT: &str = "\
apiVersion: flagger.app/v1beta1
kind: AlertProvider
metadata: {name: chat, namespace: ops}
spec: {type: slack, address: \"http://chat/\"}
";

fn together(files: &[&str]) -> Vec<Loaded> {
    let named: Vec<_> = files.iter().enumerate().map(|(n, text)| (format!("{n}.yaml"), (*text).to_owned())).collect();
    read_together(&named)
}

fn problems(loaded: &[Loaded]) -> Vec<String> {
    let documents = loaded.iter().flat_map(|file| &file.documents);
    documents.filter_map(|document| document.result.as_ref().err()).flatten().map(ToString::to_string).collect()
}

#[test]
fn order_and_files_do_not_matter() {
    for files in [vec![CANARY, TEMPLATE, CHAT], vec![CHAT, TEMPLATE, CANARY]] {
        let loaded = together(&files);
        assert_eq!(problems(&loaded), [""; 0]);
        let plan = loaded.iter().flat_map(|file| &file.documents).find_map(Document::plan).expect("a plan");
        assert_eq!((plan.outside.metrics.len(), plan.outside.alerts.len(), plan.unsupported.len()), (1, 1, 0));
    }
    let one = format!("{CANARY}---\n{TEMPLATE}---\n{CHAT}");
    assert_eq!(plan_of(&one).outside.metrics.len(), 1, "one file by itself can hold all");
}

#[test]
fn what_is_missing_is_refused_naming_what_there_is() {
    let near = TEMPLATE.replace("name: errors", "name: error");
    assert_eq!(
        problems(&together(&[CANARY, &near])),
        [
            "0.yaml:12:19: spec.analysis.metrics[0].templateRef: names the MetricTemplate prod/errors, which does not exist; there are prod/error; did you mean prod/error?",
            "0.yaml:14:19: spec.analysis.alerts[0].providerRef: names the AlertProvider ops/chat, which does not exist; there are none",
        ]
    );
}

#[test]
fn a_file_by_itself_may_name_what_is_elsewhere() {
    let loaded = read("f.yaml", CANARY);
    let plan = loaded.documents[0].plan().expect("a plan");
    let held: Vec<_> = plan.unsupported.iter().map(|unsupported| unsupported.field.as_str()).collect();
    assert_eq!((held, plan.outside.alerts.len()), (vec!["spec.analysis.metrics[0].templateRef"], 0));
    let shown = warnings(CANARY).join("\n");
    assert!(
        shown.contains(
            "the metric \"m\" needs the MetricTemplate prod/errors, which is not in this file; a release holds"
        ),
        "{shown}"
    );
    assert!(shown.contains("names the AlertProvider ops/chat, which is not in this file"), "{shown}");
}

#[test]
fn what_is_refused_or_defined_twice_is_not_used() {
    let wrong = TEMPLATE.replace("type: prometheus", "type: prometeus");
    let found = problems(&together(&[CANARY, &wrong, CHAT])).join("\n");
    assert!(found.contains("names the MetricTemplate prod/errors, which is itself refused: 1.yaml:1"), "{found}");
    assert!(found.contains("did you mean prometheus?"), "{found}");
    let found = problems(&together(&[CANARY, TEMPLATE, TEMPLATE, CHAT]));
    assert_eq!(
        found,
        [
            "0.yaml:12:19: spec.analysis.metrics[0].templateRef: names the MetricTemplate prod/errors, which is defined twice: 1.yaml:1 and 2.yaml:1",
            "1.yaml:1:1: metadata.name: prod/errors is also defined in 2.yaml:1; neither is used until one is removed",
            "2.yaml:1:1: metadata.name: prod/errors is also defined in 1.yaml:1; neither is used until one is removed",
        ]
    );
}

#[test]
fn a_query_that_cannot_be_filled_in_is_refused() {
    let unknown = TEMPLATE.replace("query: up", "query: \"up{ {{ pod }} }\"");
    let found = problems(&together(&[CANARY, &unknown, CHAT])).join("\n");
    assert!(
        found.contains("templateRef: the query of the MetricTemplate prod/errors cannot be rendered: line 1, column 5: {{ pod }} is not known"),
        "{found}"
    );
}

#[test]
fn servers_that_nobody_can_ask_hold_the_release() {
    for kind in ["keptn", "externalmetrics"] {
        let loaded = together(&[CANARY, &TEMPLATE.replace("type: prometheus", &format!("type: {kind}")), CHAT]);
        let plan = loaded[0].documents[0].plan().expect("a plan");
        assert!(plan.unsupported[0].what.contains(&format!("needs a {kind} server")), "{:?}", plan.unsupported);
    }
}

#[test]
fn a_template_that_changes_changes_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("a.yaml", CANARY);
    put("b.yaml", &format!("{TEMPLATE}---\n{CHAT}"));
    let mut directory = Directory::new(folder.path());
    assert_eq!(directory.scan().changed.len(), 1);
    put("b.yaml", &format!("{}---\n{CHAT}", TEMPLATE.replace("query: up", "query: down")));
    let scan = directory.scan();
    assert_eq!(scan.changed[0].outside.metrics[0].query, "down");
    put("b.yaml", CHAT);
    let scan = directory.scan();
    assert!(scan.problems[0].rule.contains("which does not exist"), "{:?}", scan.problems);
    assert_eq!(
        (scan.changed.len(), scan.removed.len(), directory.plans().count()),
        (0, 0, 1),
        "the last good plan stays"
    );
}
