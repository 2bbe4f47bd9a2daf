//! `serin agent`: the command line of the agent library, and its log.

use std::net::SocketAddr;
use std::path::PathBuf;

use agent::{AgentError, Options, TlsFiles};
use clap::Args;

use crate::args::DEFAULT_HTTP;
use crate::failure::{Failure, with_causes};
use crate::log::LogArgs;

/// Shown below `serin agent --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  serin agent --canaries canaries --data state
  serin agent --canaries /etc/serin/canaries --data /var/lib/serin --grpc 0.0.0.0:7070 \\
      --grpc-tls-cert tls.crt --grpc-tls-key tls.key --grpc-tls-client-ca proxies.crt

Prints `listening grpc=IP:PORT http=IP:PORT` once it serves; port 0 lets the system choose. The
log goes to standard error; SERIN_LOG=debug (or agent=debug, ...) says more, and
SERIN_LOG=debug,h2=debug shows HTTP/2 frames too. It may be killed at any moment: state and
history are in --data.

Next: point the filter's configuration at the gRPC address, then `serin get` and `serin proxies`.";

/// `serin agent`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Directory of Canary manifests (*.yaml, *.yml); read again whenever one changes
    #[arg(long, value_name = "DIR")]
    pub(crate) canaries: PathBuf,
    /// Directory for state and history; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Directory of secrets for hooks, metrics and alerts: files NAMESPACE/NAME/KEY, read at each use
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// Where proxies connect
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) grpc: SocketAddr,
    /// Where people and programs connect: API, /healthz, /readyz, /metrics
    #[arg(long, value_name = "IP:PORT", default_value = DEFAULT_HTTP)]
    pub(crate) http: SocketAddr,
    /// Certificate chain for --grpc, PEM
    #[arg(long, value_name = "FILE", requires = "grpc_tls_key")]
    pub(crate) grpc_tls_cert: Option<PathBuf>,
    /// Private key for --grpc, PEM
    #[arg(long, value_name = "FILE", requires = "grpc_tls_cert")]
    pub(crate) grpc_tls_key: Option<PathBuf>,
    /// Authority of the proxies' certificates, PEM; with it they must show one
    #[arg(long, value_name = "FILE", requires = "grpc_tls_cert")]
    pub(crate) grpc_tls_client_ca: Option<PathBuf>,
    /// File with the token that proxies must send
    #[arg(long, value_name = "FILE")]
    pub(crate) grpc_token_file: Option<PathBuf>,
    /// File with the token that users of --http must send (SERIN_TOKEN for the other commands)
    #[arg(long, value_name = "FILE")]
    pub(crate) http_token_file: Option<PathBuf>,
    /// Most space for the records of releases that `serin replay` reads, in MiB; the oldest go first, 0 records nothing
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) records_mib: u64,
    /// Most recorded releases of one canary; the oldest go first, 0 records nothing
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) records_per_canary: usize,
    /// Show Flagger's metrics (flagger_canary_status, …) beside our own, where the meaning is the same
    #[arg(long)]
    pub(crate) flagger_metrics: bool,
    /// Accept addresses outside loopback without TLS or token: anyone who reaches them can steer traffic
    #[arg(long)]
    pub(crate) insecure: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Runs the agent until a signal stops it.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    args.log.start()?;
    agent::run(args.options()).await.map_err(|error| match error {
        // What was typed, and the files that it names.
        AgentError::Options(_) | AgentError::TlsFile(_) => Failure::Usage(with_causes(&error)),
        other => Failure::Other(other.into()),
    })
}

impl ServeArgs {
    fn options(self) -> Options {
        let tls = self.grpc_tls_cert.zip(self.grpc_tls_key);
        let client_ca = self.grpc_tls_client_ca;
        Options {
            secrets: self.secrets,
            canaries: self.canaries,
            data: self.data,
            grpc: self.grpc,
            http: self.http,
            grpc_tls: tls.map(|(cert, key)| TlsFiles { cert, key, client_ca }),
            grpc_token_file: self.grpc_token_file,
            http_token_file: self.http_token_file,
            insecure: self.insecure,
            records_mib: self.records_mib,
            records_per_canary: self.records_per_canary,
            flagger_metrics: self.flagger_metrics,
        }
    }
}
