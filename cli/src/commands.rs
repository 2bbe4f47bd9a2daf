//! Every command with its examples and what comes after it. `--help` is the manual.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::agent_cmd::ServeArgs;
use crate::args::{DescribeArgs, ExplainArgs, GetArgs, ProxiesArgs, ReasonArgs, ReleaseArgs, ReplayArgs, ValidateArgs};

const OVERVIEW: &str = "\
A first session:
  serin init shop --primary HOST:PORT --canary HOST:PORT
                                              a folder for your own service
  serin validate shop/canaries                are its manifests right?
  shop/start.sh                               start the agent and Envoy
  serin get                                   what the agent manages
  serin release shop --revision v2 --wait     begin a release, wait for its end
  serin describe shop                         steps, approvals, versions, events
  serin explain shop                          why it is where it is, and how far to go

Exit codes:
  0   done; with `release --wait`: promoted
  1   refused, not found, or with `release --wait`: aborted
  2   `release --wait`: held until a person acts, or timed out
  64  the command line is wrong
  69  the agent cannot be reached, or cannot answer now
  77  authentication failed: missing or wrong bearer token";

const EXPLAINED: &str = "\
Examples:
  serin explain web
  serin explain web -n prod
  serin explain web -o wide           with intervals, the split, and the counts by weight
  serin explain prod/web -o json      for programs: the API's JSON

How to read it, from the top:
  The first line is the answer. Then the versions side by side, the checks, metric servers and
  hooks with what each said last, and the guards.
  CANARY and PRIMARY of a guard: the requests that speak against the version, of all that could.
  E-VALUE is the evidence against the canary: a canary within its limits reaches it with a chance
  of at most 1 in that. A guard acts alone at THRESHOLD. PROGRESS is the way there in logarithms,
  as evidence multiplies: 20 of 400 is halfway. Requests that speak for the canary make it fall.
  DIFFERENCE (-o wide) is canary minus primary in percentage points, with an anytime-valid 95 %
  confidence interval: looking often does not make it wrong.
  A certificate is the same the other way round: evidence, from this step's requests alone, that
  the canary is within its limits. GOOD ONES TO GO is how many more good answers it takes if none
  is bad, those to requests in flight among them; PROVEN counts the requests that have ended.
  Correlated failures (-o wide): failures that may be one event (one user's, one call's) count as
  one. Counts by weight (-o wide): by table entry, version and how a request came to its version.

After the release has ended this is its last verdict; requests that ended later count in the
versions only.

Next: `serin describe web` shows what happened before; `serin promote web` or
`serin abort web --reason TEXT` decide.";

/// The hidden command that completion scripts ask.
pub(crate) const COMPLETE_CANARIES: &str = "complete-canaries";

/// Canary releases decided inside the proxy: start the agent, begin releases, watch and abort them.
#[derive(Debug, Parser)]
#[command(name = "serin", version, after_help = OVERVIEW, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colour: by itself only on a terminal, and never with NO_COLOR.
    #[command(flatten)]
    pub(crate) color: colorchoice_clap::Color,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent: judge the canaries of a directory, steer proxies
    #[command(after_help = crate::agent_cmd::EXAMPLES)]
    Agent(ServeArgs),
    /// Run load tools for webhooks, so that a canary has traffic
    #[command(after_help = crate::loadtester_cmd::EXAMPLES)]
    Loadtester(crate::loadtester_cmd::LoadArgs),
    /// Begin a release of a revision, step by step
    #[command(after_help = "\
Examples:
  serin release web --revision v2 --reason 'the new cart, SHOP-77'
  serin release prod/web --revision sha-4f2a91 --wait --timeout 1h     in a pipeline

With --wait, the exit code is the verdict: 0 promoted, 1 aborted, 2 held until a person acts, or
timed out. It ends at once where only a person can let the release go on: at a stop or pause, a
closed gate (`serin gate`), when `serin confirm` is awaited, at what must be accepted or fixed
first. It waits on for traffic, evidence, and hooks that refuse. Nothing is undone by giving up
the wait: the same command goes on waiting, after `serin confirm` for instance.

