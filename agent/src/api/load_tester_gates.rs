//! The gate URLs that Flagger's load tester serves, with any method, for scripts that know them: a front of the same
//! stored gates. A canary's only gate of that kind is meant; one that has several needs `serin gate`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use rollout::base::names::{CanaryId, Revision};
use rollout::controller::{Controller, Verb};
use rollout::release::integrations::HookKind;
use rollout::view::status;
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

/// The one gate that a request means.
#[derive(Debug)]
struct Meant {
    canary: CanaryId,
    /// The one in progress.
    revision: Option<Revision>,
    gate: String,
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
    let asked = id.clone();
    let found = api.handle.read(move |controller: &Controller, now| {
        let canary = known(controller, &asked)?;
        let gates = status::stored_gates(canary, now).into_iter();
        let fitting = gates.filter(|gate| (gate.kind == HookKind::Rollback.name()) == wants_rollback);
        let revision = canary.phase.run().map(|run| run.revision.clone());
        Ok::<_, HttpError>((fitting.collect::<Vec<_>>(), revision))
    });
    let (gates, revision) = found.await??;
    let what = if wants_rollback { "stored rollback gate" } else { "stored gate" };
    match gates.as_slice() {
        [gate] => Ok(Meant { canary: id, revision, gate: gate.gate.clone(), is_open: gate.open }),
        [] => Err(HttpError::not_found(format!(
            "canary {id} has no {what}; declare one in its manifest: a webhook with `gate: true`"
        ))),
        _ => {
            let names: Vec<&str> = gates.iter().map(|gate| gate.gate.as_str()).collect();
            Err(HttpError::conflict(format!(
                "canary {id} has several {what}s ({}); name one with `serin gate` or /api/v1/canaries/{id}/gates",
                names.join(", ")
            )))
        }
    }
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
    let Meant { canary, revision, gate, .. } = meant(&api, &path, &body).await?;
    let (actor, reason) = by(ACTOR, String::new())?;
    let _ = ask(&api, canary, Verb::OpenGate { gate, revision, expires_after: None, actor, reason }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn close(State(api): State<Api>, path: Segments, body: AnyBody) -> Result<StatusCode, HttpError> {
    let Meant { canary, gate, .. } = meant(&api, &path, &body).await?;
    let (actor, reason) = by(ACTOR, String::new())?;
    let _ = ask(&api, canary, Verb::CloseGate { gate, actor, reason }).await?;
    Ok(StatusCode::ACCEPTED)
}
