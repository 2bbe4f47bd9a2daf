//! The fleet's gRPC server: one task for each stream, which decodes, checks limits and forwards; it decides nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use proto::limits::MAX_FROM_WORKER_BYTES;
use rollout::controller::fleet::Conn;
use rollout::controller::{Event, WorkerEvent};
use rollout::routing::table::Epoch;
use rollout::worker::messages::{Hello, PROTOCOL, ToAgent};
use serving::Token;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::codec::Incoming;
use crate::counters::{CountedStream, StreamCounters};
use crate::first_stream::FirstStream;
use crate::handle::{Handle, MAX_OUTBOX, Outbox, Stopped, StreamEnd};

/// Most streams at once: two workers on each of ten thousand proxies.
const MAX_STREAMS: usize = 20_000;
/// A stream must say Hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A welcomed stream that says nothing for this long is dead; workers speak every second.
const SILENCE: Duration = Duration::from_secs(10);
/// Frames that break a rule before a stream is closed.
const MAX_MALFORMED: u32 = 16;

/// The code that tonic-build made of the service.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, unused_qualifications, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/serin.fleet.v1.Fleet.rs"));
}

pub(crate) use generated::fleet_server::FleetServer;

/// The service.
#[derive(Debug)]
pub(crate) struct FleetService {
    handle: Handle,
    token: Option<Token>,
    counters: Arc<StreamCounters>,
    next_conn: Arc<AtomicU64>,
}

impl FleetService {
    /// A server for the fleet; with a token, streams must carry it.
    pub(crate) fn new(handle: Handle, token: Option<Token>, counters: Arc<StreamCounters>) -> FleetServer<Self> {
        let next_conn = Arc::new(AtomicU64::new(1));
        let fleet = Self { handle, token, counters, next_conn };
        FleetServer::new(fleet).max_decoding_message_size(MAX_FROM_WORKER_BYTES)
    }

    fn refuse(&self, status: Status) -> Status {
        self.counters.count_refused();
        tracing::warn!(code = ?status.code(), "stream refused: {}", status.message());
        status
    }
}

#[tonic::async_trait]
impl generated::fleet_server::Fleet for FleetService {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<Incoming>>) -> Result<Response<Self::ConnectStream>, Status> {
        let authorization = request.metadata().get("authorization").map(tonic::metadata::MetadataValue::as_bytes);
        if self.token.as_ref().is_some_and(|token| !token.fits(authorization)) {
            return Err(
                self.refuse(Status::unauthenticated("authentication failed: the bearer token is missing or wrong"))
            );
        }
        if let Some(first) = request.extensions().get::<FirstStream>() {
            first.opened();
        }
        let counted = CountedStream::open(&self.counters);
        if self.counters.open() > MAX_STREAMS {
            return Err(self.refuse(Status::resource_exhausted(format!("this agent serves {MAX_STREAMS} streams"))));
        }
        let mut incoming = request.into_inner();
        let hello = hello(&mut incoming).await.map_err(|status| match status.code() {
            // The worker left, for example because it waited too long while this agent was starting.
            Code::Cancelled => {
                tracing::debug!("stream given up: {}", status.message());
                status
            }
            _ => self.refuse(status),
        })?;
        PROTOCOL.agree(hello.protocol).map_err(|error| self.refuse(Status::failed_precondition(error.to_string())))?;
        let now = self.handle.read(|_, now| now).await.map_err(stopping)?;
        if let Some((canary, epoch)) = hello.beyond(Epoch::bound_at(now)) {
            let (node, epoch) = (&hello.node, epoch.0);
            let error = format!(
                "hello.adopted of proxy {node:?}: epoch {epoch} of {canary} is one that no agent can have issued by now; restart the \
                 proxy, or set the agent's clock if that is behind"
            );
            return Err(self.refuse(Status::failed_precondition(error)));
        }
        let conn = Conn(self.next_conn.fetch_add(1, Ordering::Relaxed));
        let node = hello.node.clone();
        tracing::info!(conn = conn.0, ?node, cluster = ?hello.cluster, version = ?hello.filter_version, "proxy connected");
        let (messages, outgoing) = mpsc::channel(MAX_OUTBOX);
        let (end, ended_by_us) = oneshot::channel();
        let (status, ended) = oneshot::channel();
        self.handle.connected(conn, hello, Outbox { messages, end }).await.map_err(stopping)?;
        let stream = LiveStream { conn, node, handle: self.handle.clone(), counted, malformed: 0 };
        tokio::spawn(stream.serve(incoming, ended_by_us, status));
        Ok(Response::new(Box::pin(until_end(outgoing, ended))))
    }
}

