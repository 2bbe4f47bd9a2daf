//! The agent: streams, API, journal and hooks round `rollout`'s Controller, which decides everything.
//!
//! The modules stand in reading order, and each uses only those above it (the workspace's `tests/tests/rooms.rs` checks
//! that): first what talks to others, then what is stored, then the loop, then the servers in front of it.

/// Time that never steps back.
mod clock;

/// Values of secrets, read from files at each use.
mod secrets;

/// One HTTP request to somebody else's server: bounded, repeated, and without secrets in its errors.
mod http_delivery;

/// A queue and a task for each receiver, so that a dead one delays no other.
mod queues;

/// Calls hooks.
mod hooks;

/// Sends alerts.
mod alerts;

/// Queries metric servers.
pub mod providers;

/// The numbers of stored forms, and the refusal of others.
mod stored_format;

/// Records of releases, which outlive the journal's snapshots.
mod archive;

/// Every event on disk, in order; the state at a start is what it replays.
mod journal;

/// What the operator typed, and what it means.
mod options;

/// PEM files of the fleet server, tried at the start.
mod tls;

/// The way to the event loop.
mod handle;

/// What the fleet's streams count.
mod counters;

/// The page for Prometheus.
mod metrics;

/// Performs the controller's commands to hooks, metric servers and receivers of alerts.
mod dispatcher;

/// The one loop, and the only owner of the controller.
mod event_loop;

/// Frames of a stream to domain types.
mod codec;

/// A deadline for the first stream of a connection.
mod first_stream;

/// The proxies' streams.
mod fleet;

/// The directory of Canary manifests.
mod manifests;

/// The HTTP API for people and programs.
mod api;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use rollout::controller::canary::Canary;
use rollout::release::plan::Plan;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_stream::StreamExt as _;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub use journal::{JournalError, RowError};
pub use options::{Options, OptionsError, TlsFiles};
pub use stored_format::FormatError;
pub use tls::TlsFileError;

/// How often a connection of the fleet gets a ping.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long the answer may take; so a dead connection is closed within 30 s.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long open streams and requests may take to end when the agent stops.
const GRACE: Duration = Duration::from_secs(1);

/// The agent cannot start or go on.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Options that cannot be meant.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An address cannot be bound.
    #[error("{flag} {address}: {source}{}", serving::address_hint(source, "agent", flag))]
    Bind {
        /// Which flag.
        flag: &'static str,
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A TLS file cannot be used.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// The TLS files do not fit together.
    #[error("TLS for --grpc: {0}")]
    Tls(tonic::transport::Error),
    /// The HTTP client cannot be set up.
    #[error("HTTP client: {0}")]
    Client(reqwest::Error),
    /// A server ended.
    #[error("server: {0}")]
    Server(Box<dyn std::error::Error + Send + Sync>),
}

/// Runs the agent until SIGINT or SIGTERM. Prints one line with the bound addresses once it serves.
///
/// # Errors
/// When it cannot start, or a server fails.
pub async fn run(options: Options) -> Result<(), AgentError> {
    let mut agent = start(options).await?;
    println!("listening grpc={} http={}", agent.grpc, agent.http);
    let ended = tokio::select! {
        () = serving::shutdown_signal() => Ok(()),
        ended = agent.servers.join_next() => server_ended(ended),
    };
    agent.stop().await;
    ended
}

