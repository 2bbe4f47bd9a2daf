//! A worker's end of the fleet stream, down to the frame: it can say what no filter would.

use std::net::SocketAddr;

use bytes::{Buf, BufMut};
use proto::wire::{decode_to_worker, encode_from_worker};
use rollout::base::names::CanaryId;
use rollout::base::time::Micros;
use rollout::routing::outcome::Outcome;
use rollout::routing::route::Placement;
use rollout::routing::table::{Entry, Epoch, Version};
use rollout::worker::messages::{Hello, Incarnation, PROTOCOL, Report, ToAgent, ToWorker};
use rollout::worker::tally::{Counts, Slot, Stratum};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::within;

/// A stream to the agent.
pub(crate) struct Worker {
    frames: mpsc::Sender<Vec<u8>>,
    incoming: Streaming<Vec<u8>>,
}

/// The test's canary.
pub(crate) fn web() -> CanaryId {
    CanaryId::new("prod", "web").unwrap()
}

/// What a worker introduces itself with.
pub(crate) fn hello(incarnation: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        incarnation: Incarnation(incarnation),
        node: format!("proxy-{incarnation}"),
        cluster: "front".into(),
        filter_version: "0.1.0".into(),
        adopted: vec![],
        default_upstreams: vec![],
        trips: vec![],
    }
}

/// A report of requests to the primary that took 5 ms each.
pub(crate) fn report(number: u64, version: Version, epoch: Epoch, good: u64) -> Report {
    let stratum = Stratum { canary: web(), epoch, version, placement: Placement::Drawn, slot: Slot(0) };
    let mut counts = Counts::begun(good);
    (0..good).for_each(|_| counts.end_both(Outcome::Success, Micros(5000), false));
    Report { number, strata: vec![(stratum, counts)], watermarks: vec![], trips: vec![], destinations: vec![] }
}

/// A connection without TLS.
pub(crate) fn endpoint(grpc: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{grpc}")).unwrap()
}

impl Worker {
    /// Connects and says Hello; consumes the welcome.
    pub(crate) async fn welcomed(grpc: SocketAddr, incarnation: u64) -> Self {
        let mut worker = Self::open(&endpoint(grpc), None, &[ToAgent::Hello(hello(incarnation))]).await.unwrap();
        assert_eq!(worker.next().await, ToWorker::Welcome(PROTOCOL));
        worker
    }

    /// Connects and sends these messages; the agent answers nothing at all before the first.
    pub(crate) async fn open(endpoint: &Endpoint, token: Option<&str>, messages: &[ToAgent]) -> Result<Self, Status> {
        let frames: Vec<Vec<u8>> = messages.iter().map(encode_from_worker).collect();
        Self::open_raw(endpoint, token, frames, true).await
    }

    /// The same with frames of any bytes; without `stay` the worker's side ends behind them.
    pub(crate) async fn open_raw(
        endpoint: &Endpoint,
        token: Option<&str>,
        first: Vec<Vec<u8>>,
        stay: bool,
    ) -> Result<Self, Status> {
        let channel = within("a connection", endpoint.connect()).await;
        let channel = channel.map_err(|error| Status::from_error(error.into()))?;
        Self::open_on(channel, token, first, stay).await
    }

    /// The same on a connection that is there already.
    pub(crate) async fn open_on(
        channel: Channel,
        token: Option<&str>,
        first: Vec<Vec<u8>>,
        stay: bool,
    ) -> Result<Self, Status> {
        let (frames, outgoing) = mpsc::channel(4096);
        for frame in first {
            frames.try_send(frame).unwrap();
        }
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let kept = stay.then(|| frames.clone());
        drop(frames);
        let mut client = Grpc::new(channel);
        within("a free channel", client.ready()).await.map_err(|error| Status::from_error(error.into()))?;
        let path = "/serin.fleet.v1.Fleet/Connect".parse().unwrap();
        let answered = within("an answer to Hello", client.streaming(request, path, Raw)).await?;
        let frames = kept.unwrap_or_else(|| mpsc::channel(1).0);
        Ok(Self { frames, incoming: answered.into_inner() })
    }

    /// Sends one message.
    pub(crate) async fn send(&self, message: &ToAgent) {
        self.send_raw(encode_from_worker(message)).await;
    }

    /// Sends one frame of any bytes; a closed stream takes them too.
    pub(crate) async fn send_raw(&self, frame: Vec<u8>) {
        let _ = self.frames.send(frame).await;
    }

    /// Sends without waiting; `false` when the connection takes no more for now.
    pub(crate) fn try_send(&self, message: &ToAgent) -> bool {
        self.frames.try_send(encode_from_worker(message)).is_ok()
    }

    /// The agent's next message.
    pub(crate) async fn next(&mut self) -> ToWorker {
        match self.next_or_end().await {
            Ok(Some(message)) => message,
            end => panic!("the stream ended: {end:?}"),
        }
    }

    /// The agent's next message, the stream's plain end, or why the agent ended it.
    pub(crate) async fn next_or_end(&mut self) -> Result<Option<ToWorker>, Status> {
        let frame = within("a message of the agent", self.incoming.message()).await?;
        Ok(frame.map(|frame| decode_to_worker(&frame).unwrap()))
    }

    /// The next entry, whatever comes before it.
    pub(crate) async fn entry(&mut self) -> Entry {
        loop {
            if let ToWorker::Entry(entry) = self.next().await {
                return *entry;
            }
        }
    }

    /// The next entry with a greater epoch; one may come twice.
    pub(crate) async fn entry_above(&mut self, epoch: Epoch) -> Entry {
        loop {
            let entry = self.entry().await;
            if entry.epoch > epoch {
                return entry;
            }
        }
    }

    /// The number of the next ack, whatever comes before it.
    pub(crate) async fn ack(&mut self) -> u64 {
        loop {
            if let ToWorker::Stored(number) = self.next().await {
                return number;
            }
        }
    }

    /// Why the agent ended the stream, whatever comes before it.
    pub(crate) async fn ended(&mut self) -> Option<Status> {
        loop {
            match self.next_or_end().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// Whether the agent answers a beat: nothing that was sent before it is still under way.
    pub(crate) async fn beats(&mut self) {
        self.send(&ToAgent::Beat).await;
        while self.next().await != ToWorker::Beat {}
    }
}

/// Frames as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, frame: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&frame);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length).to_vec()))
    }
}
