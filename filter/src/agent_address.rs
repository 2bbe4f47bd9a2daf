//! How the proxy learns where the agent is: a serialized `envoy.config.core.v3.GrpcService`.
//!
//! With `google_grpc` an address is enough, no cluster need exist. Only the fields that we set are declared; names and
//! numbers are those of api/envoy/config/core/v3/grpc_service.proto and base.proto. Also a cluster's name travels in this
//! form: as a plain string Envoy would first try whether the name happens to be a valid message.

use std::collections::BTreeMap;

use prost::Message;

use crate::config::{Agent, Tls};

/// Prefix of Envoy's own statistics about the stream: `grpc.serin_agent.*`.
const STAT_PREFIX: &str = "serin_agent";

/// What bounds the waits of the proxy's gRPC channel, in milliseconds. By default it waits 1 s after a failed connection,
/// then 1.6 times as long each time, up to 120 s, and every stream that is opened meanwhile fails at once: an agent that was
/// away for minutes would be found a minute late, however often the filter tries. With these, a try of the filter is a try
/// on the wire, unless another worker's failed less than a second ago.
const CHANNEL_ARGS: [(&str, i64); 3] = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 800),
    // How long one connection, with its TLS, may take: where a host is gone without a word nothing else ends the attempt,
    // and 20 s of it would be lost when the host is back.
    ("grpc.min_reconnect_backoff_ms", 3_000),
];

/// The first argument of the host's `proxy_grpc_stream`.
pub(crate) fn grpc_service(agent: &Agent) -> Vec<u8> {
    let target = match agent {
        Agent::Address { address, tls, .. } => Target::GoogleGrpc(GoogleGrpc {
            target_uri: address.clone(),
            channel_credentials: tls.as_ref().map(credentials),
            stat_prefix: STAT_PREFIX.into(),
            channel_args: Some(channel_args()),
        }),
        Agent::Cluster { cluster, .. } => Target::EnvoyGrpc(EnvoyGrpc { cluster_name: cluster.clone() }),
    };
    GrpcService { target: Some(target) }.encode_to_vec()
}

fn channel_args() -> ChannelArgs {
    let arg = |(name, value): (&str, i64)| (name.to_owned(), ArgValue { value: Some(ArgKind::Int(value)) });
    ChannelArgs { args: CHANNEL_ARGS.into_iter().map(arg).collect() }
}

fn credentials(tls: &Tls) -> ChannelCredentials {
    let file =
        |name: &Option<String>| name.as_ref().map(|name| DataSource { source: Some(Source::Filename(name.clone())) });
    let inline = tls.ca.as_ref().map(|pem| DataSource { source: Some(Source::InlineString(pem.clone())) });
    ChannelCredentials {
        ssl_credentials: Some(SslCredentials {
            root_certs: inline.or_else(|| file(&tls.ca_file)),
            private_key: file(&tls.key_file),
            cert_chain: file(&tls.cert_file),
        }),
    }
}

#[derive(Clone, PartialEq, Message)]
struct GrpcService {
    #[prost(oneof = "Target", tags = "1, 2")]
    target: Option<Target>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Target {
    #[prost(message, tag = "1")]
    EnvoyGrpc(EnvoyGrpc),
    #[prost(message, tag = "2")]
    GoogleGrpc(GoogleGrpc),
}

#[derive(Clone, PartialEq, Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct GoogleGrpc {
    #[prost(string, tag = "1")]
    target_uri: String,
    /// Without them the connection is in clear.
    #[prost(message, optional, tag = "2")]
    channel_credentials: Option<ChannelCredentials>,
    #[prost(string, tag = "4")]
    stat_prefix: String,
    #[prost(message, optional, tag = "8")]
    channel_args: Option<ChannelArgs>,
}

#[derive(Clone, PartialEq, Message)]
struct ChannelArgs {
    #[prost(btree_map = "string, message", tag = "1")]
    args: BTreeMap<String, ArgValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ArgValue {
    #[prost(oneof = "ArgKind", tags = "2")]
    value: Option<ArgKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ArgKind {
    #[prost(int64, tag = "2")]
    Int(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ChannelCredentials {
    #[prost(message, optional, tag = "1")]
    ssl_credentials: Option<SslCredentials>,
}

#[derive(Clone, PartialEq, Message)]
struct SslCredentials {
    #[prost(message, optional, tag = "1")]
    root_certs: Option<DataSource>,
    #[prost(message, optional, tag = "2")]
    private_key: Option<DataSource>,
    #[prost(message, optional, tag = "3")]
    cert_chain: Option<DataSource>,
}

#[derive(Clone, PartialEq, Message)]
struct DataSource {
    #[prost(oneof = "Source", tags = "1, 3")]
    source: Option<Source>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Source {
    #[prost(string, tag = "1")]
    Filename(String),
    #[prost(string, tag = "3")]
    InlineString(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_never_waits_longer_than_a_second() {
        let agent = Agent::Address { address: "a:1".into(), tls: None, token: None };
        let Some(Target::GoogleGrpc(service)) = GrpcService::decode(&*grpc_service(&agent)).unwrap().target else {
            panic!("an address is reached by the proxy's own client");
        };
        let args = service.channel_args.unwrap().args;
        let bound = |name: &str| args.get(name).and_then(|arg| arg.value.clone());
        // gRPC's own jitter adds a fifth.
        assert_eq!(bound("grpc.max_reconnect_backoff_ms"), Some(ArgKind::Int(800)));
        assert_eq!(bound("grpc.initial_reconnect_backoff_ms"), Some(ArgKind::Int(200)));
        assert_eq!(bound("grpc.min_reconnect_backoff_ms"), Some(ArgKind::Int(3_000)));
    }

    #[test]
    fn a_ca_goes_as_text_or_as_a_file_name() {
        let service = |tls: Tls| {
            let agent = Agent::Address { address: "a:1".into(), tls: Some(tls), token: None };
            String::from_utf8_lossy(&grpc_service(&agent)).into_owned()
        };
        let text = service(Tls { ca: Some("-----BEGIN CERTIFICATE-----".into()), ..Tls::default() });
        let file = service(Tls { ca_file: Some("/etc/ca.pem".into()), ..Tls::default() });
        // DataSource: field 3 with its length, field 1 with its length.
        assert!(text.contains("\u{1a}\u{1b}-----BEGIN"), "{text:?}");
        assert!(file.contains("\u{a}\u{b}/etc/ca.pem"), "{file:?}");
    }
}
