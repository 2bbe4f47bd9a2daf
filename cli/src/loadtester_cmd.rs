//! `serin loadtester`: the command line of the load tester library.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use loadtester::{DEFAULT_ALLOW, LoadTesterError, Options};

use crate::failure::{Failure, with_causes};
use crate::log::LogArgs;

/// Shown below `serin loadtester --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  serin loadtester
  serin loadtester --http 0.0.0.0:8080 --http-token-file token --allow hey --timeout 10m \\
      --namespace-regexp '^prod$'

A webhook of a Canary has it make load while the canary is analysed:
  webhooks:
    - name: load
      url: http://127.0.0.1:7072/
      metadata:
        cmd: hey -z 1m -q 10 -c 2 http://web.test/

The same by hand, and what became of it:
  curl -H 'content-type: application/json' http://127.0.0.1:7072/ -d '{\"name\": \"web\",
      \"namespace\": \"prod\", \"metadata\": {\"cmd\": \"hey -z 5s http://127.0.0.1:8080/\"}}'
  curl http://127.0.0.1:7072/tasks

What metadata may say:
  cmd              the program and its arguments, quoted as for a shell; none is run, so
                   | ; && > $ are refused
  type             \"cmd\" or nothing; with --allow-shell also \"bash\", answered when it has ended
  wait             \"true\": answer when it has ended, 200 for exit code 0 and else 500; give the
                   hook a timeout longer than the load. Without it the answer is 202 at once, and
                   GET /tasks shows the result
  returnCmdOutput  \"true\": a waiting caller's answer has the output
  logCmdOutput     \"true\": the log has the output

A command that already runs for the same canary is not started again, so a webhook may repeat it
at each interval. GET /tasks lists what runs and the last 100 that ended: state, exit code, end of
the output; GET /tasks/ID has up to 64 KiB of it. GET /metrics is for Prometheus, GET /healthz for
probes. Programs see PATH and HOME, no input, and are killed with all that they started after
--timeout, at their end, and when the load tester stops.

Prints `listening http=IP:PORT` once it serves. Gates (/gate/...) are the agent's:
`serin gate --help`.";

/// `serin loadtester`.
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// Where webhooks are sent to
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7072")]
    pub(crate) http: SocketAddr,
    /// File with the token that webhooks must send (the header `authorization: Bearer TOKEN`)
    #[arg(long, value_name = "FILE")]
    pub(crate) http_token_file: Option<PathBuf>,
    /// Accept an address outside loopback without a token: anyone who reaches it can start load
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Programs that may run, by name; they are looked up in PATH
    #[arg(long, value_name = "PROGRAM,...", value_delimiter = ',', default_values = DEFAULT_ALLOW)]
    pub(crate) allow: Vec<String>,
    /// Run shell commands too: anyone who can send a webhook can then run anything, despite --allow
    #[arg(long)]
    pub(crate) allow_shell: bool,
    /// How long a task may run: 90s, 30m, 1h30m
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = crate::args::time)]
    pub(crate) timeout: Duration,
    /// How many tasks may run at once; beyond that webhooks are answered 429
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) max_tasks: usize,
    /// Only canaries of namespaces in which this finds something may ask; `^prod$` means prod alone
    #[arg(long, value_name = "REGEXP")]
    pub(crate) namespace_regexp: Option<String>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Runs the load tester until a signal stops it.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Failure> {
    args.log.start()?;
    let options = Options {
        http: args.http,
        http_token_file: args.http_token_file,
        insecure: args.insecure,
        allow: args.allow,
        allow_shell: args.allow_shell,
        timeout: args.timeout,
        max_tasks: args.max_tasks,
        namespace_regexp: args.namespace_regexp,
    };
    loadtester::run(options).await.map_err(|error| match error {
        LoadTesterError::Options(_) => Failure::Usage(with_causes(&error)),
        other => Failure::Other(other.into()),
    })
}
