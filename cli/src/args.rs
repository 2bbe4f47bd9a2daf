//! What may be typed after a command: its options.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Where the agent serves people and programs unless another address is given; the commands look for it there.
pub(crate) const DEFAULT_HTTP: &str = "127.0.0.1:7071";

/// The agent's URL where none is given.
pub(crate) fn default_agent() -> String {
    format!("http://{DEFAULT_HTTP}")
}

/// How to reach the agent.
#[derive(Args, Debug)]
pub(crate) struct AgentArgs {
    /// The agent's HTTP address [env: SERIN_AGENT] [default: http://127.0.0.1:7071]
    // Read by hand: clap would show an option that the environment gives as one that must be typed.
    #[arg(long, value_name = "URL")]
    pub(crate) agent: Option<String>,
    /// The agent's HTTP token; prefer the environment: other users can see command lines
    /// [env: SERIN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

impl AgentArgs {
    /// The agent's address, and as what it was given.
    pub(crate) fn address(&self) -> (String, &'static str) {
        match (&self.agent, variable("SERIN_AGENT")) {
            (Some(given), _) => (given.clone(), "--agent "),
            (None, Some(set)) => (set, "SERIN_AGENT="),
            (None, None) => (default_agent(), "--agent "),
        }
    }

    /// The agent's token, if it wants one.
    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone().or_else(|| variable("SERIN_TOKEN"))
    }
}

/// A variable of the environment; an empty one is as good as none.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A time as it is typed everywhere.
pub(crate) fn time(given: &str) -> Result<Duration, String> {
    humantime::parse_duration(given).map_err(|_| "write a time such as 90s, 30m or 1h30m".into())
}

/// Which canary.
#[derive(Args, Debug)]
pub(crate) struct CanaryArgs {
    /// The canary: NAME or NAMESPACE/NAME; a name that only one namespace has needs no namespace
    pub(crate) canary: String,
    /// Its namespace
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// A request about one canary.
#[derive(Args, Debug)]
pub(crate) struct VerbArgs {
    #[command(flatten)]
    pub(crate) canary: CanaryArgs,
    /// Who asks, for the history [env: SERIN_ACTOR] [default: user@host]
    #[arg(long = "as", value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// A request that should say why.
#[derive(Args, Debug)]
pub(crate) struct ReasonArgs {
    #[command(flatten)]
    pub(crate) verb: VerbArgs,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// `serin release`.
#[derive(Args, Debug)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) by: ReasonArgs,
    /// What the canary upstream runs now: an image tag, a digest, a commit
    #[arg(long)]
    pub(crate) revision: String,
    /// Wait for the end and print progress; the exit code is the verdict
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait at most: 90s, 30m, 1h30m
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Go on without the checks, hooks and settings that this build cannot honour; recorded with your name
    #[arg(long)]
    pub(crate) accept_unsupported: bool,
}

/// `serin get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// One canary, NAME or NAMESPACE/NAME; all if left out
    pub(crate) canary: Option<String>,
    /// Only this namespace
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Every namespace; with a NAME: every canary of that name
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Stay and show every change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// How `get` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For people with wide screens
    Wide,
    /// The API's JSON; with -w one document a line
    Json,
    /// The same as YAML
    Yaml,
    /// NAMESPACE/NAME only
    Name,
}

/// `serin describe`.
#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    pub(crate) canary: CanaryArgs,
    /// How many of the latest events to show
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) events: usize,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// `serin explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) canary: CanaryArgs,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: ExplainFormat,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// How `explain` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// For people
    Table,
    /// For people, with intervals, the split, correlated failures and the counts by weight
    Wide,
    /// The API's JSON
    Json,
}

/// How most commands print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

/// How to print, where nothing else is special about it.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputArgs {
    /// How to print
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: OutputFormat,
}

impl OutputArgs {
    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }
}

/// `serin validate`.
#[derive(Args, Debug)]
pub(crate) struct ValidateArgs {
    /// Files, directories, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) paths: Vec<PathBuf>,
    /// Read the folders in a directory too; the agent itself does not
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `serin replay`.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The canary: NAME or NAMESPACE/NAME
    #[arg(required_unless_present = "record", conflicts_with = "record")]
    pub(crate) canary: Option<String>,
    /// Its namespace
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Which release; the latest recorded one if left out
    #[arg(long, value_name = "N", conflicts_with = "record")]
    pub(crate) release: Option<u64>,
    /// A Canary manifest with other settings to judge under; weights and steps stay as they were
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Replay a saved record, without an agent
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Save the record too
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub(crate) save: Option<PathBuf>,
    /// Only list the recorded releases
    #[arg(long, conflicts_with_all = ["record", "save", "file", "release"])]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}

/// `serin proxies`.
#[derive(Args, Debug)]
pub(crate) struct ProxiesArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
}
