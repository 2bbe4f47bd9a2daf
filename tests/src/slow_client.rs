//! Clients that take their time, as phones on a bad line do, or leave: over a socket of their own, byte by byte.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Longer than any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than all buffers between an upstream and a client hold.
const LARGE_BYTES: usize = 20_000_000;

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowAnswer {
    /// HTTP status.
    pub status: u16,
    /// How long the upstream took, as Envoy says in `x-envoy-upstream-service-time`.
    pub service_time_ms: u64,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowClient {
    /// Sends half of its request, and the rest so much later.
    Upload(Duration),
    /// The same in chunks, with trailers.
    ChunkedUpload(Duration),
    /// Sends half of its request and leaves so much later.
    LeavesUpload(Duration),
    /// Sends all, waits for its answer and leaves so much later, with or without it.
    LeavesWaiting(Duration),
    /// Asks for a large answer and reads nothing of it for so long, then all.
    Download(Duration),
    /// Asks for a large answer, reads nothing of it and leaves so much later.
    LeavesDownload(Duration),
    /// Sends headers alone on many streams of one HTTP/2 connection, and resets all of them so much later.
    ResetsStreams(Duration),
    /// Has more to send than the buffers between it and the upstream hold, and leaves so much later unless it is answered.
    LeavesLargeUpload(Duration),
}

/// How many.
const STREAMS: usize = 20;

/// A body of which nothing ever comes.
struct NeverSent;

impl Body for NeverSent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Pending
    }
}

impl SlowClient {
    /// Runs once; `extra` are header lines. Its answer, if it waited for one.
    pub async fn run(self, envoy: SocketAddr, extra: &str) -> Result<Option<SlowAnswer>> {
        timeout(PATIENCE, self.run_whole(envoy, extra)).await.context("a slow client did not end")?
    }

    /// So many of them a second, whatever became of those before, until dropped. `extra` are header lines of the n-th.
    pub fn steadily(
        self,
        envoy: SocketAddr,
        per_second: u64,
        extra: impl Fn(u64) -> String + Send + 'static,
    ) -> JoinSet<()> {
        let mut all = JoinSet::new();
        all.spawn(async move {
            let mut clients = JoinSet::new();
            let mut ticks = interval(Duration::from_micros(1_000_000 / per_second.max(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for n in 0.. {
                ticks.tick().await;
                let extra = extra(n);
                clients.spawn(async move { self.run(envoy, &extra).await.is_ok() });
                while clients.try_join_next().is_some() {}
            }
        });
        all
    }

    async fn run_whole(self, envoy: SocketAddr, extra: &str) -> Result<Option<SlowAnswer>> {
        let mut stream = connect(envoy).await?;
        let head = |line: &str| format!("{line} HTTP/1.1\r\nhost: web\r\n{extra}");
        let upload = format!("{}content-length: 10\r\n\r\n12345", head("POST /upload"));
        match self {
            Self::Upload(pause) => {
                stream.write_all(upload.as_bytes()).await?;
                sleep(pause).await;
                stream.write_all(b"67890").await?;
                answer(&mut stream).await.map(Some)
            }
            Self::ChunkedUpload(pause) => {
                let head = head("PUT /upload");
                let first = format!("{head}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n5\r\n12345\r\n");
                stream.write_all(first.as_bytes()).await?;
                sleep(pause).await;
                stream.write_all(b"0\r\nx-sum: 1\r\n\r\n").await?;
                answer(&mut stream).await.map(Some)
            }
            Self::LeavesUpload(after) => {
                stream.write_all(upload.as_bytes()).await?;
                sleep(after).await;
                Ok(None)
            }
            Self::LeavesWaiting(after) => {
                stream.write_all(format!("{}\r\n", head("GET /")).as_bytes()).await?;
                sleep(after).await;
                Ok(None)
            }
            Self::Download(pause) => {
                ask_much(&mut stream, &head).await?;
                sleep(pause).await;
                let answer = answer(&mut stream).await?;
                let mut left = LARGE_BYTES;
                let mut buffer = vec![0; 1 << 20];
                while left > 0 {
                    match stream.read(&mut buffer).await? {
                        0 => bail!("{left} bytes are missing"),
                        read => left = left.saturating_sub(read),
                    }
                }
                Ok(Some(answer))
            }
            Self::ResetsStreams(after) => {
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                let connection = tokio::spawn(connection);
                let mut answers = Vec::new();
                for _ in 0..STREAMS {
                    let request = Request::post("http://web/upload").body(NeverSent)?;
                    answers.push(tokio::spawn(sender.send_request(request)));
                }
                sleep(after).await;
                answers.iter().for_each(tokio::task::JoinHandle::abort);
                for answer in answers {
                    if let Ok(answer) = answer.await {
                        bail!("an answer to half a request: {answer:?}");
                    }
                }
                // With its last sender the connection ends, when the resets have been sent.
                drop(sender);
                connection.await??;
                Ok(None)
            }
            Self::LeavesLargeUpload(after) => {
                let head = format!("{}content-length: {LARGE_BYTES}\r\n\r\n", head("POST /upload"));
                stream.write_all(head.as_bytes()).await?;
                let sent = async {
                    stream.write_all(&vec![b'x'; LARGE_BYTES]).await?;
                    answer(&mut stream).await
                };
                timeout(after, sent).await.ok().transpose()
            }
            Self::LeavesDownload(after) => {
                ask_much(&mut stream, &head).await?;
                sleep(after).await;
                Ok(None)
            }
        }
    }
}

async fn ask_much(stream: &mut TcpStream, head: &impl Fn(&str) -> String) -> Result<()> {
    let request = format!("{}\r\n", head(&format!("GET /large?bytes={LARGE_BYTES}")));
    Ok(stream.write_all(request.as_bytes()).await?)
}

/// With a small buffer, so that what is not read stays where it comes from.
async fn connect(envoy: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let stream = socket.connect(envoy).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads an answer's headers.
async fn answer(stream: &mut TcpStream) -> Result<SlowAnswer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let times = head.lines().filter_map(|line| line.strip_prefix("x-envoy-upstream-service-time: "));
    let times: Vec<u64> = times.filter_map(|time| time.parse().ok()).collect();
    let [service_time_ms] = times[..] else { bail!("not one service time in {head}") };
    Ok(SlowAnswer { status: status.with_context(|| format!("no status in {head}"))?, service_time_ms })
}
