//! openapi.json is true: it has every route and no other, and what a live agent answers fits its schemas.

use std::collections::BTreeSet;

use jsonschema::Validator;
use rollout::base::time::Micros;
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::fuse::FuseTest;
use rollout::worker::messages::{Report, ToAgent, Trip};
use rollout::worker::tally::{Counts, Slot, Stratum};
use serde_json::{Value, json};

use crate::support::agent::{Api, TestAgent, WEB, WEB_PATH};
use crate::support::worker::{Worker, web};

/// One of every event there is, from the core's own tests.
#[path = "../../../rollout/tests/fixture/notes.rs"]
mod notes;

fn document() -> Value {
    serde_json::from_str(include_str!("../../src/openapi.json")).unwrap()
}

/// A validator for one of the document's own schemas.
fn schema(name: &str) -> Validator {
    let document = document();
    assert!(document["components"]["schemas"][name].is_object(), "no schema {name}");
    // OpenAPI 3.1 schemas are JSON Schema 2020-12; references go by the same pointers.
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"].clone(),
    });
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
pub(crate) fn fits(name: &str, value: &Value) {
    let errors: Vec<String> =
        schema(name).iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// The answer that the document gives for a status: its schema, or none if it is no JSON.
async fn answers(api: &Api, path: &str, documented: &str) -> Value {
    let document = document();
    let (status, body) = api.get(path).await;
    let response = &document["paths"][documented]["get"]["responses"][status.to_string()];
    let response = match response["$ref"].as_str() {
        Some(pointer) => document.pointer(pointer.trim_start_matches('#')).unwrap(),
        None => response,
    };
    let reference = response["content"]["application/json"]["schema"]["$ref"].as_str();
    let name = reference.unwrap_or_else(|| panic!("GET {documented} does not document {status}"));
    fits(name.rsplit('/').next().unwrap(), &body);
    body
}

#[test]
fn every_route_is_documented_and_nothing_else() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        documented.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    // The router cannot be asked for its routes; its sources can.
    let sources = [include_str!("../../src/api.rs"), include_str!("../../src/api/load_tester_gates.rs")];
    let lines = sources.iter().flat_map(|source| source.lines());
    let routes = lines.filter_map(|line| line.trim().strip_prefix(".route(\""));
    let served: BTreeSet<String> = routes
        .map(|route| {
            let (path, method) = route.split_once("\", ").unwrap();
            // OpenAPI has no word for any method; POST is what Flagger's scripts use.
            let method = method.split_once('(').unwrap().0.replace("any", "post");
            format!("{method} {path}")
        })
        .collect();
    assert!(served.len() >= 20, "{served:?}");
    assert_eq!(documented, served);
}

