//! The load tester: runs load tools for webhooks, so that a canary has traffic to be judged by.
//!
//! It speaks the webhook of Flagger's load tester and differs where that one is dangerous or silent: programs come from
//! an allow-list and no shell is run, a token is required outside loopback, everything is bounded, and each task's result
//! can be read.
//!
//! The modules stand in reading order, and each uses only those above it.

/// A command line into words, or what only a shell could do.
mod line;

/// Which programs may run, and their files.
mod programs;

/// The end of what a program printed.
mod tail;

/// Processes of a task that left its process group.
mod strays;

/// One program from its start to its end, with all that it started.
mod child;

/// A webhook's payload into what to run, or why not.
mod job;

/// All tasks and their results.
mod tasks;

/// What the operator typed, and what it means.
mod options;

/// The page for Prometheus.
mod metrics;

/// The HTTP interface.
mod api;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use options::{DEFAULT_ALLOW, Options, OptionsError};

/// How long open requests may take to end once all tasks have.
const GRACE: Duration = Duration::from_secs(1);

/// The load tester cannot start or go on.
#[derive(Debug, Error)]
pub enum LoadTesterError {
    /// Options that cannot be meant.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The address cannot be bound.
    #[error("--http {address}: {source}{}", serving::address_hint(source, "load tester", "--http"))]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("server: {0}")]
    Server(std::io::Error),
}

/// Runs the load tester until SIGINT or SIGTERM. Prints one line with the bound address once it serves.
///
/// # Errors
/// When it cannot start, or its server fails.
pub async fn run(options: Options) -> Result<(), LoadTesterError> {
    let mut tester = start(options).await?;
    println!("listening http={}", tester.http);
    let ended = tokio::select! {
        () = serving::shutdown_signal() => Ok(()),
        ended = &mut tester.serving => ended.unwrap_or_else(|error| Err(std::io::Error::other(error))),
    };
    tester.stop().await;
    ended.map_err(LoadTesterError::Server)
}

/// Starts a load tester on the current runtime; it serves when this returns.
///
/// # Errors
/// When it cannot start.
pub async fn start(options: Options) -> Result<LoadTester, LoadTesterError> {
    let config = options.meant()?;
    config.rules.log();
    let failed = |source| LoadTesterError::Bind { address: config.http, source };
    let listener = TcpListener::bind(config.http).await.map_err(failed)?;
    let http = listener.local_addr().map_err(failed)?;
    let tasks = tasks::Tasks::new(config.limits, config.surroundings);
    let api = api::Api { rules: Arc::new(config.rules), tasks: tasks.clone(), token: config.token };
    let (stop, mut stopped) = watch::channel(false);
    let until_stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    let serving = axum::serve(listener, api::router(api)).with_graceful_shutdown(until_stopped);
    Ok(LoadTester { http, tasks, stop, serving: tokio::spawn(async { serving.await }) })
}

/// A running load tester. Dropped without [`LoadTester::stop`], it goes on until its runtime ends.
#[derive(Debug)]
pub struct LoadTester {
    http: SocketAddr,
    tasks: tasks::Tasks,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl LoadTester {
    /// Where webhooks are sent to.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Takes no more tasks, kills those that run with all that they started, and frees its address.
    pub async fn stop(mut self) {
        self.tasks.stop().await;
        let _ = self.stop.send(true);
        if !self.serving.is_finished() {
            // Callers that waited for a task have their answers; a connection that stays open must not delay the end.
            let _ = tokio::time::timeout(GRACE, &mut self.serving).await;
        }
        self.serving.abort();
    }
}
