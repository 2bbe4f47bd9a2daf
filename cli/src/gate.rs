//! `serin gate`: the approvals that a release waits for, kept by the agent.

use std::time::Duration;

use clap::{Args, Subcommand};
use rollout::base::names::CanaryId;
use rollout::release::request_limits::{self, MAX_OPEN_DAYS};
use rollout::view::status::{CanaryStatus, GateStatus};
use serde_json::{Value, json};

use crate::args::{AgentArgs, CanaryArgs, OutputArgs, ReasonArgs};
use crate::client::{Client, Items, Listing};
use crate::failure::Failure;
use crate::{actions, checks_table, output, target, text};

pub(crate) const EXAMPLES: &str = "\
Examples:
  serin gate list                                               of every canary
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
    /// Show gates, of one canary or all: open or closed, by whom, why, for which revision
    List(ListArgs),
    /// Open a gate: approve what waits for it
    Open(OpenArgs),
    /// Close a gate again
    Close(GateArgs),
}

/// `serin gate list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// The canary: NAME or NAMESPACE/NAME; the gates of all if left out
    canary: Option<String>,
    /// Only this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
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
            let more: Vec<(&str, Value)> = revision.into_iter().chain(expires).collect();
            ask(&args.which, "open", &more).await
        }
        What::Close(args) => ask(&args, "close", &[]).await,
    }
}

async fn ask(args: &GateArgs, verb: &str, more: &[(&str, Value)]) -> Result<(), Failure> {
    let said = actions::ask(&args.reason, &["gates", &args.gate, verb], more).await?;
    let gate = text::clean(&args.gate);
    let done = if verb == "open" { "opened" } else { "closed" };
    said.tell(&format!("gate {gate} is {done}; `serin gate list` shows all"))
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let Some(canary) = &args.canary else { return list_all(&client, &args).await };
    let canary = CanaryArgs { canary: canary.clone(), namespace: args.namespace.clone() };
    let id = target::resolve(&client, &canary).await?;
    let found = client.stored_gates(&id).await;
    let body = target::explain(&client, &id, found).await?;
    if args.output.is_json() {
        return output::print(&output::json(&body.exact::<Value>()?, true)?);
    }
    let gates: Items<GateStatus> = body.shown()?;
    if gates.items.is_empty() {
        return output::print(&format!("{id} has no stored gates; `serin gate --help` shows how to write one\n"));
    }
    let gates: Vec<_> = gates.items.into_iter().map(|gate| (None, gate)).collect();
    output::print(&checks_table::gates(&gates, output::width()))
}

/// The gates of every canary.
async fn list_all(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let canaries: Listing = client.canaries().await?.shown()?;
    let is_asked = |canary: &CanaryStatus| args.namespace.as_ref().is_none_or(|n| *n == canary.namespace);
    let mut shown = Vec::new();
    let mut exact = Vec::new();
    for canary in canaries.items.iter().filter(|canary| is_asked(canary)) {
        let Ok(id) = CanaryId::new(&canary.namespace, &canary.name) else { continue };
        let body = match client.stored_gates(&id).await {
            // Its manifest was removed between the two questions.
            Err(Failure::NotFound(_)) => continue,
            other => other?,
        };
        let mut items: Items<Value> = body.exact()?;
        for item in &mut items.items {
            if let Value::Object(fields) = item {
                fields.insert("canary".into(), id.as_str().into());
            }
        }
        exact.append(&mut items.items);
        let gates: Items<GateStatus> = body.shown()?;
        shown.extend(gates.items.into_iter().map(|gate| (Some(id.to_string()), gate)));
    }
    if args.output.is_json() {
        return output::print(&output::json(&json!({ "items": exact }), true)?);
    }
    if shown.is_empty() {
        return output::print("no canary has stored gates; `serin gate --help` shows how to write one\n");
    }
    output::print(&checks_table::gates(&shown, output::width()))
}

/// How long a gate may stay open.
fn open_for(given: &str) -> Result<Duration, String> {
    let rule = format!("write a time from 1s to {MAX_OPEN_DAYS}d, such as 2h or 3d");
    let Ok(after) = humantime::parse_duration(given) else { return Err(rule) };
    // The agent takes whole seconds.
    request_limits::open_for(after.as_secs()).map(|_| after).ok_or(rule)
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
