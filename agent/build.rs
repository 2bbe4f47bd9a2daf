//! Generates the Fleet service of proto/serin/fleet/v1/fleet.proto with our own codec, which hands over domain types
//! instead of raw messages: a malformed frame is then an item that can be counted, not the end of the stream.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let connect = Method::builder()
        .name("connect")
        .route_name("Connect")
        .input_type("crate::codec::Incoming")
        .output_type("bytes::Bytes")
        .codec_path("crate::codec::FleetCodec")
        .client_streaming()
        .server_streaming()
        .build();
    let service = Service::builder().name("Fleet").package("serin.fleet.v1").method(connect).build();
    Builder::new().build_client(false).compile(&[service]);
}
