//! One thread of simulated workers: its runtime, its turns, and the gRPC streams of its workers.
//!
//! One thread, so that nothing is locked and no worker waits for another's; streams share few connections, as the streams
//! of one proxy do.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::{Buf, BufMut};
use proto::wire::{decode_to_worker, encode_from_worker};
use rollout::worker::messages::{ToAgent, ToWorker};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::fleet::crew::{Crew, Knobs, Opening, TURN};
use crate::fleet::seen::Seen;

const METHOD: &str = "/serin.fleet.v1.Fleet/Connect";

/// Plays a crew until the knobs say stop; what it sees is added to `seen` at every turn.
///
/// # Errors
/// When there is no runtime, or the address is none.
pub(super) fn play(
    crew: Crew,
    agent: SocketAddr,
    connections: usize,
    knobs: &Knobs,
    seen: &Arc<Mutex<Seen>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = Endpoint::from_shared(format!("http://{agent}")).context("not an address")?;
    LocalSet::new().block_on(&runtime, async {
        let channels: Vec<Channel> = (0..connections).map(|_| endpoint.connect_lazy()).collect();
        let crew = Rc::new(RefCell::new(crew));
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !knobs.stop.load(Ordering::Relaxed) {
            turns.tick().await;
            let (news, openings) = crew.borrow_mut().turn(knobs);
            seen.lock().unwrap_or_else(PoisonError::into_inner).absorb(news);
            for opening in openings {
                let Some(channel) = channels.get(opening.worker % connections) else { continue };
                let worker = opening.worker;
                let reading = spawn_local(serve(Rc::clone(&crew), channel.clone(), opening));
                crew.borrow_mut().reads(worker, reading.abort_handle());
            }
        }
    });
    Ok(())
}

/// One stream from its opening to its end.
async fn serve(crew: Rc<RefCell<Crew>>, channel: Channel, opening: Opening) {
    let (worker, life) = (opening.worker, opening.life);
    let why = match talk(&crew, channel, opening).await {
        Ok(()) => "the agent ended it without a word".to_owned(),
        Err(status) => format!("{}: {}", status.code(), status.message()),
    };
    crew.borrow_mut().lost(worker, life, why);
}

async fn talk(crew: &RefCell<Crew>, channel: Channel, opening: Opening) -> Result<(), Status> {
    let Opening { worker, life, outgoing } = opening;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(UnboundedReceiverStream::new(outgoing));
    let path = PathAndQuery::from_static(METHOD);
    let mut incoming = client.streaming(request, path, WorkerCodec).await?.into_inner();
    while let Some(message) = incoming.message().await? {
        crew.borrow_mut().message(worker, life, message);
    }
    Ok(())
}

/// The worker's end of what the agent's own codec does.
#[derive(Clone, Copy, Debug)]
struct WorkerCodec;

impl Codec for WorkerCodec {
    type Encode = ToAgent;
    type Decode = ToWorker;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for WorkerCodec {
    type Item = ToAgent;
    type Error = Status;

    fn encode(&mut self, message: ToAgent, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&encode_from_worker(&message));
        Ok(())
    }
}

impl Decoder for WorkerCodec {
    type Item = ToWorker;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ToWorker>, Status> {
        let frame = buffer.copy_to_bytes(buffer.remaining());
        decode_to_worker(&frame).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
