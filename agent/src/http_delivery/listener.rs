//! A server for tests of what is sent: keeps every request and answers from a list.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How it answers one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status, a header and a body.
    Full(u16, Option<(&'static str, String)>, String),
    /// Never.
    Stall,
    /// A status, then a body of which nothing comes.
    StalledBody(u16),
    /// A status, then a body without end.
    EndlessBody(u16),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

/// The server; it lives as long as the test.
pub(crate) struct Listener {
    pub address: SocketAddr,
    received: watch::Receiver<Vec<Received>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    received: Arc<watch::Sender<Vec<Received>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Reply {
    /// A status alone.
    pub(crate) fn status(status: u16) -> Self {
        Self::Full(status, None, String::new())
    }

    /// A status and a text.
    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self::Full(status, None, text.into())
    }
}

impl Received {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header's text, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Listener {
    /// Answers in this order; the last reply repeats.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = watch::channel(Vec::new());
        let replies = Arc::new(Mutex::new(replies.into_iter().collect()));
        let router = Router::new().fallback(answer).with_state(Shared { received: Arc::new(sender), replies });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, received, task }
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All it received, once that are so many.
    pub(crate) async fn received(&self, count: usize) -> Vec<Received> {
        let mut received = self.received.clone();
        let waiting = received.wait_for(|received| received.len() >= count);
        timeout(Duration::from_secs(20), waiting).await.expect("deadline: requests").unwrap().clone()
    }

    /// How many requests it has received by now.
    pub(crate) fn count(&self) -> usize {
        self.received.borrow().len()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let received = Received { method: head.method, uri: head.uri, headers: head.headers, body, at: Instant::now() };
    let reply = {
        let mut replies = shared.replies.lock().unwrap_or_else(PoisonError::into_inner);
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    };
    shared.received.send_modify(|all| all.push(received));
    let response = |status: u16| Response::builder().status(status);
    match reply.unwrap() {
        Reply::Full(status, header, text) => header
            .into_iter()
            .fold(response(status), |r, (name, value)| r.header(name, value))
            .body(text.into())
            .unwrap(),
        Reply::Stall => std::future::pending().await,
        Reply::StalledBody(status) => {
            response(status).body(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())).unwrap()
        }
        Reply::EndlessBody(status) => {
            let chunk = Bytes::from_static(&[b'x'; 16 << 10]);
            response(status).body(Body::from_stream(stream::repeat(chunk).map(Ok::<_, std::io::Error>))).unwrap()
        }
    }
}
