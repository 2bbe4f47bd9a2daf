//! What is valid and hardly meant, and files that are not what their writer thinks.

use super::*;

const OWN_SHORT: &str = "\
apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: { name: pay }
spec:
  service: { hosts: [pay] }
  analysis:
    stepWeights: [10, 50]
    metrics:
      - { name: request-success-rate, thresholdRange: { min: 99 } }
      - { name: request-duration, thresholdRange: { max: 500 } }
";

#[test]
fn a_threshold_in_another_unit_is_doubted_at_its_line() {
    assert_eq!(warnings(OWN_SHORT), [""; 0]);
    for (from, to, expected) in [
        ("min: 99", "min: 0.99", "0.99 means 0.99 %, so 99.01 % may fail; did you mean 99?"),
        ("min: 99", "min: 0.999", "0.999 means 0.999 %, so 99 % may fail; did you mean 99.9?"),
        ("min: 99", "min: 0", "0 means 0 %: any success rate passes, so nothing is checked"),
        ("max: 500", "max: 0", "0 means 0 ms, and no answer is that fast; write milliseconds, such as 500"),
        ("max: 500", "max: 0.5", "0.5 means 0.5 ms; did you mean 500 (milliseconds)?"),
    ] {
        let (row, metric) = if from.starts_with("min") { (9, 0) } else { (10, 1) };
        let end = from.split(':').next().unwrap();
        let column = OWN_SHORT.lines().nth(row - 1).unwrap().find(from).unwrap() + end.len() + 3;
        let place = format!("f.yaml:{row}:{column}: spec.analysis.metrics[{metric}].thresholdRange.{end}: ");
        assert_eq!(warnings(&OWN_SHORT.replace(from, to)), [place + expected], "{to}");
    }
    let older = WEIGHTED.replace("threshold: 99.5", "threshold: 0.995");
    assert_ne!(older, WEIGHTED);
    assert!(warnings(&older).iter().any(|line| line.contains("metrics[1].threshold: 0.995 means 0.995 %")), "{older}");
}

#[test]
fn a_success_rate_of_100_is_doubted_where_it_must_be_proven() {
    let text = OWN_SHORT.replace("min: 99", "min: 100");
    let [warning] = &warnings(&text)[..] else { panic!("{:?}", warnings(&text)) };
    assert!(
        warning.starts_with("f.yaml:9:62: spec.analysis.metrics[0].thresholdRange.min: 100 will not be proven"),
        "{warning}"
    );
    let at_intervals =
        text.replace("analysis:\n", "analysis:\n    advance: interval\n    interval: 1m\n    threshold: 2\n");
    assert_eq!(warnings(&at_intervals), [""; 0]);
}

/// The end of the file is missing, and what is left is valid.
#[test]
fn a_canary_without_metrics_is_doubted() {
    for text in [OWN_SHORT, WEIGHTED] {
        let cut = text.split("    metrics:\n").next().unwrap();
        assert!(cut.len() < text.len());
        let found =
            warnings(cut).into_iter().filter(|line| line.contains("spec.analysis.metrics: is missing: nothing"));
        assert_eq!(found.count(), 1, "{cut}");
    }
}

#[test]
fn files_of_other_tools_and_slips_in_a_kind_are_named() {
    let skipped = |text: &str| {
        let report = report(&[read("f.yaml", text)], true);
        assert_eq!((report.skipped, report.refused), (1, 0), "{report}");
        report.to_string()
    };
    let argo = skipped("apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: a}\nspec: {}\n");
    assert!(argo.contains("f.yaml:2:7: Rollout of argoproj.io is Argo's, an Argo Rollout"), "{argo}");
    assert!(argo.contains("Serin reads Canary of serin.dev/v1alpha1 and of flagger.app/v1beta1"), "{argo}");
    let foreign = skipped("apiVersion: example.com/v1\nkind: canary\nmetadata: {name: a}\n");
    assert!(foreign.contains("canary is not one of our kinds; did you mean Canary?"), "{foreign}");
    for version in ["serin.dev/v1", "serin.dev/v1alpha1", "flagger.app/v1"] {
        let refused =
            report(&[read("f.yaml", &format!("apiVersion: {version}\nkind: canary\nmetadata: {{name: a}}\n"))], true);
        assert_eq!(refused.refused, 1, "{refused}");
        assert!(refused.to_string().contains("did you mean Canary?"), "{refused}");
    }
}

#[test]
fn json_that_is_cut_off_is_a_manifest_if_it_names_ours() {
    for head in ["{\"apiVersion\":\"serin.dev/v1alpha1\",", "{\n  \"apiVersion\" : \"serin.dev/v1alpha1\",\n"] {
        let report = report(&[read("f.yaml", &format!("{head}\"kind\":\"Canary\",\"metadata\":{{"))], true);
        assert_eq!((report.refused, report.skipped), (1, 0), "{report}");
    }
    let report = report(&[read("f.yaml", "{\"a\": [1,2")], true);
    assert_eq!((report.refused, report.skipped), (0, 1), "{report}");
}

#[test]
fn an_empty_file_is_named() {
    for (text, said) in [("", "is empty"), ("\n \n", "is empty"), ("# soon\n---\n", "holds no document")] {
        let report = report(&[read("f.yaml", text)], true);
        assert_eq!(
            report.to_string(),
            format!("f.yaml: skipped, the file {said}\n0 accepted, 0 accepted with warnings, 0 refused, 1 skipped\n")
        );
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "").unwrap();
    let scan = Directory::new(folder.path()).scan();
    assert!(scan.problems.is_empty(), "{scan:?}");
    assert!(
        scan.warnings[0]
            .to_string()
            .ends_with("a.yaml: the file is empty; it is skipped, and canaries that came from it stay"),
        "{scan:?}"
    );
}

#[test]
fn one_canary_in_two_files_of_a_directory_is_refused_in_both() {
    let of = |name: &str, directory: &str| Loaded { directory: Some(directory.into()), ..read(name, OWN_SHORT) };
    let one_agent = report(&[of("d/a.yaml", "d"), of("d/b.yaml", "d")], true);
    assert_eq!((one_agent.refused, one_agent.warned), (2, 0), "{one_agent}");
    assert!(
        one_agent.to_string().contains("also defined in d/b.yaml:1; neither is used until one is removed"),
        "{one_agent}"
    );
    let two_agents = report(&[of("d/a.yaml", "d"), of("e/b.yaml", "e")], true);
    assert_eq!((two_agents.refused, two_agents.warned), (0, 2), "{two_agents}");
    let three = report(&[of("d/a.yaml", "d"), of("e/b.yaml", "e"), of("d/c.yaml", "d")], true);
    assert_eq!((three.refused, three.warned), (2, 1), "the agent's own directory outweighs others: {three}");
}