Next: `serin get web -w` follows it, `serin abort web --reason TEXT` aborts it at once.")]
    Release(ReleaseArgs),
    /// Show canaries: phase, weight, evidence, success rate, latency
    #[command(after_help = "\
Examples:
  serin get                    every canary
  serin get web -w             one, live
  serin get -n prod -o wide    one namespace, with counts, epoch and workers
  serin get web -o json        for programs: the API's JSON

PROVEN is how far the step's certificate has come, TO ABORT how far the evidence for an abort;
where checks decide too, the failed ones before it, of those that roll back. Below a row: the time
on the step, an estimate of what it still takes at its rate of requests, and the message. Columns
that have no room go: NAMESPACE if there is one only, then those of -o wide, P95, SUCCESS.

Next: `serin explain web` shows why, `serin describe web` what happened.")]
    Get(GetArgs),
    /// Show one canary: steps, approvals, versions, events with reasons
    #[command(after_help = "\
Examples:
  serin describe web
  serin describe prod/web --events 200

Next: `serin promote web` if you are convinced early, `serin abort web --reason TEXT` if you are
not.")]
    Describe(DescribeArgs),
    /// Explain a verdict: the evidence, and how much is needed
    #[command(after_help = EXPLAINED)]
    Explain(ExplainArgs),
    /// Abort a release: all traffic to the primary, at once
    #[command(after_help = "\
Example:
  serin abort web --reason 'checkout errors, see INC-42'

Next: `serin describe web`; a new `serin release` starts from the first step.")]
    Abort(ReasonArgs),
    /// Promote a release now, without the rest of its analysis
    #[command(after_help = "\
Example:
  serin promote web --reason 'load test looks fine'

Next: the primary must be brought to the new version: `serin get web -w` shows what is waited
for.")]
    Promote(ReasonArgs),
    /// Confirm that the primary runs the new version
    #[command(after_help = "\
Example, once the new version is deployed to the primary upstream:
  serin confirm web

While the primary fails, by the limits that the canary is held to, this is refused: its users
would be sent there. `serin explain web` shows how it fails, `serin set-weight web --weight 100`
moves its users to the canary, and this leaves them to it:
  serin confirm web --force --reason 'the canary is out of capacity'

Next: `serin get web -w` until the phase is Succeeded.")]
    Confirm(crate::actions::ConfirmArgs),
    /// Stop a release from advancing; a bad canary is still aborted
    #[command(after_help = "\
Example:
  serin pause web --reason 'over lunch'

Next: `serin resume web` goes on from the same step.")]
    Pause(ReasonArgs),
    /// Let a paused release go on
    #[command(after_help = "\
Example:
  serin resume web

Next: `serin get web -w` follows it.")]
    Resume(ReasonArgs),
    /// Go on to the next step without its proof or approval
    #[command(after_help = "\
Examples:
  serin skip web --reason 'the change board said yes on the phone'

What is skipped: in Waiting the approval to begin, at a step its proof and dwell, in
WaitingPromotion the approval to promote. Guards go on judging: a bad canary is still aborted.

Next: `serin get web -w` follows it.")]
    Skip(ReasonArgs),
    /// Drop what is kept of a canary whose manifest is gone
    #[command(after_help = "\
Example:
  serin forget web --reason 'the service was shut down'

A canary that had a release is kept when its manifest goes: roles, promoted revision and history
are there again when the file is back, and its primary goes on serving meanwhile. This drops them
for good; requests then take the proxies' default routes. It is refused while the manifest is
there, a release is in progress, or a proxy's default route would serve the other version.

Next: `serin get` shows what is left.")]
    Forget(ReasonArgs),
    /// Give the canary another share of the traffic, and stay there
    #[command(after_help = "\
Example:
  serin set-weight web --weight 25 --reason 'a quarter over the weekend'

The release is paused at that weight and still judged; one that waits to be promoted, or is being
promoted, stops there too.

Next: `serin resume web` goes on to the first step above that weight.")]
    SetWeight(crate::actions::WeightArgs),
    /// Begin the release that ended last once more
    #[command(after_help = "\
