//! The HTTP interface: webhooks, and pages with the results of their tasks. Answers to webhooks are text, for they end up
//! in a release's events.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use serving::Token;

use crate::child::Ending;
use crate::job::{Payload, Refusal, Rules};
use crate::metrics;
use crate::tasks::{Busy, Task, Tasks};

/// Longest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

const GATES_MOVED: &str = "gates are not here: the agent keeps them, stored and behind its token, and answers the same \
                           paths; `serin gate --help` says how\n";
const HOW: &str = "POST a webhook here: {\"name\": \"web\", \"namespace\": \"prod\", \"metadata\": {\"cmd\": \"hey -z 1m \
                   http://web.test/\"}}; GET /tasks shows its result\n";

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) rules: Arc<Rules>,
    pub(crate) tasks: Tasks,
    pub(crate) token: Option<Token>,
}

/// All routes. A webhook may use any path that is not taken, as with Flagger's load tester.
pub(crate) fn router(api: Api) -> Router {
    let guarded = Router::new()
        .route("/tasks", get(list))
        .route("/tasks/{id}", get(one))
        .route("/metrics", get(scrape))
        .fallback(webhook)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(api.clone(), guard));
    let open = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/gate/{*action}", any(async || (StatusCode::NOT_FOUND, GATES_MOVED)))
        .route("/rollback/{*action}", any(async || (StatusCode::NOT_FOUND, GATES_MOVED)));
    guarded.merge(open).with_state(api)
}

async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
    match &api.token {
        Some(token) if !token.fits(shown) => {
            let said = match shown {
                Some(_) => "authentication failed: the token is not this load tester's\n",
                None => "missing bearer token: send the header `authorization: Bearer TOKEN`\n",
            };
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], said).into_response()
        }
        _ => next.run(request).await,
    }
}

/// A status and one line that says why.
type Answer = (StatusCode, String);

async fn webhook(State(api): State<Api>, method: Method, payload: Result<Json<Payload>, JsonRejection>) -> Answer {
    if method != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, HOW.into());
    }
    let job = match payload {
        Ok(Json(payload)) => api.rules.job(&payload),
        Err(rejection) => return refused(rejection.status(), &rejection.body_text()),
    };
    let job = match job {
        Ok(job) => job,
        Err(refusal) => return refused(status_of(&refusal), &refusal.to_string()),
    };
    let (is_blocking, return_output) = (job.is_blocking, job.return_output);
    match api.tasks.start(job) {
        Ok((task, _)) if is_blocking => answer_when_ended(&task, return_output).await,
        Ok((task, is_new)) => {
            let what = if is_new { "started" } else { "is running already" };
            (StatusCode::ACCEPTED, format!("task {} {what}; GET /tasks/{0} shows its result\n", task.id()))
        }
        Err(busy @ Busy::Full(_)) => refused(StatusCode::TOO_MANY_REQUESTS, &busy.to_string()),
        Err(busy @ Busy::Stopping) => refused(StatusCode::SERVICE_UNAVAILABLE, &busy.to_string()),
    }
}

async fn answer_when_ended(task: &Task, return_output: bool) -> Answer {
    let ending = task.ending().await;
    let status = match &ending {
        Ending::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        ending if ending.is_success() => StatusCode::OK,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let outcome = format!("task {} {ending}", task.id());
    match (ending.is_success(), return_output) {
        (true, true) => (status, task.output()),
        (true, false) => (status, format!("{outcome}\n")),
        // Why it failed is in what it printed.
        (false, true) => (status, format!("{outcome}: {}", task.output())),
        (false, false) => (status, format!("{outcome}: {}", task.short_output())),
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::Missing(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refused(status: StatusCode, why: &str) -> Answer {
    tracing::warn!(status = status.as_u16(), why, "webhook refused");
    (status, format!("{why}\n"))
}

async fn list(State(api): State<Api>) -> Json<Value> {
    let items: Vec<Value> = api.tasks.list().iter().map(|task| task.json(false)).collect();
    Json(json!({ "items": items }))
}

async fn one(State(api): State<Api>, id: Result<Path<u64>, PathRejection>) -> Result<Json<Value>, Answer> {
    let task = id.ok().and_then(|Path(id)| api.tasks.find(id));
    let unknown = || (StatusCode::NOT_FOUND, "no such task, or it ended long ago; GET /tasks lists them\n".into());
    task.map(|task| Json(task.json(true))).ok_or_else(unknown)
}

async fn scrape(State(api): State<Api>) -> impl IntoResponse {
    let page = metrics::render(api.tasks.counts());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
}
