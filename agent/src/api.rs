//! The HTTP API: parse, ask the engine, render. Documented by openapi.json, which it serves.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{Stream, StreamExt};
use rollout::base::names::{CanaryId, Revision};
use rollout::controller::Refused;
use rollout::view::explanation::{self, Explanation};
use rollout::view::status;
use serde_json::{Value, json};
use serving::Token;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::archive::Archive;
use crate::handle::{Handle, Stopped};
use crate::manifests::Manifests;
use crate::metrics::{self, Moment, Sources};

mod verbs;

mod gates;
mod records;

/// Longest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;
/// How often a watcher gets the status even if nothing was announced.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// `{namespace}/{name}` of a path, not yet checked.
type CanaryPath = Result<Path<(String, String)>, PathRejection>;

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) handle: Handle,
    pub(crate) archive: Archive,
    pub(crate) manifests: Manifests,
    pub(crate) metrics: Sources,
    pub(crate) token: Option<Token>,
}

/// All routes.
pub(crate) fn router(api: Api) -> Router {
    let guarded = Router::new()
        .route("/api/v1/canaries", get(canaries))
        .route("/api/v1/canaries/{namespace}/{name}", get(canary))
        .route("/api/v1/canaries/{namespace}/{name}/events", get(events))
        .route("/api/v1/canaries/{namespace}/{name}/explain", get(explain))
        .route("/api/v1/canaries/{namespace}/{name}/watch", get(watch))
        .route("/api/v1/canaries/{namespace}/{name}/releases", get(records::list))
        .route("/api/v1/canaries/{namespace}/{name}/releases", post(verbs::release))
        .route("/api/v1/canaries/{namespace}/{name}/releases/{release}/record", get(records::read))
        .route("/api/v1/canaries/{namespace}/{name}/gates", get(gates::list))
        .route("/api/v1/canaries/{namespace}/{name}/gates/{gate}/{verb}", post(gates::verb))
        .route("/api/v1/canaries/{namespace}/{name}/{verb}", post(verbs::verb))
        .merge(gates::front())
        .route("/api/v1/workers", get(workers))
        .route("/metrics", get(scrape))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(api.clone(), guard));
    let open = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/api/v1/openapi.json", get(openapi));
    guarded
        .merge(open)
        .fallback(async || Failure::NotFound("no such path; see /api/v1/openapi.json".into()))
        .method_not_allowed_fallback(async || Failure::Method)
        .with_state(api)
}

/// Why a request was not answered as asked.
#[derive(Debug)]
enum Failure {
    Invalid(String),
    /// The framework could not read the request; it knows which status says so.
    Unreadable(StatusCode, String),
    Method,
    /// Whether a token was sent at all.
    Unauthenticated {
        is_wrong: bool,
    },
    NotFound(String),
    Conflict(String),
    Unavailable(String),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (code, error) = match self {
            Self::Invalid(error) => (StatusCode::BAD_REQUEST, error),
            Self::Unreadable(code, error) => (code, error),
            Self::Method => {
                (StatusCode::METHOD_NOT_ALLOWED, "no such method on this path; see /api/v1/openapi.json".into())
            }
            Self::Unauthenticated { is_wrong: false } => {
                (StatusCode::UNAUTHORIZED, "this agent wants a bearer token: --token or SERIN_TOKEN".into())
            }
            Self::Unauthenticated { is_wrong: true } => {
                (StatusCode::UNAUTHORIZED, "the token that was sent is not this agent's".into())
            }
            Self::NotFound(error) => (StatusCode::NOT_FOUND, error),
            Self::Conflict(error) => (StatusCode::CONFLICT, error),
            Self::Unavailable(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
        };
        let answer = (code, Json(json!({ "error": error })));
        if code == StatusCode::UNAUTHORIZED {
            return ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response();
        }
        answer.into_response()
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::Unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        Self::Unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self::Unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Unavailable(stopped.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(_) | Refused::Several { .. } | Refused::UnknownGate { .. } => {
                Self::NotFound(refused.to_string())
            }
            Refused::Phase(_) | Refused::DefaultUpstream { .. } | Refused::Sibling { .. } | Refused::Lane { .. } => {
                Self::Conflict(refused.to_string())
            }
        }
    }
}

async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
    match &api.token {
        Some(token) if !token.fits(shown) => Failure::Unauthenticated { is_wrong: shown.is_some() }.into_response(),
        _ => next.run(request).await,
    }
}

