//! `serin simulate`: real files, few and short runs.

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{Ran, ran, serin};

const MANIFEST: &str = "\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: web
  namespace: prod
spec:
  targetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  service: { port: 80 }
  analysis:
    interval: 10s
    threshold: 2
    stepWeights: [10, 50]
    metrics:
      - { name: request-success-rate, interval: 10s, thresholdRange: { min: 99 } }
      - { name: request-duration, interval: 10s, thresholdRange: { max: 500 } }
";

async fn simulate(manifest: &str, args: &[&str]) -> Ran {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("web.yaml");
    std::fs::write(&file, manifest).unwrap();
    let quick = ["simulate", "-f", file.to_str().unwrap(), "--runs", "3", "--rps", "200", "--workers", "2"];
    let args: Vec<&str> = quick.iter().chain(args).copied().collect();
    ran(serin(&args)).await
}

#[tokio::test]
async fn a_fault_is_cut_long_before_the_other_tools_would() {
    let ran = simulate(MANIFEST, &["--fault", "20%", "-o", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((summary["canary"].as_str(), summary["fault"]["failures"].as_f64()), (Some("prod/web"), Some(0.2)));
    let rules = summary["rules"].as_array().unwrap();
    let names: Vec<&str> = rules.iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert_eq!(names, ["serin", "Flagger 10s x 2", "Argo 10s, failureLimit 0", "Argo 10s, failureLimit 3"]);
    let after = |rule: &Value| rule["faulty"]["abortedAfterMs"]["median"].as_u64();
    let bad = |rule: &Value| rule["faulty"]["badResponses"]["median"].as_u64().unwrap();
    assert_eq!(rules[0]["faulty"]["abortProbability"], 1.0);
    assert!(after(&rules[0]).unwrap() < 3_000 && bad(&rules[0]) < 20, "{:#}", rules[0]);
    assert_eq!((after(&rules[1]), after(&rules[2]), after(&rules[3])), (Some(30_000), Some(10_000), None));
    assert!(bad(&rules[1]) > 80, "{:#}", rules[1]);
    // The first interval is the warm-up's: until the second nothing is known of the canary's latency.
    for (rule, promoted_after_ms) in rules.iter().zip([30_000, 20_000]) {
        assert_eq!((rule["healthy"]["aborted"].as_u64(), rule["healthy"]["promoted"].as_u64()), (Some(0), Some(3)));
        assert_eq!(rule["healthy"]["promotedAfterMs"]["median"], promoted_after_ms);
    }
}

#[tokio::test]
async fn the_page_lines_up_and_says_how_far_it_reaches() {
    let ran = simulate(MANIFEST, &["--fault=100%", "--fault-after=5s", "--for=10s", "--seed=9"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "prod/web: 200 requests a second, 2 workers, 0.1% of them fail on a good day; 3 runs from seed 9",
            "fault: 100% of the canary's requests fail at once, from 5s on",
        ]
    );
    assert!(
        lines[3].starts_with("RULE                       ABORTED")
            && lines[4].starts_with("serin                         100%")
    );
    assert!(ran.out.contains("3 runs without one still allow for 100%; the guards' own bound is 1% a release"));
    // On a busy machine it takes long enough for a line of progress.
    let is_plain = ran.err.lines().all(|line| line.starts_with("played "));
    assert!(
        is_plain && !(ran.out.contains('\u{1b}') || ran.err.contains('\u{1b}')),
        "nothing is written over: {}",
        ran.err
    );
}

#[tokio::test]
async fn the_same_seed_gives_the_same_page() {
    let args = ["--fault=5%", "--slow=700ms", "--fails-by=timeout", "--for=8s"];
    let [first, again] = [simulate(MANIFEST, &args).await, simulate(MANIFEST, &args).await];
    assert_eq!((first.code, &first.out), (0, &again.out));
    assert!(first.out.contains("BAD OR SLOW"));
    let other = simulate(MANIFEST, &["--seed=2", "--fault=5%", "--slow=700ms", "--for=8s"]).await;
    assert_ne!(first.out, other.out);
}

/// The objective is one that 20 seconds of 200 requests a second cannot prove.
#[tokio::test]
async fn a_release_that_never_ends_says_why() {
    let own = "apiVersion: serin.dev/v1alpha1\nkind: Canary\nmetadata: { name: web }\nspec:\n  service: { hosts: [web] }\n  \
               analysis: { stepWeights: [10], metrics: [{ name: request-success-rate, thresholdRange: { min: 99.99 } }] }\n";
    let suspended = own.replace("spec:\n", "spec:\n  suspend: true\n").replace("99.99", "99").replace("[10]", "[50]");
    for (manifest, said) in [
        (own.to_owned(), "serin in all 3 runs: still under way after 20s"),
        (suspended.clone(), "serin in all 3 runs: held, because: the manifest says suspend: true"),
    ] {
        let ran = simulate(&manifest, &["--for=20s"]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains(said), "{said} in {}", ran.out);
    }
    let json = simulate(&suspended, &["--for=20s", "-o", "json"]).await;
    let summary: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(summary["rules"][0]["healthy"]["held"][0]["runs"], 3, "{summary:#}");
}

#[tokio::test]
async fn a_step_of_copies_is_left_out_with_a_note() {
    let ran = simulate(&MANIFEST.replace("    threshold: 2\n", "    threshold: 2\n    mirror: true\n"), &[]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("spec.analysis.mirror: copies of requests are not simulated"), "{}", ran.err);
    assert!(!ran.out.contains("held"), "{}", ran.out);
}

#[tokio::test]
async fn wrong_values_are_refused_by_name_and_rule() {
    for (args, parts) in [
        (["--fault", "150%"], ["--fault", "150%", "0% to 100%"]),
        (["--rps", "0"], ["--rps", "0", "0.1 to 100000"]),
        (["--slow", "2h"], ["--slow", "2h", "1ms to 1m"]),
        (["--for", "soon"], ["--for", "soon", "1s to 24h"]),
        (["--workers", "0"], ["--workers", "0", "1..=1000"]),
        (["--fails-by", "magic"], ["--fails-by", "magic", "hang"]),
    ] {
        let ran = ran(serin(&["simulate", "-f", "web.yaml", args[0], args[1]])).await;
        assert_eq!(ran.code, 64, "{args:?}: {}", ran.err);
        parts.iter().for_each(|part| assert!(ran.err.contains(part), "{part} in {}", ran.err));
    }
}

#[tokio::test]
async fn files_that_cannot_be_played_say_why() {
    let iterations = MANIFEST.replace("stepWeights: [10, 50]", "iterations: 5");
    let two = format!("{MANIFEST}---\n{}", MANIFEST.replace("name: web", "name: api"));
    for (manifest, args, code, part) in [
        (MANIFEST.replace("min: 99", "min: 199"), &[][..], 1, "thresholdRange.min"),
        (iterations, &[], 1, "spec.analysis.iterations"),
        ("apiVersion: v1\nkind: Pod\nmetadata: { name: x }\n".into(), &[], 1, "holds no Canary"),
        (two.clone(), &[], 64, "prod/web, prod/api"),
        (two, &["shop"], 1, "no Canary shop"),
    ] {
        let ran = simulate(&manifest, args).await;
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
    let missing = ran(serin(&["simulate", "-f", "no/such.yaml"])).await;
    assert!(missing.code == 1 && missing.err.contains("No such file"), "{}", missing.err);
}