#[test]
fn the_document_holds_together() {
    let document = document();
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            assert!(operations.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
        }
    }
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for pointer in &used {
        assert!(document.pointer(pointer.trim_start_matches('#')).is_some(), "{pointer} leads nowhere");
    }
    for kind in ["schemas", "responses", "parameters"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name} is never used");
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn what_a_live_agent_answers_fits() {
    let agent = TestAgent::start_with(|options, _| {
        let metric = "      - { name: unheard-of, thresholdRange: { max: 1 } }\n";
        std::fs::write(options.canaries.join("web.yaml"), format!("{}{metric}", notifying())).unwrap();
        std::fs::write(options.canaries.join("wrong.yaml"), "apiVersion: serin.dev/v1alpha1\nkind: Canary").unwrap();
    })
    .await;
    let api = agent.api();
    let base = "/api/v1/canaries/{namespace}/{name}";
    answers(&api, WEB_PATH, base).await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let epoch = worker.entry().await.epoch;
    // Hold, accept, pause, resume, fail a check, abort, release again, promote, confirm.
    fits("Done", &api.ask("releases").await);
    let body = json!({ "revision": "v2", "actor": "ann", "acceptUnsupported": true });
    fits("ReleaseRequest", &body);
    let (_, done) = api.post(&format!("{WEB_PATH}/releases"), &body).await;
    fits("Done", &done);
    let epoch = worker.entry_above(epoch).await.epoch;
    worker.send(&ToAgent::Adopted(web(), epoch)).await;
    // Until a check sees them: the first may come too early, and its window be over when the next is due.
    let mut number = 0;
    while answers(&api, WEB_PATH, base).await["failedChecks"] == 0 {
        number += 1;
        worker.send(&ToAgent::Report(bad_report(number, epoch))).await;
        worker.ack().await;
    }
    let workers = answers(&api, "/api/v1/workers", "/api/v1/workers").await;
    assert_eq!(workers["items"][0]["tripped"], json!(["prod/web"]));
    let explained = answers(&api, &format!("{WEB_PATH}/explain"), &format!("{base}/explain")).await;
    assert!(explained["summary"].as_str().unwrap().contains("; only reported, by guard slo"), "{explained}");
    for verb in ["pause", "resume", "abort"] {
        fits("Done", &api.ask(verb).await);
    }
    api.post(&format!("{WEB_PATH}/releases"), &body).await;
    for verb in ["promote", "confirm"] {
        fits("Done", &api.ask(verb).await);
    }
    let list = answers(&api, "/api/v1/canaries", "/api/v1/canaries").await;
    assert_ne!(list["problems"], json!([]));
    assert_eq!(list["items"][0]["totals"][1]["failedByClass"], json!({ "5xx": 3 * number, "timeout": number }));
    let events = answers(&api, &format!("{WEB_PATH}/events"), &format!("{base}/events")).await;
    let details: BTreeSet<String> =
        events["items"].as_array().unwrap().iter().map(|event| kind(&event["detail"])).collect();
    let seen = "aborted accepted checkFailed confirmed declared fuseTripped held paused promoting tripped";
    let mut seen = seen.split(' ');
    assert!(seen.all(|kind| details.contains(kind)), "{details:?}");
    let releases = answers(&api, &format!("{WEB_PATH}/releases"), &format!("{base}/releases")).await;
    assert_eq!(releases["items"].as_array().map(Vec::len), Some(2), "{releases}");
    answers(&api, &format!("{WEB_PATH}/releases/9/record"), &format!("{base}/releases/{{release}}/record")).await;
    answers(&api, "/api/v1/workers", "/api/v1/workers").await;
    answers(&api, &format!("{WEB_PATH}/explain"), &format!("{base}/explain")).await;
    answers(&api, "/api/v1/canaries/prod/nobody/explain", &format!("{base}/explain")).await;
    answers(&api, "/api/v1/canaries/prod/nobody", base).await;
    answers(&api, "/api/v1/canaries/prod/%00", base).await;
}

/// The test's canary with guards that only notify, so that its checks decide.
fn notifying() -> String {
    WEB.replacen("  analysis:\n", "  analysis:\n    guards: notify\n", 1)
}

fn kind(detail: &Value) -> String {
    match detail {
        Value::String(word) => word.clone(),
        detail => detail.as_object().unwrap().keys().next().unwrap().clone(),
    }
}

/// Half of the canary's requests failed.
fn bad_report(number: u64, epoch: Epoch) -> Report {
    let stratum =
        Stratum { canary: web(), epoch, version: Version::Canary, placement: Placement::Drawn, slot: Slot(0) };
    let mut counts = Counts::begun(9);
    (0..4).for_each(|_| counts.end_both(Outcome::Success, Micros(3000), false));
    (0..3).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(1000), true));
    counts.end_both(Outcome::Failure(FailureClass::Timeout), Micros(900_000), true);
    let trip = Trip { canary: web(), epoch, test: FuseTest::Failed, events: 4, trials: 8 };
    Report { number, strata: vec![(stratum, counts)], watermarks: vec![], trips: vec![trip], destinations: vec![] }
}

#[test]
fn every_event_fits_and_every_kind_of_event_is_real() {
    let mut seen = BTreeSet::new();
    for (note, words) in notes::notes() {
        let detail = serde_json::to_value(&note).unwrap();
        fits("Note", &detail);
        seen.insert(kind(&detail));
        for inner in ["aborted", "held"] {
            seen.extend(detail.get(inner).map(kind));
        }
        assert!(!words.is_empty());
    }
    let schemas = &document()["components"]["schemas"];
    for schema in ["Note", "Cause", "Hold"] {
        for variant in schemas[schema]["oneOf"].as_array().unwrap() {
            let name = variant["const"].as_str().or_else(|| variant["required"][0].as_str()).unwrap();
            assert!(seen.contains(name), "{schema} documents {name}, which nothing ever produces");
        }
    }
}

#[test]
fn a_schema_refuses_what_serde_would_never_write() {
    let refused = |name: &str, value: Value| assert!(!schema(name).is_valid(&value), "{name} takes {value}");
    refused("Done", json!({ "release": 1 }));
    refused("Done", json!({ "release": 1, "phase": "Dreaming", "stored": true }));
    refused("Done", json!({ "release": 1, "phase": "Failed", "stored": true, "more": 1 }));
    refused("Note", json!({ "stepped": { "from": 0, "to": 2_000_000, "verdict": null } }));
    refused("Note", json!("aborted"));
    refused("VerbRequest", json!({ "actor": "a b" }));
}