async fn canaries(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    let look = |controller: &rollout::controller::Controller, now| -> Vec<status::CanaryStatus> {
        controller.canaries().map(|canary| status::canary(controller, canary, now)).collect()
    };
    let items = api.handle.read(look).await?;
    Ok(Json(json!({ "items": items, "problems": api.manifests.problems() })))
}

async fn canary(State(api): State<Api>, path: CanaryPath) -> Result<Json<status::CanaryStatus>, Failure> {
    let id = parse_id(path)?;
    status_of(&api.handle, id).await.map(Json)
}

async fn events(State(api): State<Api>, path: CanaryPath) -> Result<Json<Value>, Failure> {
    let id = parse_id(path)?;
    let items = api.handle.read(move |controller, _| controller.known(&id).map(status::events)).await?;
    Ok(Json(json!({ "items": items? })))
}

async fn explain(State(api): State<Api>, path: CanaryPath) -> Result<Json<Explanation>, Failure> {
    let id = parse_id(path)?;
    let look = move |controller: &rollout::controller::Controller, now| {
        controller.known(&id).map(|canary| explanation::explain(canary, now))
    };
    Ok(Json(api.handle.read(look).await??))
}

async fn workers(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    let items = api.handle.read(status::workers).await?;
    Ok(Json(json!({ "items": items })))
}

async fn watch(
    State(api): State<Api>,
    path: CanaryPath,
) -> Result<axum::response::sse::Sse<impl Stream<Item = Result<Sse, Infallible>>>, Failure> {
    let id = parse_id(path)?;
    // Listened to before the status is taken, so that nothing falls between the two.
    let announcements = api.handle.watch();
    let first = sse("status", &status_of(&api.handle, id.clone()).await?);
    let mut ticks = interval_at(Instant::now() + WATCH_EVERY, WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let changes = futures::stream::unfold((api.handle, id, announcements, ticks), async |mut state| {
        let (handle, id, announcements, ticks) = &mut state;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let status = status_of(handle, id.clone()).await.ok()?;
                    return Some((Ok(sse("status", &status)), state));
                }
                announced = announcements.recv() => match announced {
                    Ok((canary, event)) if canary == *id => {
                        return Some((Ok(sse("event", &status::event(&event))), state));
                    }
                    // Another canary's, or the watcher lagged: the next status tells where things stand.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    });
    let stream = futures::stream::iter([Ok(first)]).chain(changes);
    Ok(axum::response::sse::Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn sse(kind: &str, data: &impl serde::Serialize) -> Sse {
    // Status types always serialise; should one ever not, the watcher sees an empty event instead of a broken stream.
    Sse::default().event(kind).json_data(data).unwrap_or_default()
}

async fn status_of(handle: &Handle, id: CanaryId) -> Result<status::CanaryStatus, Failure> {
    let look = move |controller: &rollout::controller::Controller, now| {
        controller.known(&id).map(|canary| status::canary(controller, canary, now))
    };
    Ok(handle.read(look).await??)
}

async fn ready(State(api): State<Api>) -> Result<&'static str, Failure> {
    match api.handle.stored().failing {
        Some(error) => Err(Failure::Unavailable(unwritable(&error))),
        None => {
            api.handle.read(|_, _| ()).await?;
            Ok("ready\n")
        }
    }
}

fn unwritable(error: &str) -> String {
    format!("the journal cannot be written: {error}; free or mend the disk under --data")
}

async fn scrape(State(api): State<Api>) -> Result<impl IntoResponse, Failure> {
    let is_journal_failing = api.handle.stored().failing.is_some();
    let manifest_problems = api.manifests.problems().len();
    let look = move |controller: &rollout::controller::Controller, now| {
        metrics::render(controller, &api.metrics, Moment { now, is_journal_failing, manifest_problems })
    };
    let text = api.handle.read(look).await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

fn parse_id(path: CanaryPath) -> Result<CanaryId, Failure> {
    let Path((namespace, name)) = path?;
    CanaryId::new(&namespace, &name).map_err(|error| Failure::Invalid(format!("canary {namespace}/{name} {error}")))
}

fn name(field: &str, value: &str) -> Result<Revision, Failure> {
    Revision::parse(value).map_err(|error| Failure::Invalid(format!("{field} {value:?} {error}")))
}
