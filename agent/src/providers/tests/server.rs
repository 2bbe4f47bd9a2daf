//! The server in these tests.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// What it was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// As it stood in the request line.
    pub(crate) raw_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    /// The query, decoded.
    pub(crate) fn query(&self) -> BTreeMap<String, String> {
        let url = Url::parse(&format!("http://x/?{}", self.raw_query)).unwrap();
        url.query_pairs().into_owned().collect()
    }

    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    /// Method and path.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// 200 and this body.
    pub(crate) fn ok(body: &str) -> Self {
        Self::status(200, body)
    }

    /// This status and body.
    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }
}

/// A server that lives as long as the test.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    asked: Mutex<mpsc::UnboundedReceiver<Asked>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared<F> {
    asked: mpsc::UnboundedSender<Asked>,
    answer: F,
}

impl Server {
    /// One answer for all.
    pub(crate) async fn start(reply: Reply) -> Self {
        Self::answering(move |_| reply.clone()).await
    }

    /// An answer for each request.
    pub(crate) async fn answering(answer: impl Fn(&Asked) -> Reply + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::unbounded_channel();
        let router = Router::new().fallback(any(respond)).with_state(Shared { asked: sender, answer });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, asked: Mutex::new(asked), task }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request that it was sent; the answer has gone out already.
    pub(crate) async fn asked(&self) -> Asked {
        self.asked.lock().await.try_recv().expect("it was not asked")
    }
}

impl Server {
    /// Whether nothing (more) arrived.
    pub(crate) async fn was_not_asked(&self) -> bool {
        self.asked.lock().await.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond<F: Fn(&Asked) -> Reply>(
    State(shared): State<Shared<F>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked {
        method,
        path: uri.path().to_owned(),
        raw_query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let reply = (shared.answer)(&asked);
    shared.asked.send(asked).unwrap();
    let mut response = (StatusCode::from_u16(reply.status).unwrap(), reply.body).into_response();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
