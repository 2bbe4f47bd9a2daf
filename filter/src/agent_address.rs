//! How the proxy learns where the agent is: a serialized `envoy.config.core.v3.GrpcService`.
//!
//! With `google_grpc` an address is enough, no cluster need exist. Only the fields that we set are declared; names and
//! numbers are those of api/envoy/config/core/v3/grpc_service.proto and base.proto. Also a cluster's name travels in this
//! form: as a plain string Envoy would first try whether the name happens to be a valid message.

use prost::Message;

use crate::config::{Agent, Tls};

/// Prefix of Envoy's own statistics about the stream: `grpc.serin_agent.*`.
const STAT_PREFIX: &str = "serin_agent";

/// The first argument of the host's `proxy_grpc_stream`.
pub(crate) fn grpc_service(agent: &Agent) -> Vec<u8> {
    let target = match agent {
        Agent::Address { address, tls, .. } => Target::GoogleGrpc(GoogleGrpc {
            target_uri: address.clone(),
            channel_credentials: tls.as_ref().map(credentials),
            stat_prefix: STAT_PREFIX.into(),
        }),
        Agent::Cluster { cluster, .. } => Target::EnvoyGrpc(EnvoyGrpc { cluster_name: cluster.clone() }),
    };
    GrpcService { target: Some(target) }.encode_to_vec()
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
