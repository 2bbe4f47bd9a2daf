//! An agent whose answers are canned: the same paths, statuses and server-sent events as the real one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream::{self, Stream, StreamExt};
use rollout::release::phase::Note;
use rollout::view::status::{CanaryStatus, EventStatus, WorkerStatus};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One server-sent event of a watch.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// The canary's state.
    Status(Box<CanaryStatus>),
    /// Something happened.
    Event(Box<EventStatus>),
    /// The agent ends the watch; a script without it stays open and silent.
    Close,
}

/// What the agent says, and what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    /// All canaries.
    pub canaries: Vec<CanaryStatus>,
    /// Manifest problems.
    pub problems: Vec<String>,
    /// Every canary's history.
    pub events: Vec<EventStatus>,
    /// Every canary's judgement.
    pub explanation: Option<Value>,
    /// All workers.
    pub workers: Vec<WorkerStatus>,
    /// What each connection to a watch gets, first come first.
    pub watches: VecDeque<Vec<Frame>>,
    /// Every canary's recorded releases.
    pub releases: Vec<Value>,
    /// Every canary's stored gates.
    pub gates: Vec<Value>,
    /// The record of each.
    pub record: String,
    /// Why the agent carries out and does not store.
    pub unstored: Option<String>,
    /// The answer to every POST, if not success.
    pub refuse: Option<(u16, String)>,
    /// The token it wants.
    pub token: Option<String>,
    /// Every POST: path and body.
    pub posts: Vec<(String, Value)>,
}

/// The running agent; ends with this value.
pub(crate) struct Fake {
    /// Its address.
    pub url: String,
    script: Shared,
    /// Its own, so that connections end with it and not only the acceptance of new ones.
    runtime: Option<Runtime>,
}

type Shared = Arc<Mutex<Script>>;

impl Fake {
    /// Starts one on a free port.
    pub(crate) async fn start(script: Script) -> Self {
        let script: Shared = Arc::new(Mutex::new(script));
        let runtime = Runtime::new().expect("a runtime");
        let bound = runtime.spawn(TcpListener::bind("127.0.0.1:0"));
        let listener = bound.await.expect("no panic").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = router(Arc::clone(&script));
        runtime.spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, script, runtime: Some(runtime) }
    }

    /// Ends it and every connection to it.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Its script, to look at or change.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panicked")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end();
    }
}

/// An event of release 3.
pub(crate) fn event(at_ms: u64, note: Note) -> EventStatus {
    EventStatus { at_ms, release: 3, weight_percent: 5.0, message: rollout::release::text::note(&note), detail: note }
}

fn router(script: Shared) -> Router {
    Router::new()
        .route("/api/v1/canaries", get(list))
        .route("/api/v1/canaries/{namespace}/{name}", get(one))
        .route("/api/v1/canaries/{namespace}/{name}/events", get(events))
        .route("/api/v1/canaries/{namespace}/{name}/explain", get(explain))
        .route("/api/v1/canaries/{namespace}/{name}/watch", get(watch))
        .route("/api/v1/canaries/{namespace}/{name}/releases/{release}/record", get(record))
        .route("/api/v1/canaries/{namespace}/{name}/{verb}", get(releases).post(ask))
        .route("/api/v1/canaries/{namespace}/{name}/gates/{gate}/{verb}", post(move_gate))
        .route("/api/v1/workers", get(workers))
        .layer(from_fn_with_state(Arc::clone(&script), guard))
        .with_state(script)
}

async fn releases(
    State(script): State<Shared>,
    Path((namespace, name, list)): Path<(String, String, String)>,
) -> Response {
    let script_of = |script: &Script| {
        if list == "gates" {
            return script.gates.clone();
        }
        assert_eq!(list, "releases");
        script.releases.clone()
    };
    match find(&script, &namespace, &name) {
        Some(_) => Json(json!({"items": script_of(&lock(&script))})).into_response(),
        None => unknown(&namespace, &name),
    }
}

async fn record(State(script): State<Shared>) -> String {
    lock(&script).record.clone()
}

fn lock(script: &Shared) -> MutexGuard<'_, Script> {
    script.lock().expect("no test panicked")
}

