//! A real Prometheus server (Debian's package), and something for it to scrape.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::case::Case;
use crate::process::Process;
use crate::wait::until;

/// How often it scrapes: a test should not wait for more.
const SCRAPE_EVERY: &str = "200ms";
const WITHIN: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub struct Prometheus {
    addr: SocketAddr,
    process: Process,
}

impl Prometheus {
    /// Starts it on a free port, with its data in the case's folder. `web` is its `--web.config.file` (TLS, users).
    ///
    /// # Errors
    /// When `prometheus` is not on PATH, or does not listen within 30 s.
    pub async fn start(case: &Case, name: &str, targets: &[SocketAddr], web: Option<&str>) -> Result<Self> {
        let program = program()?;
        let targets = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(", ");
        let config = format!(
            "global: {{ scrape_interval: {SCRAPE_EVERY} }}\n\
            scrape_configs: [{{ job_name: test, static_configs: [{{ targets: [{targets}] }}] }}]\n"
        );
        let config = case.file(&format!("{name}/prometheus.yml"), &config)?;
        let option =
            |name: &str, value: PathBuf| [format!("--{name}=").into(), value.into_os_string()].join("".as_ref());
        let mut args = vec![
            option("config.file", config),
            option("storage.tsdb.path", case.folder(&format!("{name}/data"))?),
            "--web.listen-address=127.0.0.1:0".into(),
        ];
        if let Some(web) = web {
            args.push(option("web.config.file", case.file(&format!("{name}/web.yml"), web)?));
        }
        let mut process = Process::start(name, &program, &args, &[], case.dir())?;
        let addr = until("Prometheus to listen", WITHIN, async || {
            process.ensure_alive()?;
            listening(&process.log()?).context("no address in its log")
        })
        .await?;
        Ok(Self { addr, process })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Kills it as `kill -9` does.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("prometheus")).find(|program| program.is_file());
    found.context(
        "the program prometheus is not on PATH: run `cargo xtask test`, which installs Debian's package prometheus, \
        or install it yourself",
    )
}

/// The port is the kernel's choice; the log tells it: `msg="Listening on" address=127.0.0.1:34853`.
fn listening(log: &str) -> Option<SocketAddr> {
    let addresses = log.lines().filter(|line| line.contains("Listening on"));
    let addresses = addresses.filter_map(|line| line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok());
    addresses.into_iter().find(|address: &SocketAddr| address.port() != 0)
}

/// Something to scrape; unless set otherwise there were 90 requests with status 200 and 10 with status 500 between two
/// scrapes, of the app `web`. It stops when dropped.
pub struct Exporter {
    addr: SocketAddr,
    scrapes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Listens on a free port.
    pub async fn start() -> Result<Self> {
        Self::showing(|scrape| {
            format!(
                "http_requests_total{{app=\"web\",status=\"200\"}} {}\n\
                http_requests_total{{app=\"web\",status=\"500\"}} {}\n",
                90 * scrape,
                10 * scrape
            )
        })
        .await
    }

    /// The same with other samples of `http_requests_total` for the n-th scrape.
    pub async fn showing(samples: impl Fn(u64) -> String + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let scrapes = Arc::<AtomicU64>::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&scrapes), Arc::new(samples)));
        Ok(Self { addr, scrapes, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until it was scraped so often.
    pub async fn scraped(&self, times: u64) -> Result<()> {
        until("scrapes", WITHIN, async || {
            let seen = self.scrapes.load(Ordering::Relaxed);
            ensure!(seen >= times, "{seen} scrapes");
            Ok(())
        })
        .await
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, scrapes: Arc<AtomicU64>, samples: Arc<dyn Fn(u64) -> String + Send + Sync>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (scrapes, samples) = (Arc::clone(&scrapes), Arc::clone(&samples));
        let service = service_fn(move |_: Request<Incoming>| {
            let scrape = scrapes.fetch_add(1, Ordering::Relaxed) + 1;
            let text = format!("# TYPE http_requests_total counter\n{}", samples(scrape));
            async move { metrics(text) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn metrics(text: String) -> Result<Response<Full<Bytes>>> {
    let response = Response::builder().header("content-type", "text/plain; version=0.0.4; charset=utf-8");
    Ok(response.body(Full::new(Bytes::from(text)))?)
}
