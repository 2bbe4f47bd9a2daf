//! Stored gates: approvals that the agent keeps, listed, opened and closed.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, Uri};
use rollout::base::time::Millis;
use rollout::controller::{Controller, Verb};
use rollout::release::request_limits::{MAX_OPEN_DAYS, MAX_OPEN_SECONDS, open_for};
use rollout::view::status;
use serde_json::{Value, json};
use serving::{Body, Fields, Form, HttpError, Segments, did_you_mean};

use super::ids::{canary_id, known, parse_name};
use super::verbs::{ask, by};
use super::{Api, REFERENCE};

const VERBS: &[&str] = &["open", "close"];

/// `GET …/gates`.
pub(super) async fn list(State(api): State<Api>, path: Segments) -> Result<Json<Value>, HttpError> {
    let id = canary_id(&path)?;
    let look =
        move |controller: &Controller, now| known(controller, &id).map(|canary| status::stored_gates(canary, now));
    let items = api.handle.read(look).await??;
    Ok(Json(json!({ "items": items })))
}

/// The body of `open` and `close`.
#[derive(Debug)]
pub(super) struct GateForm {
    actor: String,
    reason: String,
    revision: Option<String>,
    expires_seconds: Option<u64>,
}

impl Form for GateForm {
    const FIELDS: &'static [&'static str] = &["actor", "reason", "revision", "expiresSeconds"];
    const EXAMPLE: &'static str = r#"{"actor": "ann", "reason": "CHG-1234"}"#;

    fn read(fields: &mut Fields) -> Result<Self, HttpError> {
        Ok(Self {
            actor: fields.text("actor")?,
            reason: fields.optional_text("reason")?.unwrap_or_default(),
            revision: fields.optional_text("revision")?,
            expires_seconds: fields.whole("expiresSeconds")?,
        })
    }
}

/// `POST …/gates/{gate}/{open|close}`.
pub(super) async fn verb(
    State(api): State<Api>,
    path: Segments,
    body: Result<Body<GateForm>, HttpError>,
) -> Result<Json<Value>, HttpError> {
    let (id, gate, verb) = (canary_id(&path)?, path.get("gate").to_owned(), path.get("verb"));
    if !VERBS.contains(&verb) {
        return Err(unknown(verb));
    }
    let Body(GateForm { actor, reason, revision, expires_seconds }) = body?;
    let (actor, reason) = by(&actor, reason)?;
    let verb = if verb == "open" {
        let revision = revision.as_deref().map(|revision| parse_name("revision", revision)).transpose()?;
        let expires_after = expires_seconds.map(span).transpose()?;
        Verb::OpenGate { gate, revision, expires_after, actor, reason }
    } else if revision.is_none() && expires_seconds.is_none() {
        Verb::CloseGate { gate, actor, reason }
    } else {
        let error = "close takes neither field revision nor field expiresSeconds: a gate is closed for all revisions \
                     until it is opened; leave them out";
        return Err(HttpError::invalid(error));
    };
    ask(&api, id, verb).await
}

/// Any other method on `…/gates/{gate}/{verb}`.
pub(super) async fn not_post(method: Method, uri: Uri, path: Segments) -> HttpError {
    let verb = path.get("verb");
    if !VERBS.contains(&verb) {
        return unknown(verb);
    }
    HttpError::only_post(&method, &uri, REFERENCE)
}

fn unknown(verb: &str) -> HttpError {
    let (verbs, near) = (VERBS.join(", "), did_you_mean(verb, VERBS));
    HttpError::not_found(format!("a gate has no verb {verb:?}; POST goes to {verbs}; {REFERENCE}{near}"))
}

fn span(seconds: u64) -> Result<Millis, HttpError> {
    open_for(seconds).ok_or_else(|| {
        HttpError::invalid(format!(
            "field expiresSeconds is {seconds}; it must be from 1 to {MAX_OPEN_SECONDS} ({MAX_OPEN_DAYS} days); leave \
             it out for a gate that stays open"
        ))
    })
}
