//! /metrics: OpenMetrics text that a strict reader takes, with the numbers that the API shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use rollout::routing::table::Version;
use rollout::worker::messages::ToAgent;
use serde_json::{Value, json};

use crate::support::agent::{Api, TestAgent, WEB, WEB_PATH};
use crate::support::hook::{HookServer, Reply};
use crate::support::within;
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
            let suffixes = ["", "_total", "_bucket", "_sum", "_count"].into_iter();
            let families = suffixes.filter_map(|suffix| Some((suffix, types.get(name.strip_suffix(suffix)?)?)));
            let (suffix, kind) = families.min_by_key(|(suffix, _)| suffix.len()).expect("a TYPE before each sample");
            let expected: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(expected.contains(&suffix), "{line} is a {kind}");
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
        ("serin_releases", "counter"),
        ("serin_requests", "counter"),
    ];
    for (name, kind) in expected {
        assert_eq!(types.get(name).map(String::as_str), Some(kind), "{name}");
    }
    assert!(types.keys().all(|name| name.starts_with("serin_")), "{types:?}");
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

const OF: &str = r#"namespace="prod",name="web""#;

/// The label values of a family for which the sample is 1.
async fn ones(api: &Api, family: &str, label: &str) -> Vec<String> {
    let (_, page) = api.get("/metrics").await;
    let lines = page.as_str().unwrap().lines();
    let prefix = format!(r#"{family}{{{OF},{label}=""#);
    let value = |line: &str| line.strip_prefix(&prefix)?.strip_suffix("\"} 1").map(str::to_owned);
    lines.filter_map(value).collect()
}

#[tokio::test]
async fn phases_reasons_and_gates_are_those_of_the_api() {
    let agent = TestAgent::start_with(|options, _| {
        let gate = "    webhooks: [{ name: start, type: confirm-rollout, gate: true }]\n";
        std::fs::write(options.canaries.join("web.yaml"), format!("{WEB}{gate}")).unwrap();
    })
    .await;
    let api = agent.api();
    let (phase, reason, gate) =
        (("serin_canary_phase", "phase"), ("serin_canary_held", "reason"), ("serin_gate_open", "gate"));
    let seen = async || {
        let read = async |(family, label)| ones(&api, family, label).await;
        assert_eq!(read(phase).await, [api.web().await["phase"].as_str().unwrap()]);
        (read(phase).await, read(reason).await, read(gate).await)
    };
    let expected = |phase: &str, reason: &[&str], gate: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        (owned(&[phase]), owned(reason), owned(gate))
    };
    assert_eq!(seen().await, expected("Initialized", &[], &[]));
    api.ask("releases").await;
    assert_eq!(seen().await, expected("Waiting", &["approval"], &[]));
    api.post(&format!("{WEB_PATH}/gates/start/open"), &json!({ "actor": "bob" })).await;
    assert_eq!(seen().await, expected("Progressing", &[], &["start"]));
    api.ask("promote").await;
    assert_eq!(seen().await, expected("Promoting", &["confirmation"], &["start"]));
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    let promoted_ms = events["items"].as_array().unwrap().last().unwrap()["atMs"].as_f64().unwrap();
    let since = api.metric(&format!("serin_canary_phase_start_time_seconds{{{OF}}}")).await;
    assert_eq!(since, Some(promoted_ms / 1000.0));
    api.ask("abort").await;
    // It was opened for the revision that failed; the next one finds it closed.
    assert_eq!(seen().await, expected("Failed", &[], &[]));
}

