//! Stored gates: listed, opened, closed; and the load tester's gate URLs of Flagger as a front of the same gates.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::any;
use axum::{Json, Router};
use bytes::Bytes;
use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::Millis;
use rollout::controller::{Controller, Refused, Verb};
use rollout::release::integrations::HookKind;
use rollout::view::status;
use serde::Deserialize;
use serde_json::{Value, json};

use super::verbs::{ask, by};
use super::{Api, CanaryPath, Failure, name, parse_id};

/// Longest time until a gate closes by itself: 90 days.
const MAX_EXPIRES_SECONDS: u64 = 90 * 86_400;

/// `GET …/gates`.
pub(super) async fn list(State(api): State<Api>, path: CanaryPath) -> Result<Json<Value>, Failure> {
    let id = parse_id(path)?;
    let look =
        move |controller: &Controller, now| controller.known(&id).map(|canary| status::stored_gates(canary, now));
    let items = api.handle.read(look).await??;
    Ok(Json(json!({ "items": items })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GateBody {
    actor: String,
    #[serde(default)]
    reason: String,
    revision: Option<String>,
    expires_seconds: Option<u64>,
}

/// `POST …/gates/{gate}/{open|close}`.
pub(super) async fn verb(
    State(api): State<Api>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    body: Result<Json<GateBody>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Path((namespace, canary, gate, verb)) = path?;
    let id = parse_id(Ok(Path((namespace, canary))))?;
    let Json(GateBody { actor, reason, revision, expires_seconds }) = body?;
    let (actor, reason) = by(&actor, reason)?;
    let verb = match verb.as_str() {
        "open" => {
            let revision = revision.as_deref().map(|revision| name("revision", revision)).transpose()?;
            let expires_after = expires_seconds.map(span).transpose()?;
            Verb::OpenGate { gate, revision, expires_after, actor, reason }
        }
        "close" if revision.is_none() && expires_seconds.is_none() => Verb::CloseGate { gate, actor, reason },
        "close" => return Err(Failure::Invalid("close takes neither revision nor expiresSeconds".into())),
        other => return Err(Failure::NotFound(format!("verb {other:?} is not one of open, close"))),
    };
    ask(&api, id, verb).await
}

fn span(seconds: u64) -> Result<Millis, Failure> {
    if (1..=MAX_EXPIRES_SECONDS).contains(&seconds) {
        return Ok(Millis::from_secs(seconds));
    }
    Err(Failure::Invalid(format!("expiresSeconds must be from 1 to {MAX_EXPIRES_SECONDS}")))
}

/// The URLs that Flagger's load tester serves, any method, for scripts that know them. A canary's only
/// gate of that sort is meant; one that has several needs `serin gate`.
pub(super) fn front() -> Router<Api> {
    Router::new()
        .route("/gate/approve", any(async || (StatusCode::OK, "OK")))
        .route("/gate/halt", any(async || (StatusCode::FORBIDDEN, "Forbidden")))
        .route("/{sort}/check", any(check))
        .route("/{sort}/open", any(open))
        .route("/{sort}/close", any(close))
}

#[derive(Deserialize)]
struct Which {
    name: String,
    namespace: String,
}

/// Which gate a request means: `gate` are those that let a release go on, `rollback` those that roll it back.
async fn meant(
    api: &Api,
    sort: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(CanaryId, Option<Revision>, String, bool), Failure> {
    let wants_rollback = match sort {
        "gate" => false,
        "rollback" => true,
        _ => return Err(Failure::NotFound("no such path; see /api/v1/openapi.json".into())),
    };
    let Which { name, namespace } = which(headers, body)?;
    let id = parse_id(Ok(Path((namespace, name))))?;
    let asked = id.clone();
    let found = api.handle.read(move |controller, now| {
        let canary = controller.known(&asked)?;
        let gates = status::stored_gates(canary, now).into_iter();
        let fitting = gates.filter(|gate| (gate.kind == HookKind::Rollback.name()) == wants_rollback);
        Ok::<_, Refused>((fitting.collect::<Vec<_>>(), canary.phase.run().map(|run| run.revision.clone())))
    });
    let (gates, revision) = found.await??;
    let what = if wants_rollback { "stored rollback gate" } else { "stored gate" };
    match gates.as_slice() {
        [gate] => Ok((id, revision, gate.gate.clone(), gate.open)),
        [] => Err(Failure::NotFound(format!("canary {id} has no {what}"))),
        _ => {
            let names: Vec<&str> = gates.iter().map(|gate| gate.gate.as_str()).collect();
            Err(Failure::Conflict(format!(
                "canary {id} has several {what}s ({}); use `serin gate` or /api/v1/canaries/{id}/gates",
                names.join(", ")
            )))
        }
    }
}

/// `curl -d` says that its JSON is a form, and Flagger's scripts are `curl -d`. A browser's page of any site can send that
/// as well, unlike what is announced as JSON, but not without saying where it comes from.
fn which(headers: &HeaderMap, body: &[u8]) -> Result<Which, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if is_page && !kind.starts_with("application/json") {
        let rule = "a page must send its body as content-type: application/json";
        return Err(Failure::Unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, rule.into()));
    }
    serde_json::from_slice(body).map_err(|error| {
        Failure::Invalid(format!(r#"the body must be JSON like {{"name": "web", "namespace": "prod"}}: {error}"#))
    })
}

async fn check(
    State(api): State<Api>,
    Path(sort): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, &'static str), Failure> {
    let (_, _, _, is_open) = meant(&api, &sort, &headers, &body?).await?;
    Ok(if is_open { (StatusCode::OK, "Approved") } else { (StatusCode::FORBIDDEN, "Forbidden") })
}

async fn open(
    State(api): State<Api>,
    Path(sort): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Failure> {
    let (id, revision, gate, _) = meant(&api, &sort, &headers, &body?).await?;
    let (actor, reason) = by("gate-url", String::new())?;
    let _: Json<Value> = ask(&api, id, Verb::OpenGate { gate, revision, expires_after: None, actor, reason }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn close(
    State(api): State<Api>,
    Path(sort): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Failure> {
    let (id, _, gate, _) = meant(&api, &sort, &headers, &body?).await?;
    let (actor, reason) = by("gate-url", String::new())?;
    let _: Json<Value> = ask(&api, id, Verb::CloseGate { gate, actor, reason }).await?;
    Ok(StatusCode::ACCEPTED)
}
