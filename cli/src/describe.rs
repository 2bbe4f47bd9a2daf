//! `serin describe`: one canary's whole story on one screen.

use rollout::view::status::CanaryStatus;

use crate::args::DescribeArgs;
use crate::client::{Client, Items};
use crate::failure::Failure;
use crate::text::{self, or_dash, percent, span};
use crate::wait::Event;
use crate::{output, table, target};

/// `serin describe`.
pub(crate) async fn run(args: DescribeArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let id = target::resolve(&client, &args.canary).await?;
    let found = client.canary(&id).await;
    let status: CanaryStatus = target::explain(&client, &id, found).await?.shown()?;
    let history: Items<Event> = client.events(&id).await?.shown()?;
    output::print(&page(&status, &history.items, args.events, text::now_ms()))
}

fn page(status: &CanaryStatus, history: &[Event], shown: usize, now_ms: u64) -> String {
    let mut page = block(status);
    if !status.unsupported.is_empty() {
        page += "\nNot honoured by this build (a release holds until `--accept-unsupported`):\n";
        let lines = status.unsupported.iter().map(|what| format!("  {what}\n"));
        page.extend(lines);
    }
    let heading = if status.release == 0 { "Versions so far" } else { "Versions in this release" };
    page += &format!("\n{heading}:\n{}", table::versions(&status.versions));
    let hidden = history.len().saturating_sub(shown);
    let latest = history.get(hidden..).unwrap_or_default();
    page += "\nEvents";
    if hidden > 0 {
        page += &format!(" (latest {shown} of {}, --events {} shows all)", history.len(), history.len());
    }
    page += ":\n";
    page += &if latest.is_empty() { "  none yet\n".into() } else { table::events(latest, now_ms) };
    page
}

fn block(status: &CanaryStatus) -> String {
    let style = table::phase_style(&status.phase);
    let phase = format!("{style}{}{style:#}", status.phase);
    let release = match (&status.revision, status.release) {
        (_, 0) => "none yet".into(),
        (Some(revision), release) => format!("{release}, revision {revision}"),
        (None, release) => release.to_string(),
    };
    let weight =
        format!("{} meant, {} observed", percent(status.weight_percent), or_dash(status.observed_percent, percent));
    let checks = format!(
        "{} failed of {} that roll back{}",
        status.failed_checks,
        status.threshold,
        status.next_check_ms.map_or_else(String::new, |ms| {
            format!("; next check in {}", span(std::time::Duration::from_millis(ms)))
        })
    );
    let workers =
        format!("{} live, {} with epoch {} in force", status.workers_live, status.workers_in_sync, status.epoch);
    let workers = match status.workers_lost {
        0 => workers,
        lost => format!("{workers}; {lost} went away in this release, and what they had not reported is missing"),
    };
    let workers = match status.workers_tripped {
        0 => workers,
        tripped => format!("{workers}; the fuse of {tripped} has tripped, and sends nothing to the canary"),
    };
    let lines = [
        ("Canary", format!("{}/{}", status.namespace, status.name)),
        ("Phase", phase),
        ("Message", status.message.clone()),
        ("Release", release),
        ("Promoted", status.promoted_revision.clone().unwrap_or_else(|| "nothing by this agent yet".into())),
        ("Weight", weight),
        ("Step", format!("{} of {}", status.step, status.steps)),
        ("Checks", checks),
        ("Workers", workers),
        ("Without agent", status.without_agent.clone()),
    ];
    lines.map(|(label, value)| format!("{:<15}{value}\n", format!("{label}:"))).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_page_tells_state_versions_and_why() {
        let mut status = fixture::canary("prod", "web", "Progressing");
        status.unsupported = vec!["spec.analysis.webhooks[0]: load-test hooks".into()];
        let event = |at_ms, message: &str| Event {
            at_ms,
            release: 3,
            weight_percent: 5.0,
            message: message.into(),
            detail: serde_json::Value::Null,
        };
        let history = [event(1000, "old"), event(2000, "weight 0 -> 5 %: first step")];
        let page = anstream::adapter::strip_str(&page(&status, &history, 1, 12_000)).to_string();
        let (head, rest) = page.split_once("\nVersions in this release:\n").unwrap();
        assert_eq!(
            head,
            "\
Canary:        prod/web
Phase:         Progressing
Message:       step 2 of 5
Release:       3, revision v2
Promoted:      v1
Weight:        12.5% meant, 12.41% observed
Step:          2 of 5
Checks:        1 failed of 3 that roll back; next check in 4s
Workers:       2 live, 2 with epoch 17 in force
Without agent: web-primary (the primary)

Not honoured by this build (a release holds until `--accept-unsupported`):
  spec.analysis.webhooks[0]: load-test hooks
"
        );
        let (_, events) = rest.split_once("\nEvents ").unwrap();
        assert_eq!(
            events,
            "\
(latest 1 of 2, --events 2 shows all):
AGE       TIME                   RELEASE   WEIGHT   WHAT AND WHY
10s ago   1970-01-01 00:00:02Z         3       5%   weight 0 -> 5 %: first step
"
        );
    }
}
