//! Everything that only reads: canaries, events, explanations, workers, metrics, health.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::Controller;
use rollout::view::explanation::{self, Explanation};
use rollout::view::status::{self, CanaryStatus};
use serde_json::{Value, json};
use serving::{HttpError, Segments};

use super::Api;
use super::ids::{canary_id, known};
use crate::handle::Handle;
use crate::metrics::{self, Moment};

/// `GET /api/v1/canaries`.
pub(super) async fn canaries(State(api): State<Api>) -> Result<Json<Value>, HttpError> {
    let look = |controller: &Controller, now| -> Vec<CanaryStatus> {
        controller.canaries().map(|canary| status::canary(controller, canary, now)).collect()
    };
    let items = api.handle.read(look).await?;
    Ok(Json(json!({ "items": items, "problems": api.manifests.problems() })))
}

/// `GET …/{namespace}/{name}`.
pub(super) async fn canary(State(api): State<Api>, path: Segments) -> Result<Json<CanaryStatus>, HttpError> {
    status_of(&api.handle, canary_id(&path)?).await.map(Json)
}

/// One canary's status.
pub(super) async fn status_of(handle: &Handle, id: CanaryId) -> Result<CanaryStatus, HttpError> {
    let look = move |controller: &Controller, now| {
        known(controller, &id).map(|canary| status::canary(controller, canary, now))
    };
    handle.read(look).await?
}

/// `GET …/events`.
pub(super) async fn events(State(api): State<Api>, path: Segments) -> Result<Json<Value>, HttpError> {
    let id = canary_id(&path)?;
    let look = move |controller: &Controller, _: Millis| known(controller, &id).map(status::events);
    let items = api.handle.read(look).await??;
    Ok(Json(json!({ "items": items })))
}

/// `GET …/explain`.
pub(super) async fn explain(State(api): State<Api>, path: Segments) -> Result<Json<Explanation>, HttpError> {
    let id = canary_id(&path)?;
    let look =
        move |controller: &Controller, now| known(controller, &id).map(|canary| explanation::explain(canary, now));
    api.handle.read(look).await?.map(Json)
}

/// `GET /api/v1/workers`.
pub(super) async fn workers(State(api): State<Api>) -> Result<Json<Value>, HttpError> {
    let items = api.handle.read(status::workers).await?;
    Ok(Json(json!({ "items": items })))
}

/// `GET /readyz`.
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, HttpError> {
    match api.handle.stored().failing {
        Some(error) => Err(HttpError::unavailable(unwritable(&error))),
        None => {
            api.handle.read(|_, _| ()).await?;
            Ok("ready\n")
        }
    }
}

/// What is wrong while nothing can be stored.
pub(super) fn unwritable(error: &str) -> String {
    format!("the journal cannot be written: {error}; free space on the disk under --data, or repair it")
}

/// `GET /metrics`.
pub(super) async fn scrape(State(api): State<Api>) -> Result<impl IntoResponse, HttpError> {
    let is_journal_failing = api.handle.stored().failing.is_some();
    let manifest_problems = api.manifests.problems().len();
    let look = move |controller: &Controller, now| {
        metrics::render(controller, &api.metrics, Moment { now, is_journal_failing, manifest_problems })
    };
    let text = api.handle.read(look).await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

/// `GET /api/v1/openapi.json`.
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../openapi.json"))
}