#[tokio::test]
async fn every_event_is_counted_by_its_kind() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    for verb in ["releases", "pause", "resume", "skip", "abort", "retry", "promote", "confirm"] {
        api.ask(verb).await;
    }
    api.until_web("the end", |canary| canary["phase"] == "Succeeded").await;
    let (_, events) = api.get(&format!("{WEB_PATH}/events")).await;
    let mut kinds = BTreeMap::<String, f64>::new();
    for event in events["items"].as_array().unwrap() {
        let kind = match &event["detail"] {
            Value::String(kind) => kind.clone(),
            detail => detail.as_object().unwrap().keys().next().unwrap().clone(),
        };
        *kinds.entry(kind).or_default() += 1.0;
    }
    assert!(kinds.len() >= 9 && kinds["started"] == 2.0, "{kinds:?}");
    for (kind, count) in kinds {
        api.until_metric(&format!(r#"serin_events_total{{{OF},kind="{kind}"}}"#), count).await;
    }
    for outcome in ["failed", "succeeded"] {
        api.until_metric(&format!(r#"serin_releases_total{{{OF},outcome="{outcome}"}}"#), 1.0).await;
        api.until_metric(&format!(r#"serin_release_duration_seconds_count{{{OF},outcome="{outcome}"}}"#), 1.0).await;
    }
    api.until_metric(&format!(r#"serin_aborts_total{{{OF},cause="requested"}}"#), 1.0).await;
    read(api.get("/metrics").await.1.as_str().unwrap());
}

#[tokio::test]
async fn a_release_is_timed_over_a_restart() {
    let mut agent = TestAgent::start().await;
    agent.api().ask("releases").await;
    let before = agent.api().get(&format!("{WEB_PATH}/events")).await.1;
    agent.stop().await;
    agent.start_again().await;
    let api = agent.api();
    api.ask("abort").await;
    api.until_metric(&format!(r#"serin_release_duration_seconds_count{{{OF},outcome="failed"}}"#), 1.0).await;
    let after = api.get(&format!("{WEB_PATH}/events")).await.1;
    let began = before["items"][1]["atMs"].as_f64().unwrap();
    let ended = after["items"].as_array().unwrap().last().unwrap()["atMs"].as_f64().unwrap();
    let took = api.metric(&format!(r#"serin_release_duration_seconds_sum{{{OF},outcome="failed"}}"#)).await;
    assert_eq!(took, Some((ended - began) / 1000.0));
}

#[tokio::test]
async fn hooks_are_counted_by_their_answer() {
    let server = HookServer::start(Reply::Status(500, "no".into())).await;
    let agent = TestAgent::start_with(|options, _| {
        std::fs::write(options.canaries.join("web.yaml"), server.manifest(Duration::from_secs(60))).unwrap();
    })
    .await;
    let api = agent.api();
    let calls = |outcome: &str| format!(r#"serin_hook_calls_total{{{OF},hook="deploy",outcome="{outcome}"}}"#);
    assert_eq!(api.metric(&calls("agreed")).await, Some(0.0));
    for verb in ["releases", "promote"] {
        api.ask(verb).await;
    }
    api.until_metric(&calls("refused"), 1.0).await;
    api.ask("abort").await;
    server.reply(Reply::Status(200, String::new()));
    for verb in ["releases", "promote"] {
        api.ask(verb).await;
    }
    api.until_metric(&calls("agreed"), 1.0).await;
    assert_eq!(api.metric(&calls("refused")).await, Some(1.0));
    let timed = format!(r#"serin_hook_call_duration_seconds_count{{{OF},hook="deploy"}}"#);
    assert_eq!(api.metric(&timed).await, Some(2.0));
}

/// The test's canary with a metric of another server.
fn measured(address: &str) -> String {
    let metric = "      - { name: errors, templateRef: { name: errors }, interval: 1s, thresholdRange: { max: 1 } }\n";
    let template = format!(
        "---\napiVersion: flagger.app/v1beta1\nkind: MetricTemplate\nmetadata: {{ name: errors, namespace: prod }}\n\
         spec: {{ provider: {{ type: prometheus, address: \"{address}\" }}, query: up }}\n"
    );
    format!("{WEB}{metric}{template}")
}

#[tokio::test]
async fn queries_are_counted_by_what_the_server_had() {
    let answer = |result: &str| {
        let data = format!(r#"{{"resultType":"vector","result":[{result}]}}"#);
        Reply::Status(200, format!(r#"{{"status":"success","data":{data}}}"#))
    };
    let server = HookServer::start(answer(r#"{"metric":{},"value":[1,"0.5"]}"#)).await;
    let agent = TestAgent::start_with(|options, _| {
        options.flagger_metrics = true;
        std::fs::write(options.canaries.join("web.yaml"), measured(&server.url())).unwrap();
    })
    .await;
    let api = agent.api();
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let before = worker.entry().await.epoch;
    let queries = |outcome: &str| {
        format!(r#"serin_provider_queries_total{{{OF},metric="errors",provider="prometheus",outcome="{outcome}"}}"#)
    };
    for outcome in ["value", "none", "failed"] {
        assert_eq!(api.metric(&queries(outcome)).await, Some(0.0), "{outcome}");
    }
    api.ask("releases").await;
    let epoch = worker.entry_above(before).await.epoch;
    let mut number = 0;
    // Checks ask only where there is traffic to judge.
    let mut drive_until = async |outcome: &str| {
        while api.metric(&queries(outcome)).await == Some(0.0) {
            number += 1;
            worker.send(&ToAgent::Report(report(number, Version::Canary, epoch, 1))).await;
            worker.ack().await;
        }
    };
    within("a value", drive_until("value")).await;
    let value = format!(r#"serin_provider_value{{{OF},metric="errors"}}"#);
    assert_eq!(api.metric(&value).await, Some(0.5));
    let flaggers = r#"flagger_canary_metric_analysis{name="web",namespace="prod",metric="errors"}"#;
    assert_eq!(api.metric(flaggers).await, Some(0.5));
    server.reply(answer(""));
    within("no value", drive_until("none")).await;
    assert_eq!((api.metric(&value).await, api.metric(flaggers).await), (None, None));
    read(api.get("/metrics").await.1.as_str().unwrap());
}

#[tokio::test]
async fn flaggers_names_are_there_when_asked_for() {
    let agent = TestAgent::start_with(|options, _| options.flagger_metrics = true).await;
    let api = agent.api();
    api.ask("releases").await;
    let types = read(api.get("/metrics").await.1.as_str().unwrap());
    for (name, kind) in [
        ("flagger_info", "gauge"),
        ("flagger_canary_total", "gauge"),
        ("flagger_canary_status", "gauge"),
        ("flagger_canary_weight", "gauge"),
    ] {
        assert_eq!(types.get(name).map(String::as_str), Some(kind), "{name}");
    }
    let flaggers = r#"name="web",namespace="prod""#;
    assert_eq!(api.metric(&format!("flagger_canary_status{{{flaggers}}}")).await, Some(0.0));
    let weight = api.web().await["weightPercent"].as_f64();
    assert_eq!(api.metric(r#"flagger_canary_weight{workload="web",namespace="prod"}"#).await, weight);
    api.ask("abort").await;
    assert_eq!(api.metric(&format!("flagger_canary_status{{{flaggers}}}")).await, Some(2.0));
    let failures = r#"deployment_strategy="canary",analysis_status="completed""#;
    api.until_metric(&format!("flagger_canary_failures_total{{{flaggers},{failures}}}"), 1.0).await;
}
