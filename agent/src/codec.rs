//! Frames to domain types inside tonic: what a worker sends arrives decoded and checked, or as a named error; what it is sent
//! is a frame already.

use bytes::{Buf, BufMut, Bytes};
use proto::WireError;
use proto::wire::decode_from_worker;
use rollout::worker::messages::ToAgent;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// One frame of a worker, understood or refused.
#[derive(Debug)]
pub(crate) struct Incoming(pub(crate) Result<ToAgent, WireError>);

/// The codec of the Fleet service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FleetCodec;

impl Codec for FleetCodec {
    type Encode = Bytes;
    type Decode = Incoming;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FleetCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, frame: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(frame);
        Ok(())
    }
}

impl Decoder for FleetCodec {
    type Item = Incoming;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Incoming>, Status> {
        // tonic hands over whole messages and has bounded their length; see `Fleet::new`.
        let frame = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(Incoming(decode_from_worker(&frame))))
    }
}
