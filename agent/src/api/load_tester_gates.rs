//! The gate URLs that Flagger's load tester serves, with any method, for the hooks and scripts that know them. All hooks of a
//! canary that ask at such a URL are one gate, as in the load tester. They are also a front of stored gates: a canary's
//! only one is meant, one that has several needs `serin gate`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::controller::{Controller, Verb};
use rollout::release::integrations::{Hook, HookKind};
use serving::{Deliberate, Fields, HttpError, Segments, read_bytes};

use super::ids::{known, parse_id};
use super::verbs::{ask, by};
use super::{Api, REFERENCE};

/// Who opened or closed a gate by these URLs, which carry no name.
const ACTOR: &str = "gate-url";
const EXAMPLE: &str = r#"{"name": "web", "namespace": "prod"}"#;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/gate/approve", any(async || (StatusCode::OK, "OK")))
        .route("/gate/halt", any(async || Forbidden))
        .route("/{kind}/check", any(check))
        .route("/{kind}/open", any(open))
        .route("/{kind}/close", any(close))
}

/// What Flagger's load tester answers where a gate is closed.
#[derive(Clone, Copy, Debug)]
struct Forbidden;

impl IntoResponse for Forbidden {
    fn into_response(self) -> Response {
        let mut answer = (StatusCode::FORBIDDEN, "Forbidden").into_response();
        answer.extensions_mut().insert(Deliberate);
        answer
    }
}

/// A body of any announced type.
#[derive(Debug)]
struct AnyBody(HeaderMap, Bytes);

impl<S: Send + Sync> FromRequest<S> for AnyBody {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let headers = request.headers().clone();
        Ok(Self(headers, read_bytes(request, state).await?))
    }
}

/// The gate that a request means.
#[derive(Debug)]
struct Meant {
    canary: CanaryId,
    /// The one in progress.
    revision: Option<Revision>,
    /// One stored gate, or all hooks that ask at the URL.
    gates: Vec<String>,
    is_open: bool,
}

/// `gate` are those that let a release go on, `rollback` those that roll it back.
async fn meant(api: &Api, path: &Segments, body: &AnyBody) -> Result<Meant, HttpError> {
    let wants_rollback = match path.get("kind") {
        "gate" => false,
        "rollback" => true,
        other => {
            let error = format!("path /{other}/… does not exist: gates are under /gate/ and /rollback/; {REFERENCE}");
            return Err(HttpError::not_found(error));
        }
    };
    let id = canary_of(body)?;
    let look = move |controller: &Controller, now| find(known(controller, &id)?, wants_rollback, now);
    api.handle.read(look).await?
}

fn find(canary: &Canary, wants_rollback: bool, now: Millis) -> Result<Meant, HttpError> {
    let id = &canary.plan.id;
    let hooks = || canary.plan.outside.hooks.iter().filter(|hook| (hook.kind == HookKind::Rollback) == wants_rollback);
    let by_url: Vec<&Hook> = hooks().filter(|hook| hook.has_gate_url()).collect();
    let gates = if by_url.is_empty() { hooks().filter(|hook| hook.is_gate()).collect() } else { by_url };
    let what = if wants_rollback { "stored rollback gate" } else { "stored gate" };
    if gates.is_empty() {
        let path = if wants_rollback { "/rollback/check" } else { "/gate/check" };
        return Err(HttpError::not_found(format!(
            "canary {id} has no {what}; declare one in its manifest: a webhook with this agent's {path} as url, or with \
             `gate: true` in serin.dev's kind"
        )));
    }
    let names: Vec<String> = gates.iter().map(|hook| hook.name.clone()).collect();
    if gates.len() > 1 && !gates.iter().all(|hook| hook.has_gate_url()) {
        return Err(HttpError::conflict(format!(
            "canary {id} has several {what}s ({}); name one with `serin gate` or /api/v1/canaries/{id}/gates",
            names.join(", ")
        )));
    }
    let revision = canary.phase.run().map(|run| run.revision.clone());
    let is_open = gates.iter().all(|hook| canary.approvals.of(&hook.name, revision.as_ref(), now).is_some());
    Ok(Meant { canary: id.clone(), revision, gates: names, is_open })
}

/// `curl -d` announces its JSON as a form, and Flagger's scripts are `curl -d`. A browser's page of any site can send that
/// as well, unlike what is announced as JSON, but not without naming its origin.
fn canary_of(AnyBody(headers, body): &AnyBody) -> Result<CanaryId, HttpError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if is_page && !kind.starts_with("application/json") {
        let error =
            format!("header content-type is {kind:?}; a page must send its body as content-type: application/json");
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    // 400 for every mistake, as these URLs have always answered.
    let bad = |error: HttpError| error.with_status(StatusCode::BAD_REQUEST);
    let mut fields = Fields::parse(body, EXAMPLE).map_err(bad)?;
    let (namespace, name) = (fields.text("namespace").map_err(bad)?, fields.text("name").map_err(bad)?);
    parse_id(&namespace, &name)
}

async fn check(State(api): State<Api>, path: Segments, body: AnyBody) -> Result<Response, HttpError> {
    let meant = meant(&api, &path, &body).await?;
    Ok(if meant.is_open { "Approved".into_response() } else { Forbidden.into_response() })
}

async fn open(State(api): State<Api>, path: Segments, body: AnyBody) -> Result<StatusCode, HttpError> {
    let Meant { canary, revision, gates, .. } = meant(&api, &path, &body).await?;
    for gate in gates {
        let (actor, reason) = by(ACTOR, String::new())?;
        let verb = Verb::OpenGate { gate, revision: revision.clone(), expires_after: None, actor, reason };
        drop(ask(&api, canary.clone(), verb).await?);
    }
    Ok(StatusCode::ACCEPTED)
}

async fn close(State(api): State<Api>, path: Segments, body: AnyBody) -> Result<StatusCode, HttpError> {
    let Meant { canary, gates, .. } = meant(&api, &path, &body).await?;
    for gate in gates {
        let (actor, reason) = by(ACTOR, String::new())?;
        drop(ask(&api, canary.clone(), Verb::CloseGate { gate, actor, reason }).await?);
    }
    Ok(StatusCode::ACCEPTED)
}