Example, after the cause of its failure was fixed elsewhere:
  serin retry web --reason 'database is back'

Next: `serin get web -w` follows it.")]
    Retry(ReasonArgs),
    /// List, open and close gates: approvals that a release waits for
    #[command(after_help = crate::gate::EXAMPLES)]
    Gate {
        /// What to do.
        #[command(subcommand)]
        what: crate::gate::What,
    },
    /// Write a folder for your own service: Envoy, Canary, start script
    #[command(after_help = crate::init::EXAMPLES)]
    Init(crate::init::InitArgs),
    /// Check Canary manifests here, without an agent
    #[command(after_help = "\
Examples:
  serin validate web-canary.yaml
  serin validate canaries/            every .yaml and .yml file in it
  serin validate -r deploy/           also those in its folders
  kustomize build . | serin validate -

A directory, a stream, and files that are named together are sets: the MetricTemplates and
AlertProviders that a Canary names must be there. A single file may name what is elsewhere.

Exit code 0 when nothing was refused. Other kinds and Helm templates are skipped, with the reason.
Warnings name what loads but does not act as its writer may expect.

Next: put the file into the agent's --canaries directory; it is read at once.")]
    Validate(ValidateArgs),
    /// Write Flagger's manifests in Serin's own form
    #[command(after_help = crate::convert::EXAMPLES)]
    Convert(crate::convert::ConvertArgs),
    /// Print the JSON Schema of a kind of manifest
    #[command(after_help = crate::convert::SCHEMA_EXAMPLES)]
    Schema(crate::convert::SchemaArgs),
    /// Play releases of a Canary in virtual time, with and without faults
    #[command(after_help = crate::simulate::EXAMPLES)]
    Simulate(crate::simulate::SimulateArgs),
    /// Show the workers, one per Envoy thread: tables and split
    #[command(after_help = "\
Example:
  serin proxies

LAG is the time since the worker last reported; SPLIT the canary's share of the requests that it
placed by weight. A worker that is not in sync still routes by an older table; one that is not
connected keeps it for its lease. One that went away is shown for 10 minutes.")]
    Proxies(ProxiesArgs),
    /// Judge a recorded release again, under other settings too
    #[command(after_help = "\
Examples:
  serin replay web                        the latest release as it was judged
  serin replay web -f stricter.yaml       would these settings have aborted it, and when?
  serin replay web --list                 which releases are recorded
  serin replay prod/web --release 3 --save web-3.jsonl
  serin replay --record web-3.jsonl -f stricter.yaml        without an agent

An example: release 3 failed 0.8 % of its requests and was promoted at a limit of 1 %. Copy its
manifest, write `min: 99.5` under request-success-rate, and
`serin replay web --release 3 -f copy.yaml` says whether guards and checks with that limit would
have aborted it, after how many requests, and how near they came if not.

What is judged again is the evidence that was recorded, event by event, by the code that judges a
running release. Requests went where history sent them. So weights and steps of the other settings
change nothing; what would have come after an earlier abort is not known, and neither is what came
after the recorded release ended: `never` means never as far as the record goes. Another latency
limit is judged from histograms, to 0.8 %.

The agent keeps records within --records-mib and --records-per-canary; the oldest go first.

Next: put the settings that you like into the manifest; the next release takes them.")]
    Replay(ReplayArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
In bash, zsh and fish the names of canaries are completed too: the script asks the agent that
SERIN_AGENT names, for at most 0.8 s.

Examples:
  serin completion bash > /etc/bash_completion.d/serin
  serin completion zsh > \"${fpath[1]}/_serin\"
  serin completion fish > ~/.config/fish/completions/serin.fish")]
    Completion {
        /// For which shell.
        shell: Shell,
    },
    /// Write manual pages, one for each command
    #[command(after_help = crate::manual::EXAMPLES)]
    Man(crate::manual::ManArgs),
    /// Print the version of this program and of its proxy protocol
    Version(crate::args::OutputArgs),
    /// What the completion scripts ask.
    #[command(name = COMPLETE_CANARIES, hide = true)]
    CompleteCanaries,
}
