//! Load on keep-alive connections: at a fixed pace, whatever the answers do, or a fixed number as fast as they come.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::samples::{Sample, Samples};

type Headers = Arc<dyn Fn(u64) -> Vec<(String, String)> + Send + Sync>;
type Connection = SendRequest<Empty<Bytes>>;

/// Longer than Envoy's route timeout (15 s): who hangs is answered by Envoy, and seen as such.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What to send, and where.
#[derive(Clone)]
pub struct Load {
    target: SocketAddr,
    host: String,
    path: String,
    connections: usize,
    headers: Headers,
}

impl Load {
    /// `GET /` with `host: web` on 16 connections.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        let headers: Headers = Arc::new(|_| Vec::new());
        Self { target, host: "web".to_owned(), path: "/".to_owned(), connections: 16, headers }
    }

    /// The `host` header.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The path, with its query.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Connections kept. A paced load uses them in turn, and opens more when all are waiting for an answer.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.max(1);
        self
    }

    /// Headers for the n-th request, n from 0: `.headers(|n| vec![("user".into(), (n % 100).to_string())])`.
    #[must_use]
    pub fn headers(mut self, headers: impl Fn(u64) -> Vec<(String, String)> + Send + Sync + 'static) -> Self {
        self.headers = Arc::new(headers);
        self
    }

    /// Sends exactly `count` requests as fast as the connections answer, and returns when all are done.
    pub async fn exactly(&self, count: u64) -> Result<Samples> {
        let shared = Arc::new(Shared::new(self.clone(), self.connections).await?);
        let next = Arc::new(AtomicU64::new(0));
        let mut senders = JoinSet::new();
        for _ in 0..self.connections {
            let (shared, next) = (Arc::clone(&shared), Arc::clone(&next));
            senders.spawn(async move {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    if index >= count {
                        break;
                    }
                    shared.send(index, Instant::now()).await;
                }
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended.context("a sender panicked")?;
        }
        Ok(shared.samples())
    }

    /// Starts an open loop of `rps` requests per second: each leaves when it is due, answered or not the one before.
    pub async fn start(&self, rps: f64) -> Result<Running> {
        let shared = Arc::new(Shared::new(self.clone(), self.connections).await?);
        let (stop, stopped) = watch::channel(false);
        let pacer = tokio::spawn(pace(Arc::clone(&shared), rps, stopped));
        Ok(Running { shared, stop, pacer })
    }

    /// An open loop for a fixed time, then every answer waited for.
    pub async fn for_duration(&self, rps: f64, duration: Duration) -> Result<Samples> {
        let running = self.start(rps).await?;
        tokio::time::sleep(duration).await;
        running.stop().await
    }
}

/// A paced load that runs until it is stopped or dropped.
pub struct Running {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    pacer: JoinHandle<()>,
}

impl Running {
    /// Everything done so far.
    #[must_use]
    pub fn samples(&self) -> Samples {
        self.shared.samples()
    }

    /// What was done within the last `window`.
    #[must_use]
    pub fn recent(&self, window: Duration) -> Samples {
        let now = Instant::now();
        let done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = done.iter().rev().take_while(|sample| now.saturating_duration_since(sample.done) <= window);
        let mut samples: Vec<Sample> = recent.cloned().collect();
        samples.reverse();
        Samples(samples)
    }

    /// Sends no more, waits for the answers still due, and returns everything.
    pub async fn stop(mut self) -> Result<Samples> {
        self.stop.send_replace(true);
        (&mut self.pacer).await.context("the load's pacer panicked")?;
        Ok(self.shared.samples())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.pacer.abort();
    }
}

async fn pace(shared: Arc<Shared>, rps: f64, mut stopped: watch::Receiver<bool>) {
    let start = Instant::now();
    let mut in_flight = JoinSet::new();
    for index in 0.. {
        let due = start + Duration::from_secs_f64(index as f64 / rps);
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let shared = Arc::clone(&shared);
        in_flight.spawn(async move { shared.send(index, due).await });
        while in_flight.try_join_next().is_some() {}
    }
    while in_flight.join_next().await.is_some() {}
}

/// Idle connections and finished samples.
struct Shared {
    load: Load,
    idle: Mutex<VecDeque<Connection>>,
    done: Mutex<Vec<Sample>>,
}

impl Shared {
    async fn new(load: Load, connections: usize) -> Result<Self> {
        let mut idle = VecDeque::new();
        for _ in 0..connections {
            idle.push_back(connect(load.target).await.with_context(|| format!("cannot connect to {}", load.target))?);
        }
        Ok(Self { load, idle: Mutex::new(idle), done: Mutex::new(Vec::new()) })
    }

    fn samples(&self) -> Samples {
        Samples(self.done.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn send(&self, index: u64, due: Instant) {
        let sent = Instant::now();
        let (status, version) = match tokio::time::timeout(ANSWER_WITHIN, self.exchange(index)).await {
            Ok(Ok((status, version))) => (Some(status), version),
            Ok(Err(_)) | Err(_) => (None, None),
        };
        let sample = Sample { index, due, sent, done: Instant::now(), status, version };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    async fn exchange(&self, index: u64) -> Result<(u16, Option<String>)> {
        let mut request = Request::get(&self.load.path).header("host", &self.load.host);
        for (name, value) in (self.load.headers)(index) {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new())?;
        let mut connection = self.connection().await?;
        let (head, body) = connection.send_request(request).await?.into_parts();
        body.collect().await?;
        let version = head.headers.get("x-version").and_then(|value| value.to_str().ok()).map(str::to_owned);
        // Only a connection that finished an exchange is kept; `connection: close` shows when it is taken again.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push_back(connection);
        Ok((head.status.as_u16(), version))
    }

    /// The connection idle for longest that still works, so that all are used in turn, and with them all of Envoy's
    /// workers; a new one if none is idle.
    async fn connection(&self) -> Result<Connection> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(mut connection) = idle else { break };
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        connect(self.load.target).await
    }
}

async fn connect(target: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself when the sender is dropped or the other side closes.
    tokio::spawn(connection);
    Ok(sender)
}