fn stopping(_: Stopped) -> Status {
    Status::unavailable("the agent is shutting down")
}

/// The messages for the worker, up to the stream's end; then only the reason.
fn until_end(
    outgoing: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<Status>,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    futures::stream::unfold(Some((outgoing, ended)), async |state| {
        let (mut outgoing, mut ended) = state?;
        tokio::select! {
            biased;
            why = &mut ended => why.ok().map(|why| (Err(why), None)),
            message = outgoing.recv() => match message {
                Some(message) => Some((Ok(message), Some((outgoing, ended)))),
                // The loop has let go of the stream; its reader is about to say why.
                None => ended.await.ok().map(|why| (Err(why), None)),
            },
        }
    })
}

async fn hello(incoming: &mut Streaming<Incoming>) -> Result<Hello, Status> {
    let first = timeout(HELLO_WITHIN, incoming.next()).await;
    match first {
        Err(_) => Err(Status::deadline_exceeded("no Hello within 10 s")),
        Ok(None) => Err(Status::cancelled("the stream ended before Hello")),
        Ok(Some(Err(status))) => Err(status),
        Ok(Some(Ok(Incoming(Ok(ToAgent::Hello(hello)))))) => Ok(hello),
        Ok(Some(Ok(Incoming(Ok(_))))) => Err(Status::invalid_argument("the first message must be Hello")),
        Ok(Some(Ok(Incoming(Err(error))))) => Err(Status::invalid_argument(format!("Hello: {error}"))),
    }
}

/// One welcomed stream.
struct LiveStream {
    conn: Conn,
    /// The proxy's name for itself.
    node: String,
    handle: Handle,
    counted: CountedStream,
    malformed: u32,
}

impl LiveStream {
    /// Reads until either side ends it; the worker gets the reason if it was the agent.
    async fn serve(
        mut self,
        mut incoming: Streaming<Incoming>,
        ended_by_us: oneshot::Receiver<StreamEnd>,
        status: oneshot::Sender<Status>,
    ) {
        let why = tokio::select! {
            why = self.read(&mut incoming) => why,
            end = ended_by_us => Some(end.map_or_else(|_| stopping(Stopped), |end| Status::aborted(end.to_string()))),
        };
        let (conn, node) = (self.conn.0, &self.node);
        match why {
            Some(why) => {
                let reason = why.message();
                match why.code() {
                    Code::Unavailable => tracing::info!(conn, ?node, reason, "proxy disconnected"),
                    code => tracing::warn!(conn, ?node, ?code, reason, "proxy disconnected by the agent"),
                }
                // The worker may be gone already.
                let _ = status.send(why);
            }
            None => tracing::info!(conn, ?node, "proxy disconnected"),
        }
        let _ = self.handle.event(Event::Disconnected(self.conn)).await;
    }

    /// Reads until the worker ends the stream (`None`) or breaks a rule.
    async fn read(&mut self, incoming: &mut Streaming<Incoming>) -> Option<Status> {
        loop {
            let message = match timeout(SILENCE, incoming.next()).await {
                Err(_) => {
                    return Some(Status::deadline_exceeded(format!("no message for {} s", SILENCE.as_secs())));
                }
                Ok(None) => return None,
                // Longer than any message may be; what follows in the stream cannot be trusted.
                Ok(Some(Err(status))) if status.code() == Code::OutOfRange => {
                    self.count_malformed();
                    return Some(status);
                }
                Ok(Some(Err(_))) => return None,
                Ok(Some(Ok(Incoming(message)))) => message,
            };
            let handled = match message {
                Ok(ToAgent::Report(report)) => self.handle.worker(self.conn, WorkerEvent::Reported(report)).await,
                Ok(ToAgent::Adopted(canary, epoch)) => {
                    self.handle.worker(self.conn, WorkerEvent::Adopted(canary, epoch)).await
                }
                Ok(ToAgent::Beat) => self.handle.beat(self.conn).await,
                Ok(ToAgent::Hello(_)) => return Some(Status::invalid_argument("Hello may come only once")),
                Err(error) => {
                    self.count_malformed();
                    tracing::warn!(conn = self.conn.0, %error, "message of a worker refused");
                    if self.malformed >= MAX_MALFORMED {
                        let limit = format!("{MAX_MALFORMED} messages broke a rule, the last: {error}");
                        return Some(Status::invalid_argument(limit));
                    }
                    Ok(())
                }
            };
            if handled.is_err() {
                return Some(stopping(Stopped));
            }
        }
    }

    fn count_malformed(&mut self) {
        self.counted.count_malformed();
        self.malformed += 1;
    }
}
