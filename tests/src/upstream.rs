//! An HTTP/1.1 service that misbehaves on command, and counts what it received.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// How an upstream answers. Ratios are shares of its requests, from 0 to 1; each request meets at most one of reset,
/// hang and failure, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Sent back as `x-version`.
    pub version: String,
    /// Share of connections closed instead of an answer.
    pub reset_ratio: f64,
    /// Share never answered.
    pub hang_ratio: f64,
    /// Share answered with `fail_status`.
    pub fail_ratio: f64,
    /// The status of failures.
    pub fail_status: u16,
    /// Waited before every answer.
    pub latency: Duration,
    /// Up to this much is waited in addition, evenly spread.
    pub jitter: Duration,
    /// Share of answers that take `slow_latency` instead of `latency`.
    pub slow_ratio: f64,
    /// The latency of the slow ones.
    pub slow_latency: Duration,
    /// Whether it answers as gRPC services do: always with 200, its failures in `grpc-status`.
    pub is_grpc: bool,
    /// Whether it answers as gRPC services do to browsers: its status stands in the body.
    pub is_grpc_web: bool,
    /// Whether it leaves requests with a body unread and unanswered.
    pub leaves_uploads: bool,
    /// What it says itself in the header by which Envoy tells how long an upstream took.
    pub service_time_header: Option<String>,
    /// What it says of who may keep its answers.
    pub cache_control: Option<String>,
}

impl Behaviour {
    /// Answers everything with 200 at once.
    #[must_use]
    pub fn healthy(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            reset_ratio: 0.0,
            hang_ratio: 0.0,
            fail_ratio: 0.0,
            fail_status: 500,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            slow_ratio: 0.0,
            slow_latency: Duration::ZERO,
            is_grpc: false,
            is_grpc_web: false,
            leaves_uploads: false,
            service_time_header: None,
            cache_control: None,
        }
    }
}

/// What an upstream has received since it was started, over all its versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests, whatever became of them.
    pub requests: u64,
    /// Those answered with the failure's status.
    pub failures: u64,
    /// Those whose connection was closed instead.
    pub resets: u64,
    /// Those left without an answer.
    pub hangs: u64,
}

