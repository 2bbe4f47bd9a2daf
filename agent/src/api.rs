//! The HTTP API: which path is answered by what, and who may ask. openapi.json documents it and is served here; docs/api.md
//! shows each request with a real answer.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Uri;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use serving::{HttpError, MAX_BODY_BYTES, Token, answer_errors, refuse_query};

use crate::archive::Archive;
use crate::handle::Handle;
use crate::manifests::Manifests;
use crate::metrics::Sources;

/// Which canary a path means, and refusals as answers.
mod ids;

/// What only reads.
mod reads;

/// Status and events as a stream.
mod watch;

/// What people and pipelines ask of a release.
mod verbs;

/// Gates: listed, opened, closed.
mod gates;

/// The same gates at the URLs of Flagger's load tester.
mod load_tester_gates;

/// Recorded releases.
mod records;

/// Where every request is described, as errors say it.
const REFERENCE: &str = "GET /api/v1/openapi.json describes every request";
/// Under it, no path takes a query.
const PREFIX: &str = "/api/v1/";

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
    let with_token = Router::new()
        .route("/api/v1/canaries", get(reads::canaries))
        .route("/api/v1/canaries/{namespace}/{name}", get(reads::canary))
        .route("/api/v1/canaries/{namespace}/{name}/events", get(reads::events))
        .route("/api/v1/canaries/{namespace}/{name}/explain", get(reads::explain))
        .route("/api/v1/canaries/{namespace}/{name}/watch", get(watch::watch))
        .route("/api/v1/canaries/{namespace}/{name}/releases", get(records::list))
        .route("/api/v1/canaries/{namespace}/{name}/releases", post(verbs::release))
        .route("/api/v1/canaries/{namespace}/{name}/releases/{release}/record", get(records::read))
        .route("/api/v1/canaries/{namespace}/{name}/gates", get(gates::list))
        .route("/api/v1/canaries/{namespace}/{name}/gates/{gate}/{verb}", post(gates::verb).fallback(gates::not_post))
        .route("/api/v1/canaries/{namespace}/{name}/{verb}", post(verbs::verb).fallback(verbs::not_post))
        .merge(load_tester_gates::routes())
        .route("/api/v1/workers", get(reads::workers))
        .route("/metrics", get(reads::scrape))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(takes_no_query))
        .layer(from_fn_with_state(api.clone(), authenticate));
    let open = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(reads::ready))
        .route("/api/v1/openapi.json", get(reads::openapi));
    answer_errors(with_token.merge(open).fallback(no_such_path).with_state(api), REFERENCE)
}

async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Result<Response, HttpError> {
    serving::authenticate(api.token.as_ref(), request.headers(), "agent", " (serin: SERIN_TOKEN or --token)")?;
    Ok(next.run(request).await)
}

/// Scrapers and Flagger's scripts may add what they like to the other paths.
async fn takes_no_query(uri: Uri, request: Request, next: Next) -> Response {
    if uri.path().starts_with(PREFIX) { refuse_query(uri, request, next).await } else { next.run(request).await }
}

async fn no_such_path(uri: Uri) -> HttpError {
    let path = uri.path();
    let slash = if path.len() > 1 && path.ends_with('/') { "; try it without the final slash" } else { "" };
    HttpError::not_found(format!("path {path} does not exist{slash}; {REFERENCE}"))
}
