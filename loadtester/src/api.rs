//! The way in: webhooks, and pages that show what became of them. What a task came to is text, because it ends up in a
//! release's events; whatever is refused is JSON, as everywhere.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use serving::{Body, Deliberate, HttpError, MAX_BODY_BYTES, Segments, Token, answer_errors};

use crate::child::Ending;
use crate::job::{Payload, Refusal, Rules};
use crate::metrics;
use crate::tasks::{Busy, Task, Tasks};

/// Where every request is described, as errors say it.
const REFERENCE: &str = "POST a webhook, such as {\"name\": \"web\", \"namespace\": \"prod\", \"metadata\": {\"cmd\": \"hey -z 1m \
                         http://web.test/\"}}, to any path; GET /tasks shows how each task ended";

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) rules: Arc<Rules>,
    pub(crate) tasks: Tasks,
    pub(crate) token: Option<Token>,
}

/// All routes. A webhook may use any path that is not taken, as with Flagger's load tester.
pub(crate) fn router(api: Api) -> Router {
    let with_token = Router::new()
        .route("/tasks", get(list))
        .route("/tasks/{id}", get(one))
        .route("/metrics", get(scrape))
        .fallback(webhook)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(api.clone(), authenticate));
    let open = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/gate/{*action}", any(gates_elsewhere))
        .route("/rollback/{*action}", any(gates_elsewhere));
    answer_errors(with_token.merge(open).with_state(api), REFERENCE)
}

async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Result<Response, HttpError> {
    serving::authenticate(api.token.as_ref(), request.headers(), "load tester", "")?;
    Ok(next.run(request).await)
}

async fn gates_elsewhere(uri: Uri) -> HttpError {
    HttpError::not_found(format!(
        "path {} does not exist here: the agent serves the same path for every canary whose manifest has a webhook with such \
         a URL, or a gate; point the webhook and the script at the agent's --http address, or see `serin gate --help`",
        uri.path()
    ))
}

async fn webhook(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    payload: Result<Body<Payload>, HttpError>,
) -> Result<Response, HttpError> {
    if method != Method::POST {
        let refused = HttpError::only_post(&method, &uri, REFERENCE);
        return Ok(([(header::ALLOW, "POST")], refused).into_response());
    }
    let Body(payload) = payload.map_err(logged)?;
    let job = api.rules.job(&payload).map_err(|refusal| refused(status_of(&refusal), &refusal.to_string()))?;
    let (is_blocking, return_output) = (job.is_blocking, job.return_output);
    match api.tasks.start(job) {
        Ok((task, _)) if is_blocking => Ok(answer_when_ended(&task, return_output).await),
        Ok((task, is_new)) => {
            let what = if is_new { "started" } else { "is running already" };
            let text = format!("task {} {what}; GET /tasks/{0} shows how it ends\n", task.id());
            Ok((StatusCode::ACCEPTED, text).into_response())
        }
        Err(busy @ Busy::Full(_)) => Err(refused(StatusCode::TOO_MANY_REQUESTS, &busy.to_string())),
        Err(busy @ Busy::Stopping) => Err(refused(StatusCode::SERVICE_UNAVAILABLE, &busy.to_string())),
    }
}

/// A task's result, in words: the request itself was carried out, so a failed one is no [`HttpError`].
async fn answer_when_ended(task: &Task, return_output: bool) -> Response {
    let ending = task.ending().await;
    let status = match &ending {
        Ending::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        ending if ending.is_success() => StatusCode::OK,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let outcome = format!("task {} {ending}", task.id());
    let text = match (ending.is_success(), return_output) {
        (true, true) => task.output(),
        (true, false) => format!("{outcome}\n"),
        // Why it failed is in what it printed.
        (false, true) => format!("{outcome}: {}", task.output()),
        (false, false) => format!("{outcome}: {}", task.short_output()),
    };
    let mut answer = (status, text).into_response();
    answer.extensions_mut().insert(Deliberate);
    answer
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::Missing(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refused(status: StatusCode, why: &str) -> HttpError {
    logged(HttpError::new(status, why))
}

fn logged(error: HttpError) -> HttpError {
    tracing::warn!(status = error.status().as_u16(), why = error.error(), "webhook refused");
    error
}

async fn list(State(api): State<Api>) -> Json<Value> {
    let items: Vec<Value> = api.tasks.list().iter().map(|task| task.json(false)).collect();
    Json(json!({ "items": items }))
}

async fn one(State(api): State<Api>, path: Segments) -> Result<Json<Value>, HttpError> {
    let id = path.get("id");
    let task = id.parse().ok().and_then(|id| api.tasks.find(id));
    let unknown = || {
        HttpError::not_found(format!(
            "task {id:?}: no such task, or it ended long ago; GET /tasks lists those that are kept"
        ))
    };
    task.map(|task| Json(task.json(true))).ok_or_else(unknown)
}

async fn scrape(State(api): State<Api>) -> impl IntoResponse {
    let page = metrics::render(api.tasks.counts());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
}