/// A running upstream; its connections are closed when it is dropped.
pub struct Upstream {
    addr: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    behaviour: Mutex<Behaviour>,
    seed: u64,
    /// Grows with every restart; connections of an earlier generation end with their next answer.
    generation: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    resets: AtomicU64,
    hangs: AtomicU64,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1. The n-th request's fate follows from `seed` and n alone, so the number of
    /// failures among the first n is the same in every run.
    pub async fn start(behaviour: Behaviour, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            seed,
            generation: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            hangs: AtomicU64::new(0),
        });
        let addr = listener.local_addr()?;
        let accepting = Some(tokio::spawn(accept(listener, Arc::clone(&state))));
        Ok(Self { addr, state, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the behaviour from the next request on: `upstream.set(|it| it.fail_ratio = 0.2)`.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The behaviour now.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        self.state.behaviour()
    }

    /// A rolling restart: from the next request on it answers as `behaviour` says, and each old connection ends with
    /// its next answer, so no request is lost.
    pub fn restart_as(&self, behaviour: Behaviour) {
        self.set(|now| *now = behaviour);
        self.state.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Stops listening and closes all connections: from now on connections are refused.
    pub async fn down(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            accepting.await.ok();
        }
    }

    /// Listens again on the same port, after [`Upstream::down`].
    pub async fn up(&mut self) -> Result<()> {
        self.down().await;
        let listener = TcpListener::bind(self.addr).await.with_context(|| format!("cannot bind {}", self.addr))?;
        self.accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
        Ok(())
    }

    /// What it has received so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let State { requests, failures, resets, hangs, .. } = &*self.state;
        Counts { requests: read(requests), failures: read(failures), resets: read(resets), hangs: read(hangs) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and so are all connections.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, Arc::clone(&state)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    stream.set_nodelay(true).ok();
    let generation = state.generation.load(Ordering::SeqCst);
    let service = service_fn(|request| answer(request, &state, generation));
    // An error here is a client that went away or a reset that was asked for.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

/// Asked for: hyper then closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("reset on command")]
struct Reset;

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
/// An empty message, and the frame of the trailers behind it.
const WEB_CALL: &[u8] = b"\0\0\0\0\0\x80\0\0\0\x0fgrpc-status:0\r\n";
const FAILED_WEB_CALL: &[u8] = b"\0\0\0\0\0\x80\0\0\0\x10grpc-status:13\r\n";
/// Most bytes of one answer's body.
const MAX_BODY_BYTES: usize = 1 << 26;

/// Reads the whole request first, as most services do; `?bytes=N` asks for a body of N bytes, `?status=N` for a status.
async fn answer(
    mut request: Request<Incoming>,
    state: &State,
    generation: u64,
) -> Result<Response<Full<Bytes>>, Reset> {
    let behaviour = state.behaviour();
    let n = state.requests.fetch_add(1, Ordering::SeqCst);
    if behaviour.leaves_uploads && !request.body().is_end_stream() {
        let never: Infallible = std::future::pending().await;
        match never {}
    }
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let fate = unit(state.seed, n, 0);
    let (reset_below, hang_below) = (behaviour.reset_ratio, behaviour.reset_ratio + behaviour.hang_ratio);
    if fate < reset_below {
        state.resets.fetch_add(1, Ordering::SeqCst);
        return Err(Reset);
    }
    if fate < hang_below {
        state.hangs.fetch_add(1, Ordering::SeqCst);
        let never: Infallible = std::future::pending().await;
        match never {}
    }
    let failed = fate < hang_below + behaviour.fail_ratio;
    if failed {
        state.failures.fetch_add(1, Ordering::SeqCst);
    }
    wait_as(&behaviour, state.seed, n).await;

    let asked = |name: &str| request.uri().query().and_then(|query| query.strip_prefix(name)?.parse::<usize>().ok());
    let body = match asked("bytes=") {
        Some(bytes) => Bytes::from(vec![b'x'; bytes.min(MAX_BODY_BYTES)]),
        None if behaviour.is_grpc_web => Bytes::from_static(if failed { FAILED_WEB_CALL } else { WEB_CALL }),
        None => Bytes::from_static(b"ok\n"),
    };
    let mut response = Response::new(Full::new(body));
    let is_status = failed && !behaviour.is_grpc && !behaviour.is_grpc_web;
    let asked_for = asked("status=").and_then(|status| u16::try_from(status).ok());
    if let Some(status) = asked_for.or(is_status.then_some(behaviour.fail_status))
        && let Ok(status) = status.try_into()
    {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    if behaviour.is_grpc {
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(if failed { "13" } else { "0" }));
    }
    if behaviour.is_grpc_web {
        headers.insert("content-type", HeaderValue::from_static("application/grpc-web+proto"));
    }
    if let Ok(version) = HeaderValue::from_str(&behaviour.version) {
        headers.insert("x-version", version);
    }
    if let Some(control) = &behaviour.cache_control {
        headers.extend(HeaderValue::from_str(control).ok().map(|value| (CACHE_CONTROL, value)));
    }
    if let Some(copy) = &behaviour.service_time_header {
        headers.extend(HeaderValue::from_str(copy).ok().map(|value| (SERVICE_TIME, value)));
    }
    // What the filter decided, for tests that want to see it.
    let decision = request.headers().get("x-serin-upstream").cloned();
    headers.insert("x-decision", decision.unwrap_or(HeaderValue::from_static("none")));
    if generation != state.generation.load(Ordering::SeqCst) {
        headers.insert("connection", HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn wait_as(behaviour: &Behaviour, seed: u64, n: u64) {
    let slow = unit(seed, n, 1) < behaviour.slow_ratio;
    let base = if slow { behaviour.slow_latency } else { behaviour.latency };
    let latency = base + behaviour.jitter.mul_f64(unit(seed, n, 2));
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

impl State {
    fn behaviour(&self) -> Behaviour {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A number in [0, 1) that depends on its arguments alone (splitmix64): the `stream`-th draw for request `n`.
fn unit(seed: u64, n: u64, stream: u64) -> f64 {
    let mut x = seed ^ n.wrapping_mul(3).wrapping_add(stream + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1_u64 << 53) as f64
}
