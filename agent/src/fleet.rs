//! The fleet's gRPC server: one task a stream, which decodes, bounds and hands on; it decides nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::Stream;
use proto::limits::MAX_FROM_WORKER_BYTES;
use rollout::controller::Event;
use rollout::fleet::Conn;
use rollout::report::{Hello, PROTOCOL, ToAgent, ToWorker};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::codec::Incoming;
use crate::engine::{Handle, MAX_OUTBOX};
use crate::token::Token;

/// Most streams at once: two workers on each of ten thousand proxies.
const MAX_STREAMS: usize = 20_000;
/// A stream must say Hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A welcomed stream that says nothing for this long is dead; workers speak every second.
const SILENCE: Duration = Duration::from_secs(30);
/// Frames that break a rule before a stream is closed.
const MAX_MALFORMED: u32 = 16;

/// The code that tonic-build made of the service.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, unused_qualifications, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/serin.fleet.v1.Fleet.rs"));
}

pub(crate) use generated::fleet_server::FleetServer;

/// What the streams count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Streams open now.
    pub(crate) streams: AtomicUsize,
    /// Frames that broke a rule, since the start.
    pub(crate) malformed: AtomicU64,
    /// Streams refused: no token, wrong protocol, no Hello, too many.
    pub(crate) refused: AtomicU64,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Fleet {
    handle: Handle,
    token: Option<Token>,
    counters: Arc<Counters>,
    next_conn: Arc<AtomicU64>,
}

impl Fleet {
    /// A server for the fleet; with a token, streams must carry it.
    pub(crate) fn new(handle: Handle, token: Option<Token>, counters: Arc<Counters>) -> FleetServer<Self> {
        let next_conn = Arc::new(AtomicU64::new(1));
        let fleet = Self { handle, token, counters, next_conn };
        FleetServer::new(fleet).max_decoding_message_size(MAX_FROM_WORKER_BYTES)
    }

    fn refuse(&self, status: Status) -> Status {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(code = ?status.code(), "stream refused: {}", status.message());
        status
    }
}

#[tonic::async_trait]
impl generated::fleet_server::Fleet for Fleet {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ToWorker, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<Incoming>>) -> Result<Response<Self::ConnectStream>, Status> {
        let authorization = request.metadata().get("authorization").map(tonic::metadata::MetadataValue::as_bytes);
        if self.token.as_ref().is_some_and(|token| !token.fits(authorization)) {
            return Err(self.refuse(Status::unauthenticated("the stream's bearer token is missing or wrong")));
        }
        if self.counters.streams.load(Ordering::Relaxed) >= MAX_STREAMS {
            return Err(self.refuse(Status::resource_exhausted(format!("this agent serves {MAX_STREAMS} streams"))));
        }
        let mut incoming = request.into_inner();
        let hello = hello(&mut incoming).await.map_err(|status| self.refuse(status))?;
        PROTOCOL.agree(hello.protocol).map_err(|error| self.refuse(Status::failed_precondition(error.to_string())))?;
        let conn = Conn(self.next_conn.fetch_add(1, Ordering::Relaxed));
        let (outbox, outgoing) = mpsc::channel(MAX_OUTBOX);
        let stopped = |_| Status::unavailable("the agent is shutting down");
        self.handle.open(conn, outbox.clone()).await.map_err(stopped)?;
        self.handle.event(Event::Connected(conn, hello)).await.map_err(stopped)?;
        let stream = LiveStream { conn, handle: self.handle.clone(), counters: Arc::clone(&self.counters) };
        self.counters.streams.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(stream.read(incoming, outbox));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing).map(Ok))))
    }
}

async fn hello(incoming: &mut Streaming<Incoming>) -> Result<Hello, Status> {
    let first = timeout(HELLO_WITHIN, incoming.next()).await;
    match first {
        Err(_) => Err(Status::deadline_exceeded("no Hello within 10 s")),
        Ok(None) => Err(Status::invalid_argument("the stream ended before Hello")),
        Ok(Some(Err(status))) => Err(status),
        Ok(Some(Ok(Incoming(Ok(ToAgent::Hello(hello)))))) => Ok(hello),
        Ok(Some(Ok(Incoming(Ok(_))))) => Err(Status::invalid_argument("the first message must be Hello")),
        Ok(Some(Ok(Incoming(Err(error))))) => Err(Status::invalid_argument(format!("Hello: {error}"))),
    }
}

/// One welcomed stream.
struct LiveStream {
    conn: Conn,
    handle: Handle,
    counters: Arc<Counters>,
}

impl LiveStream {
    /// Reads until either side ends it; `outbox` closes when the engine has cut the worker off.
    async fn read(self, mut incoming: Streaming<Incoming>, outbox: mpsc::Sender<ToWorker>) {
        let mut malformed = 0;
        loop {
            let next = tokio::select! {
                next = timeout(SILENCE, incoming.next()) => next,
                () = outbox.closed() => break,
            };
            let Ok(Some(Ok(Incoming(message)))) = next else { break };
            let event = match message {
                Ok(ToAgent::Report(report)) => Event::Reported(self.conn, report),
                Ok(ToAgent::Adopted(canary, epoch)) => Event::Adopted(self.conn, canary, epoch),
                Ok(ToAgent::Beat) => {
                    if self.handle.beat(self.conn).await.is_err() {
                        break;
                    }
                    continue;
                }
                Ok(ToAgent::Hello(_)) => break,
                Err(error) => {
                    self.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    malformed += 1;
                    tracing::warn!(conn = self.conn.0, %error, "message of a worker refused");
                    if malformed >= MAX_MALFORMED {
                        break;
                    }
                    continue;
                }
            };
            if self.handle.event(event).await.is_err() {
                break;
            }
        }
        self.counters.streams.fetch_sub(1, Ordering::Relaxed);
        let _ = self.handle.event(Event::Disconnected(self.conn)).await;
    }
}
