//! A webhook receiver: answers POSTs as the test or demo decides, and remembers what was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Decide = dyn Fn(&Value) -> u16 + Send + Sync;

/// A listening receiver; it stops when dropped.
pub struct HookServer {
    addr: SocketAddr,
    calls: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl HookServer {
    /// Listens on a free port; `decide` sees each call's JSON body and returns the status to answer with.
    pub async fn start(decide: impl Fn(&Value) -> u16 + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let calls = Arc::<Mutex<Vec<Value>>>::default();
        let task = tokio::spawn(serve(listener, Arc::new(decide), Arc::clone(&calls)));
        Ok(Self { addr, calls, task })
    }

    /// The URL to call.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/promote", self.addr)
    }

    /// The bodies received so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, decide: Arc<Decide>, calls: Arc<Mutex<Vec<Value>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (decide, calls) = (Arc::clone(&decide), Arc::clone(&calls));
        let service = service_fn(move |request| answer(request, Arc::clone(&decide), Arc::clone(&calls)));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    decide: Arc<Decide>,
    calls: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let call: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let status = decide(&call);
    calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    Ok(Response::builder().status(status).body(Full::new(Bytes::new()))?)
}