async fn guard(State(script): State<Shared>, request: Request, next: Next) -> Response {
    let wanted = lock(&script).token.clone().map(|token| format!("Bearer {token}"));
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if wanted.is_some() && wanted.as_deref() != given {
        let said = if given.is_some() {
            "the token that was sent is not this agent's"
        } else {
            "this agent wants a bearer token"
        };
        return refusal(401, said);
    }
    next.run(request).await
}

async fn list(State(script): State<Shared>) -> Json<Value> {
    let script = lock(&script);
    Json(json!({"items": script.canaries, "problems": script.problems}))
}

async fn one(State(script): State<Shared>, Path((namespace, name)): Path<(String, String)>) -> Response {
    match find(&script, &namespace, &name) {
        Some(canary) => Json(canary).into_response(),
        None => unknown(&namespace, &name),
    }
}

async fn events(State(script): State<Shared>, Path((namespace, name)): Path<(String, String)>) -> Response {
    match find(&script, &namespace, &name) {
        Some(_) => Json(json!({"items": lock(&script).events})).into_response(),
        None => unknown(&namespace, &name),
    }
}

async fn explain(State(script): State<Shared>, Path((namespace, name)): Path<(String, String)>) -> Response {
    match find(&script, &namespace, &name) {
        Some(_) => {
            let canned =
                || serde_json::to_value(crate::fixture::explanation(&namespace, &name)).expect("it has a JSON form");
            Json(lock(&script).explanation.clone().unwrap_or_else(canned)).into_response()
        }
        None => unknown(&namespace, &name),
    }
}

async fn watch(State(script): State<Shared>, Path((namespace, name)): Path<(String, String)>) -> Response {
    if find(&script, &namespace, &name).is_none() {
        return unknown(&namespace, &name);
    }
    let frames = lock(&script).watches.pop_front().unwrap_or_default();
    Sse::new(play(frames)).into_response()
}

fn play(frames: Vec<Frame>) -> impl Stream<Item = Result<Event, Infallible>> {
    let closes = matches!(frames.last(), Some(Frame::Close));
    let events = frames.into_iter().filter_map(|frame| {
        let event = match frame {
            Frame::Status(status) => Event::default().event("status").json_data(status),
            Frame::Event(event) => Event::default().event("event").json_data(event),
            Frame::Close => return None,
        };
        Some(Ok(event.expect("statuses have a JSON form")))
    });
    let silence = if closes { stream::empty().boxed() } else { stream::pending().boxed() };
    stream::iter(events).chain(silence)
}

async fn ask(
    State(script): State<Shared>,
    Path((namespace, name, verb)): Path<(String, String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let found = find(&script, &namespace, &name);
    let mut script = lock(&script);
    script.posts.push((format!("{namespace}/{name}/{verb}"), body));
    if let Some((status, error)) = &script.refuse {
        return refusal(*status, error);
    }
    match found {
        Some(canary) => match &script.unstored {
            // As an agent of yesterday answers.
            None => Json(json!({"release": canary.release, "phase": canary.phase})).into_response(),
            Some(why) => {
                let done = json!({"release": canary.release, "phase": canary.phase, "stored": false, "warning": why});
                Json(done).into_response()
            }
        },
        None => unknown(&namespace, &name),
    }
}

async fn move_gate(
    State(script): State<Shared>,
    Path((namespace, name, gate, verb)): Path<(String, String, String, String)>,
    body: Json<Value>,
) -> Response {
    ask(State(script), Path((namespace, name, format!("gates/{gate}/{verb}"))), body).await
}

async fn workers(State(script): State<Shared>) -> Json<Value> {
    Json(json!({"items": lock(&script).workers}))
}

fn find(script: &Shared, namespace: &str, name: &str) -> Option<CanaryStatus> {
    let script = lock(script);
    script.canaries.iter().find(|canary| canary.namespace == namespace && canary.name == name).cloned()
}

fn unknown(namespace: &str, name: &str) -> Response {
    refusal(404, &format!("canary {namespace}/{name} is not known"))
}

fn refusal(status: u16, error: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, Json(json!({"error": error}))).into_response()
}
