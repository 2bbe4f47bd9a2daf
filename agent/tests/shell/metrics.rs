//! /metrics: OpenMetrics text that a strict reader takes, with the numbers that the API shows.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use rollout::report::ToAgent;
use rollout::table::Version;

use crate::support::agent::TestAgent;
use crate::support::worker::{Worker, report};

/// Each family's type, after every line was checked.
fn read(page: &str) -> BTreeMap<String, String> {
    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let body = page.strip_suffix("# EOF\n").expect("the page ends with EOF");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.insert(rest.split_once(' ').unwrap().0.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(value.is_finite(), "{line}");
            assert!(samples.insert(sample.to_owned()), "{sample} twice");
            let name = sample.split('{').next().unwrap();
            let family = name.strip_suffix("_total").unwrap_or(name);
            let kind = types.get(family).unwrap_or_else(|| panic!("{line} has no TYPE before it"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line} is a {kind}");
        }
    }
    assert_eq!(helped, types.keys().cloned().collect());
    types
}

#[tokio::test]
async fn the_page_has_these_families_of_these_types() {
    let agent = TestAgent::start().await;
    let answer = agent.api().request(Method::GET, "/metrics").send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let types = read(&answer.text().await.unwrap());
    let expected = [
        ("serin_agent_malformed_messages", "counter"),
        ("serin_agent_missing_reports", "gauge"),
        ("serin_agent_refused_streams", "counter"),
        ("serin_agent_streams", "gauge"),
        ("serin_canary_failed_checks", "gauge"),
        ("serin_canary_phase", "gauge"),
        ("serin_canary_weight_ratio", "gauge"),
        ("serin_journal_writable", "gauge"),
        ("serin_manifest_problems", "gauge"),
        ("serin_requests", "counter"),
    ];
    for (name, kind) in expected {
        assert_eq!(types.get(name).map(String::as_str), Some(kind), "{name}");
    }
}

#[tokio::test]
async fn the_numbers_are_those_of_the_api() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let of = r#"namespace="prod",name="web""#;
    let p95 = format!(r#"serin_request_duration_p95_seconds{{{of},version="canary"}}"#);
    // Nothing observed is no sample, not a perfect 0.
    assert_eq!(api.metric(&p95).await, None);
    assert_eq!(api.metric(&format!("serin_canary_observed_ratio{{{of}}}")).await, None);
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let before = worker.entry().await.epoch;
    api.ask("releases").await;
    let epoch = worker.entry_above(before).await.epoch;
    for (number, version, good) in [(1, Version::Primary, 30), (2, Version::Canary, 10)] {
        worker.send(&ToAgent::Report(report(number, version, epoch, good))).await;
        worker.ack().await;
    }
    assert_eq!(api.metric(&format!("serin_canary_weight_ratio{{{of}}}")).await, Some(0.1));
    assert_eq!(api.metric(&format!("serin_canary_observed_ratio{{{of}}}")).await, Some(0.25));
    assert_eq!(api.metric(&format!(r#"serin_canary_phase{{{of},phase="Progressing"}}"#)).await, Some(1.0));
    let counted = format!(r#"serin_requests_total{{{of},version="canary",outcome="success"}}"#);
    assert_eq!(api.metric(&counted).await, Some(10.0));
    assert_eq!(api.metric("serin_journal_writable").await, Some(1.0));
    let seconds = api.metric(&p95).await.unwrap();
    assert!((0.005..0.0051).contains(&seconds), "{seconds}");
    let page = api.get("/metrics").await.1;
    let types = read(page.as_str().unwrap());
    assert_eq!(types["serin_request_duration_p95_seconds"], "gauge");
}