/// Starts an agent on the current runtime; it serves when this returns.
///
/// # Errors
/// When it cannot start.
pub async fn start(options: Options) -> Result<Agent, AgentError> {
    let config = options.meant()?;
    // Another part of the process may have chosen a provider already; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = config.grpc_tls.as_ref().map(tls::server).transpose()?;
    tracing::info!(data = %config.data.display(), canaries = %config.canaries.display(), "starting: reading the journal");
    let (journal, recovered) = journal::Journal::open(&config.data, config.records)?;
    tracing::info!(replayed = recovered.replayed, data = %config.data.display(), "journal read");
    let clock = clock::Clock::start(recovered.last_at);
    let known: Vec<Plan> = recovered.controller.managed().map(Canary::latest_plan).cloned().collect();
    let secrets = secrets::Secrets::new(config.secrets.clone());
    let dispatcher = dispatcher::Dispatcher::new(secrets).map_err(AgentError::Client)?;
    let archive = recovered.archive.clone();
    let counters = Arc::new(counters::StreamCounters::default());
    let metrics = metrics::Sources {
        streams: Arc::clone(&counters),
        alerts: dispatcher.alerts().clone(),
        calls: dispatcher.calls().clone(),
        events: metrics::EventCounts::default(),
        flagger: config.flagger_metrics,
    };
    let begun = metrics::started_releases(&recovered.controller);
    let (event_loop, handle) = event_loop::EventLoop::new(recovered, journal, clock, dispatcher);
    let counting = metrics.events.clone().follow(handle.watch(), begun, handle.clone());

    let (grpc, grpc_address) = bind("--grpc", config.grpc).await?;
    let (http, http_address) = bind("--http", config.http).await?;
    let mut server =
        Server::builder().http2_keepalive_interval(Some(KEEPALIVE)).http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(AgentError::Tls)?;
    }
    let (stop, stopped) = watch::channel(false);
    let event_loop = tokio::spawn(event_loop.run(stopped.clone()));
    let counting = tokio::spawn(counting);

    let (watcher, manifests) = manifests::Watcher::new(config.canaries, handle.clone(), known);
    let watcher = watcher.read().await.map_err(|error| AgentError::Server(error.into()))?;
    let watching = tokio::spawn(watcher.watch());

    let token = config.http_token;
    let api = api::Api { handle: handle.clone(), archive, manifests, metrics, token };
    // Nagle's algorithm would hold a small push back until the one before it is acknowledged: up to 40 ms.
    let http = http.tap_io(|stream| drop(stream.set_nodelay(true)));
    let grpc = TcpIncoming::from(grpc).with_nodelay(Some(true)).map(|io| io.map(first_stream::TimedConnection::new));
    let http_server = axum::serve(http, api::router(api)).with_graceful_shutdown(until(stopped.clone()));
    let service = fleet::FleetService::new(handle, config.grpc_token, counters);
    let streams = server.add_service(service).serve_with_incoming_shutdown(grpc, until(stopped));
    let mut servers = JoinSet::new();
    servers.spawn(async { http_server.await.map_err(|error| AgentError::Server(error.into())) });
    servers.spawn(async { streams.await.map_err(|error| AgentError::Server(error.into())) });
    Ok(Agent { grpc: grpc_address, http: http_address, stop, event_loop, counting, watching, servers })
}

/// A running agent. Dropped without [`Agent::stop`], it goes on until its runtime ends.
#[derive(Debug)]
pub struct Agent {
    grpc: SocketAddr,
    http: SocketAddr,
    stop: watch::Sender<bool>,
    event_loop: JoinHandle<()>,
    counting: JoinHandle<()>,
    watching: JoinHandle<Result<(), handle::Stopped>>,
    servers: JoinSet<Result<(), AgentError>>,
}

impl Agent {
    /// Where proxies connect.
    #[must_use]
    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where people and programs connect.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Stores what it knows, ends its streams and frees its addresses and data.
    pub async fn stop(mut self) {
        self.watching.abort();
        self.counting.abort();
        let _ = self.stop.send(true);
        let _ = self.event_loop.await;
        // With the loop gone, streams and watches end by themselves; one that does not is no reason to wait.
        let all_ended = async { while self.servers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, all_ended).await;
        self.servers.shutdown().await;
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), AgentError> {
    let failed = |source| AgentError::Bind { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn server_ended(ended: Option<Result<Result<(), AgentError>, JoinError>>) -> Result<(), AgentError> {
    ended.unwrap_or(Ok(Ok(()))).map_err(|error| AgentError::Server(error.into()))?
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
