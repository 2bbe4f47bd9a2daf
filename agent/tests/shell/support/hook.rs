//! A promotion hook's server: answers what the test tells it to, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

use super::within;

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Nothing, until the test sets another reply.
    Hold,
    /// This status and text.
    Status(u16, String),
    /// A redirect to this place.
    Redirect(String),
}

/// A server that lives as long as the test.
pub(crate) struct HookServer {
    address: SocketAddr,
    calls: Mutex<mpsc::UnboundedReceiver<Value>>,
    reply: watch::Sender<Reply>,
    given_up: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// Counts when it is dropped: a call whose caller has gone before it was answered.
struct Unanswered(watch::Sender<usize>);

#[derive(Clone)]
struct Shared {
    calls: mpsc::UnboundedSender<Value>,
    reply: watch::Receiver<Reply>,
    given_up: watch::Sender<usize>,
}

impl HookServer {
    /// A server with its first reply.
    pub(crate) async fn start(reply: Reply) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (call, calls) = mpsc::unbounded_channel();
        let (reply, replies) = watch::channel(reply);
        let (gives_up, given_up) = watch::channel(0);
        let shared = Shared { calls: call, reply: replies, given_up: gives_up };
        let router = Router::new().fallback(any(answer)).with_state(shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Arc::new(Self { address, calls: Mutex::new(calls), reply, given_up, task })
    }

    /// Where it stands.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A manifest whose promotion calls this server.
    pub(crate) fn manifest(&self, timeout: Duration) -> String {
        manifest(&format!("http://{}/promote?key=s3cret", self.address), timeout)
    }

    /// The body of the next call.
    pub(crate) async fn call(&self) -> Value {
        within("a call of the hook", async { self.calls.lock().await.recv().await }).await.unwrap()
    }

    /// Until so many callers have gone without an answer.
    pub(crate) async fn given_up(&self, calls: usize) {
        let mut given_up = self.given_up.clone();
        let all = async { given_up.wait_for(|count| *count >= calls).await.map(drop) };
        within("callers that give up", all).await.unwrap();
    }

    /// From now on it answers so, also what it holds.
    pub(crate) fn reply(&self, reply: Reply) {
        self.reply.send_replace(reply);
    }

    /// Whether it was called once more than [`HookServer::call`] was asked.
    pub(crate) async fn has_more(&self) -> bool {
        !self.calls.lock().await.is_empty()
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The test's canary with a hook at a URL.
pub(crate) fn manifest(url: &str, timeout: Duration) -> String {
    let hook = format!("{{ name: deploy, url: \"{url}\", timeout: {}ms }}", timeout.as_millis());
    super::agent::WEB.replace("spec:\n", &format!("spec:\n  promotion: {{ mode: copy, hook: {hook} }}\n"))
}

async fn answer(State(mut shared): State<Shared>, body: Bytes) -> Response {
    let _ = shared.calls.send(serde_json::from_slice(&body).unwrap_or_default());
    let unanswered = Unanswered(shared.given_up);
    let reply = shared.reply.wait_for(|reply| !matches!(reply, Reply::Hold)).await.map(|reply| reply.clone());
    std::mem::forget(unanswered);
    match reply {
        Ok(Reply::Status(code, text)) => (StatusCode::from_u16(code).unwrap(), text).into_response(),
        Ok(Reply::Redirect(to)) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Ok(Reply::Hold) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
