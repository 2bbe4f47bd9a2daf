//! What the operator typed, and what it means: open addresses and missing directories are refused here, once.

use std::net::SocketAddr;
use std::path::PathBuf;

use serving::{AccessError, Token};
use thiserror::Error;

use crate::archive::Limits;

/// What was typed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of Canary manifests.
    pub canaries: PathBuf,
    /// Directory of the journal.
    pub data: PathBuf,
    /// Directory of secrets: files NAMESPACE/NAME/KEY.
    pub secrets: Option<PathBuf>,
    /// Where proxies connect.
    pub grpc: SocketAddr,
    /// Where people and programs connect.
    pub http: SocketAddr,
    /// TLS for proxies.
    pub grpc_tls: Option<TlsFiles>,
    /// File with the token that proxies must show.
    pub grpc_token_file: Option<PathBuf>,
    /// File with the token that people and programs must show.
    pub http_token_file: Option<PathBuf>,
    /// Accept binds outside loopback that anybody may use.
    pub insecure: bool,
    /// Most space for records of releases, in MiB; with 0 nothing is recorded.
    pub records_mib: u64,
    /// Most records of one canary; with 0 nothing is recorded.
    pub records_per_canary: usize,
    /// Whether /metrics has Flagger's names beside our own.
    pub flagger_metrics: bool,
}

/// PEM files of a TLS server.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authority that signs the proxies' certificates; with it they must show one.
    pub client_ca: Option<PathBuf>,
}

/// What it means.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) canaries: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) grpc_tls: Option<TlsFiles>,
    pub(crate) grpc_token: Option<Token>,
    pub(crate) http_token: Option<Token>,
    pub(crate) records: Limits,
    pub(crate) flagger_metrics: bool,
}

/// Options that cannot be meant.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// Anybody on the network could report false evidence or take tables.
    #[error(
        "--grpc {0} is outside loopback and open to anybody: give --grpc-tls-cert and --grpc-tls-key, or \
         --grpc-token-file, or --insecure if the network is trusted"
    )]
    OpenGrpc(SocketAddr),
    /// No directory of manifests: a typing error would look like an agent without canaries.
    #[error("--canaries {path}: {source}; create the directory, or name the one that holds the Canary manifests")]
    Canaries {
        /// Which directory.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// The address of --http is open to anybody, or a token cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl Options {
    pub(crate) fn meant(self) -> Result<Config, OptionsError> {
        let grpc_token = serving::bearer_token("--grpc-token-file", self.grpc_token_file.as_deref())?;
        if serving::is_open(self.grpc, self.insecure) && self.grpc_tls.is_none() && grpc_token.is_none() {
            return Err(OptionsError::OpenGrpc(self.grpc));
        }
        let http_token = serving::http_token(self.http, self.http_token_file.as_deref(), self.insecure)?;
        if let Err(source) = std::fs::read_dir(&self.canaries) {
            return Err(OptionsError::Canaries { path: self.canaries, source });
        }
        let records = Limits { bytes: self.records_mib.saturating_mul(1 << 20), per_canary: self.records_per_canary };
        Ok(Config {
            records,
            flagger_metrics: self.flagger_metrics,
            canaries: self.canaries,
            data: self.data,
            secrets: self.secrets,
            grpc: self.grpc,
            http: self.http,
            grpc_tls: self.grpc_tls,
            grpc_token,
            http_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(grpc: &str, http: &str) -> Options {
        Options {
            canaries: env!("CARGO_MANIFEST_DIR").into(),
            data: "data".into(),
            secrets: None,
            grpc: grpc.parse().unwrap(),
            http: http.parse().unwrap(),
            grpc_tls: None,
            grpc_token_file: None,
            http_token_file: None,
            insecure: false,
            records_mib: 1,
            records_per_canary: 1,
            flagger_metrics: false,
        }
    }

    #[test]
    fn a_bind_outside_loopback_needs_a_guard() {
        assert!(options("127.0.0.1:1", "[::1]:2").meant().is_ok());
        let refused = options("0.0.0.0:7070", "127.0.0.1:2").meant().unwrap_err().to_string();
        assert!(refused.contains("--grpc 0.0.0.0:7070") && refused.contains("--insecure"), "{refused}");
        assert!(matches!(
            options("127.0.0.1:1", "10.0.0.1:2").meant(),
            Err(OptionsError::Access(AccessError::OpenHttp(_)))
        ));
        let tls = TlsFiles { cert: "c".into(), key: "k".into(), client_ca: None };
        assert!(Options { grpc_tls: Some(tls), ..options("0.0.0.0:1", "127.0.0.1:2") }.meant().is_ok());
        assert!(Options { insecure: true, ..options("0.0.0.0:1", "0.0.0.0:2") }.meant().is_ok());
        let missing = Options { http_token_file: Some("/nowhere".into()), ..options("127.0.0.1:1", "127.0.0.1:2") };
        assert!(missing.meant().unwrap_err().to_string().starts_with("--http-token-file: token file /nowhere"));
    }

    #[test]
    fn a_directory_of_manifests_that_cannot_be_read_is_named_with_what_to_do() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        for (path, reason) in [("/nowhere".into(), "No such file"), (file, "Not a directory")] {
            let wrong = Options { canaries: path.clone(), ..options("127.0.0.1:1", "127.0.0.1:2") };
            let refused = wrong.meant().unwrap_err().to_string();
            let words = ["--canaries", path.to_str().unwrap(), reason, "create the directory"];
            assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
        }
    }
}
