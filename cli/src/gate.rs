//! `serin gate`: the approvals that a release waits for, kept by the agent.

use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::Cell;
use rollout::view::status::GateStatus;

use crate::args::{AgentArgs, CanaryArgs, ReasonArgs};
use crate::client::{Client, Items};
use crate::failure::Failure;
use crate::{actions, output, table, target, text};

pub(crate) const EXAMPLES: &str = "\
Examples:
  serin gate list web
  serin gate open web owner --reason 'looked at the dashboards'
  serin gate open web change-board --revision v7 --for 48h      before the release
  serin gate close web owner

A gate stands in the manifest under spec.analysis.webhooks, with `gate: true` instead of a url:
  - { name: owner, type: confirm-promotion, gate: true }
It is closed until it is opened, and opened for one revision: the one in progress, the one that
--revision names, or else the next one. A gate of type rollback rolls the release back when it is
opened.

The load tester's URLs (/gate/check, /gate/open, /gate/close, /rollback/...) are served by the
agent for the same gates.

Next: `serin get web -w` shows the release going on.";

/// What to do with gates.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Show a canary's gates: open or closed, by whom, why, for which revision
    List(ListArgs),
    /// Open a gate: approve what waits for it
    Open(OpenArgs),
    /// Close a gate again
    Close(GateArgs),
}

/// `serin gate list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    canary: CanaryArgs,
    /// The API's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

/// Which gate of which canary.
#[derive(Args, Debug)]
pub(crate) struct GateArgs {
    #[command(flatten)]
    reason: ReasonArgs,
    /// The gate's name
    #[arg(value_name = "GATE")]
    gate: String,
}

/// `serin gate open`.
#[derive(Args, Debug)]
pub(crate) struct OpenArgs {
    #[command(flatten)]
    which: GateArgs,
    /// For this revision only [default: the one in progress, or else the next one]
    #[arg(long)]
    revision: Option<String>,
    /// Close it by itself after this time, 1s to 90d: 2h, 3d
    #[arg(long = "for", value_name = "TIME", value_parser = open_for)]
    expires_after: Option<Duration>,
}

/// Runs it.
pub(crate) async fn run(what: What) -> Result<(), Failure> {
    match what {
        What::List(args) => list(args).await,
        What::Open(args) => {
            let revision = args.revision.map(|revision| ("revision", revision.into()));
            let expires = args.expires_after.map(|after| ("expiresSeconds", after.as_secs().into()));
            let more: Vec<(&str, serde_json::Value)> = revision.into_iter().chain(expires).collect();
            ask(&args.which, "open", &more).await
        }
        What::Close(args) => ask(&args, "close", &[]).await,
    }
}

async fn ask(args: &GateArgs, verb: &str, more: &[(&str, serde_json::Value)]) -> Result<(), Failure> {
    let said = actions::ask(&args.reason, &["gates", &args.gate, verb], more).await?;
    let gate = text::clean(&args.gate);
    let done = if verb == "open" { "opened" } else { "closed" };
    said.tell(&format!("gate {gate} is {done}; `serin gate list` shows all"))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let id = target::resolve(&client, &args.canary).await?;
    let body = client.stored_gates(&id).await?;
    if args.json {
        let exact: serde_json::Value = body.exact()?;
        return output::print(&format!("{exact:#}\n"));
    }
    let gates: Items<GateStatus> = body.shown()?;
    if gates.items.is_empty() {
        return output::print(&format!("{id} has no stored gates; `serin gate --help` shows how to write one\n"));
    }
    let rows = gates.items.iter().map(row);
    output::print(&table::render(&["GATE", "APPROVES", "STATE", "REVISION", "BY", "CLOSES", "REASON"], rows))
}

/// How long a gate may stay open.
fn open_for(given: &str) -> Result<Duration, String> {
    const RULE: &str = "write a time from 1s to 90d, such as 2h or 3d";
    let after = humantime::parse_duration(given).map_err(|error| format!("{error}; {RULE}"))?;
    let is_meant = (Duration::from_secs(1)..=Duration::from_secs(90 * 86_400)).contains(&after);
    if is_meant { Ok(after) } else { Err(RULE.into()) }
}

fn row(gate: &GateStatus) -> Vec<Cell> {
    let or_dash = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into());
    let state = match (gate.open, &gate.actor) {
        (true, _) => "open",
        (false, Some(_)) => "over",
        (false, None) => "closed",
    };
    let revision = gate.actor.as_ref().map(|_| gate.revision.clone().unwrap_or_else(|| "(the next)".into()));
    let cells = [
        gate.gate.clone(),
        gate.kind.clone(),
        state.into(),
        or_dash(&revision),
        or_dash(&gate.actor),
        gate.expires_at_ms.map_or_else(|| "-".into(), text::utc),
        or_dash(&gate.reason),
    ];
    cells.into_iter().map(Cell::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_open_from_a_second_to_ninety_days() {
        assert_eq!([open_for("1s"), open_for("90d")], [1, 90 * 86_400].map(|s| Ok(Duration::from_secs(s))));
        for wrong in ["0s", "999ms", "91d", "9999d", "soon", ""] {
            assert!(open_for(wrong).unwrap_err().contains("1s to 90d"), "{wrong}");
        }
    }
}
