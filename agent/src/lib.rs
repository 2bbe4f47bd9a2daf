//! The agent: streams, API, journal and hooks round `rollout`'s Controller, which does all the thinking.
//!
//! - `engine`: the one loop; only it touches the controller.
//! - `journal`: what makes the loop's past survive.
//! - `fleet`, `codec`: proxies' streams. `api`, `metrics`: people's and programs' way in.
//! - [`manifest`], `manifests`: Canary YAML. `hooks`: calls out.

mod api;
mod clock;
mod codec;
mod engine;
mod fleet;
mod hooks;
mod journal;
pub mod manifest;
mod manifests;
mod metrics;
mod options;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;

use rollout::canary::Canary;
use rollout::plan::Plan;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

pub use journal::JournalError;
pub use options::{Options, OptionsError, TlsFiles};
pub use token::TokenError;

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
    #[error("{flag} {address}: {source}")]
    Bind {
        /// Which flag.
        flag: &'static str,
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A TLS file cannot be read.
    #[error("{flag} {path}: {source}")]
    TlsFile {
        /// Which flag.
        flag: &'static str,
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
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
    let config = options.meant()?;
    // Another part of the process may have chosen a provider already; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = config.grpc_tls.as_ref().map(tls_config).transpose()?;
    let (journal, recovered) = journal::Journal::open(&config.data)?;
    tracing::info!(replayed = recovered.replayed, data = %config.data.display(), "journal read");
    let clock = clock::Clock::start(recovered.last_at);
    let known: Vec<Plan> = recovered.controller.canaries().map(Canary::latest_plan).cloned().collect();
    let hooks = hooks::Hooks::new().map_err(AgentError::Client)?;
    let (engine, handle) = engine::Engine::new(recovered.controller, journal, clock, hooks);

    let (grpc, grpc_address) = bind("--grpc", config.grpc).await?;
    let (http, http_address) = bind("--http", config.http).await?;
    let (stop, stopped) = watch::channel(false);
    let engine = tokio::spawn(engine.run(stopped.clone()));

    let manifests = manifests::Manifests::default();
    let watcher = manifests::Watcher::new(config.canaries, handle.clone(), manifests.clone(), known);
    let watcher = watcher.read().await.map_err(|error| AgentError::Server(error.into()))?;
    let watching = tokio::spawn(watcher.watch());

    let counters = Arc::new(fleet::Counters::default());
    let api = api::Api { handle: handle.clone(), counters: Arc::clone(&counters), manifests, token: config.http_token };
    let serving = axum::serve(http, api::router(api)).with_graceful_shutdown(until(stopped.clone()));
    let serving = tokio::spawn(serving.into_future());
    let service = fleet::Fleet::new(handle, config.grpc_token, counters);
    let mut server = Server::builder().http2_keepalive_interval(Some(std::time::Duration::from_secs(10)));
    if let Some(tls) = tls {
        server = server.tls_config(tls).map_err(AgentError::Tls)?;
    }
    let streams =
        server.add_service(service).serve_with_incoming_shutdown(TcpListenerStream::new(grpc), until(stopped));
    let streams = tokio::spawn(streams);

    println!("listening grpc={grpc_address} http={http_address}");
    let ended = tokio::select! {
        () = signalled() => Ok(()),
        ended = serving => ended.map_err(|e| AgentError::Server(e.into()))?.map_err(|e| AgentError::Server(e.into())),
        ended = streams => ended.map_err(|e| AgentError::Server(e.into()))?.map_err(|e| AgentError::Server(e.into())),
    };
    watching.abort();
    let _ = stop.send(true);
    // The engine's last act is a snapshot; open streams need not be waited for, workers live without an agent.
    let _ = engine.await;
    ended
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), AgentError> {
    let failed = |source| AgentError::Bind { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn tls_config(files: &TlsFiles) -> Result<ServerTlsConfig, AgentError> {
    let read = |flag, path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| AgentError::TlsFile { flag, path: path.clone(), source })
    };
    let identity = Identity::from_pem(read("--grpc-tls-cert", &files.cert)?, read("--grpc-tls-key", &files.key)?);
    let config = ServerTlsConfig::new().identity(identity);
    match &files.client_ca {
        Some(path) => Ok(config.client_ca_root(Certificate::from_pem(read("--grpc-tls-client-ca", path)?))),
        None => Ok(config),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
}
