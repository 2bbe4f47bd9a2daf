//! `serin describe`: one canary on one page: where it stands, its steps, who is asked, what was counted, what happened.

use comfy_table::Cell;
use rollout::view::explanation::{Explanation, StageExplanation};
use rollout::view::status::{CanaryStatus, GateStatus, is_over};
use serde_json::{Value, json};

use crate::args::DescribeArgs;
use crate::client::{Client, Items};
use crate::columns::{Sheet, left, right, wrapped};
use crate::failure::Failure;
use crate::text::{self, count, or_dash, percent, span_of, utc};
use crate::wait::Event;
use crate::{canary_table, checks_table, output, table, target};

/// Columns of a label.
const LABEL: usize = 15;

/// `serin describe`.
pub(crate) async fn run(args: DescribeArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let id = target::resolve(&client, &args.canary).await?;
    let found = client.canary(&id).await;
    let status = target::explain(&client, &id, found).await?;
    let explanation = client.explanation(&id).await?;
    let (gates, history) = (client.stored_gates(&id).await?, client.events(&id).await?);
    if args.output.is_json() {
        let (gates, events) = (gates.exact::<Items<Value>>()?.items, history.exact::<Items<Value>>()?.items);
        let [status, explanation] = [status.exact::<Value>()?, explanation.exact::<Value>()?];
        let all = json!({"status": status, "explanation": explanation, "gates": gates, "events": events});
        return output::print(&output::json(&all, true)?);
    }
    let page = Page {
        status: &status.shown()?,
        explanation: &explanation.shown()?,
        gates: gates.shown::<Items<GateStatus>>()?.items,
        history: &history.shown::<Items<Event>>()?.items,
        events: args.events,
        now_ms: text::now_ms(),
        width: output::width(),
    };
    output::print(&page.render())
}

struct Page<'a> {
    status: &'a CanaryStatus,
    explanation: &'a Explanation,
    gates: Vec<GateStatus>,
    /// Oldest first.
    history: &'a [Event],
    /// How many of the latest events are shown.
    events: usize,
    now_ms: u64,
    width: Option<usize>,
}

impl Page<'_> {
    fn render(&self) -> String {
        let Self { status, explanation, now_ms, width, .. } = *self;
        let mut parts = vec![self.block()];
        parts.extend((!status.unsupported.is_empty()).then(|| {
            let lines = status.unsupported.iter().map(|what| format!("  {what}\n")).collect::<String>();
            format!("Not honoured by this build (a release holds until `--accept-unsupported`):\n{lines}")
        }));
        parts.extend((!explanation.stages.is_empty()).then(|| self.steps()));
        let gates: Vec<_> = self.gates.iter().map(|gate| (None, gate.clone())).collect();
        parts.extend((!gates.is_empty()).then(|| format!("Gates:\n{}", checks_table::gates(&gates, width))));
        parts.extend(checks_table::hooks(&explanation.hooks, now_ms, width));
        parts.extend(checks_table::checks(&explanation.checks, now_ms, width));
        parts.extend(checks_table::metrics(&explanation.metrics, now_ms, width));
        let heading = if status.release == 0 { "Versions so far" } else { "Versions in this release" };
        parts.push(format!("{heading}:\n{}", table::versions(&status.versions)));
        parts.extend(self.history());
        parts.join("\n")
    }

    fn block(&self) -> String {
        let Self { status, width, .. } = *self;
        let style = table::phase_style(&status.phase);
        let lines = [
            ("Canary", format!("{}/{}", status.namespace, status.name)),
            ("Phase", status.phase.clone()),
            ("Message", status.message.clone()),
            ("Release", self.release()),
            ("Promoted", status.promoted_revision.clone().unwrap_or_else(|| "none".into())),
            ("Weight", weight(status)),
            ("Step", step(status)),
            ("Checks", checks(status)),
            ("Workers", workers(status)),
            ("Without agent", status.without_agent.clone()),
        ];
        let line = |(label, value): (&str, String)| {
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(LABEL));
            let value = wrapped(&value, room).join(&format!("\n{}", " ".repeat(LABEL)));
            match label {
                "Phase" => format!("{:<LABEL$}{style}{value}{style:#}\n", "Phase:"),
                "Checks" if status.advance == "certificate" => String::new(),
                _ => format!("{:<LABEL$}{value}\n", format!("{label}:")),
            }
        };
        lines.map(line).concat()
    }

    fn release(&self) -> String {
        let status = self.status;
        let release = match (&status.revision, status.release) {
            (_, 0) => return "none yet".into(),
            (Some(revision), release) => format!("{release}, revision {revision}"),
            (None, release) => release.to_string(),
        };
        let began = or_some(status.started_at_ms, |at| format!(", began {}", utc(at)));
        let verb = if is_over(&status.phase) { "took" } else { "for" };
        release + &began + &or_some(status.ran_ms, |ms| format!(", {verb} {}", span_of(ms)))
    }

    /// The plan's steps, the current one marked.
    fn steps(&self) -> String {
        let current = self.status.on_step_ms.map(|on_step| (self.status.step, on_step));
        let rows = self.explanation.stages.iter().map(|stage| {
            let on_step = current.filter(|(step, _)| *step == stage.step).map(|(_, on_step)| on_step);
            let since = on_step.map(|ms| format!("{}, {}", utc(self.now_ms.saturating_sub(ms)), span_of(ms)));
            vec![
                Cell::new(if on_step.is_some() { ">" } else { "" }),
                Cell::new(stage.step),
                Cell::new(percent(stage.weight_percent)),
                Cell::new(besides_weight(stage)),
                Cell::new(since.unwrap_or_default()),
            ]
        });
        let title = |title, is_used: bool| left(if is_used { title } else { "" });
        let is_more = self.explanation.stages.iter().any(|stage| !besides_weight(stage).is_empty());
        let columns =
            vec![left(""), right("STEP"), right("WEIGHT"), title("ALSO", is_more), title("SINCE", current.is_some())];
        format!("Steps:\n{}", Sheet::new(columns, rows).render(self.width))
    }

    /// Events of this release, then what came before.
    fn history(&self) -> Vec<String> {
        let hidden = self.history.len().saturating_sub(self.events);
        let latest = self.history.get(hidden..).unwrap_or_default();
        let (of_release, before): (Vec<&Event>, Vec<&Event>) =
            latest.iter().partition(|event| event.release == self.status.release);
        let table = |events: &[&Event]| {
            let events: Vec<Event> = events.iter().copied().cloned().collect();
            table::events(&events, self.now_ms, self.width)
        };
        let all = self.history.len();
        let note = if hidden > 0 {
            format!(" (latest {} of {all}, --events {all} shows all)", self.events)
        } else {
            String::new()
        };
        let title = if self.status.release == 0 { "Events" } else { "Events of this release" };
        let mut parts = Vec::new();
        let events = if of_release.is_empty() { "  none yet\n".into() } else { table(&of_release) };
        parts.push(format!("{title}{note}:\n{events}"));
        parts.extend((!before.is_empty()).then(|| format!("Earlier events:\n{}", table(&before))));
        parts
    }
}

fn or_some<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(String::new, show)
}

fn weight(status: &CanaryStatus) -> String {
    format!("{} target, {} observed", percent(status.weight_percent), or_dash(status.observed_percent, percent))
}

fn step(status: &CanaryStatus) -> String {
    let step = format!("{} of {}", status.step, status.steps);
    let on_step = or_some(status.on_step_ms, |ms| format!(" for {}", span_of(ms)));
    let rate = or_some(status.requests_per_second, |rate| {
        format!(", {} canary requests a second", rollout::release::text::number(rate))
    });
    step + &on_step + &rate + &or_some(status.step_remaining_ms, |ms| format!("; {}", canary_table::remaining(ms)))
}

fn checks(status: &CanaryStatus) -> String {
    let next = or_some(status.next_check_ms, |ms| format!("; next check in {}", span_of(ms)));
    format!("{} failed of {} that roll back{next}", status.failed_checks, status.threshold)
}

fn workers(status: &CanaryStatus) -> String {
    let workers =
        format!("{} live, {} with epoch {} in force", status.workers_live, status.workers_in_sync, status.epoch);
    let lost = match status.workers_lost {
        0 => String::new(),
        lost => format!("; {lost} disconnected in this release; what they had not reported is missing"),
    };
    let tripped = match status.workers_tripped {
        0 => String::new(),
        tripped => format!("; the fuse of {} has tripped and sends nothing to the canary", count(tripped as u64)),
    };
    workers + &lost + &tripped
}

/// What a step has besides its weight.
fn besides_weight(stage: &StageExplanation) -> String {
    let parts = [
        (stage.mirror_percent > 0.0).then(|| format!("{} mirrored", percent(stage.mirror_percent))),
        (stage.dwell_ms > 0).then(|| format!("at least {}", span_of(stage.dwell_ms))),
        stage.stops.then(|| "stops for `serin resume`".to_owned()),
        stage.needs_approval.then(|| "after the approval to promote".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::fixture;
    use crate::screens::{compare, plain};

    fn event(at_ms: u64, release: u64, message: &str) -> Event {
        Event { at_ms, release, weight_percent: 5.0, message: message.into(), detail: Value::Null }
    }

    fn gate(gate: &str, open: bool) -> GateStatus {
        GateStatus {
            gate: gate.into(),
            kind: "confirm-promotion".into(),
            open,
            revision: None,
            actor: open.then(|| "ann".into()),
            reason: open.then(|| "looked at the dashboards".into()),
            opened_at_ms: None,
            expires_at_ms: None,
            url: None,
        }
    }

    fn page(status: &CanaryStatus, events: usize, width: Option<usize>) -> String {
        let history = [
            event(1_699_999_000_000, 2, "release of v1 begun by ann"),
            event(
                1_700_000_000_000,
                3,
                "release of v2 begun by ann: the new cart, SHOP-77, with all that the board asked for",
            ),
            event(1_700_000_060_000, 3, "weight 5 -> 12.5 %: first step"),
        ];
        let explanation = &fixture::checked("prod", "web");
        let gates = vec![gate("owner", true), gate("board", false)];
        Page { status, explanation, gates, history: &history, events, now_ms: 1_700_000_072_000, width }.render()
    }

    #[test]
    fn a_page_shows_state_steps_askers_versions_and_events() {
        let mut status = fixture::canary("prod", "web", "Progressing");
        status.unsupported = vec!["spec.analysis.webhooks[0]: load-test hooks".into()];
        compare("describe", &page(&status, 30, None));
        for width in [80, 120, 200] {
            let page = page(&status, 2, Some(width));
            assert!(plain(&page).lines().all(|line| line.width() <= width), "{page}");
            compare(&format!("describe-{width}"), &page);
        }
    }

    #[test]
    fn a_certificate_says_how_long_it_takes_and_no_checks() {
        let mut status = fixture::canary("prod", "web", "Progressing");
        status.advance = "certificate".into();
        status.step_remaining_ms = Some(7_000);
        (status.workers_lost, status.workers_tripped) = (1, 1);
        status.promoted_revision = None;
        let page = plain(&page(&status, 30, None));
        assert!(
            page.contains("Step:          2 of 5 for 12s, 20 canary requests a second; about 7s to go\n"),
            "{page}"
        );
        assert!(page.contains("Promoted:      none\n") && !page.contains("roll back"), "{page}");
        assert!(
            page.contains("; 1 disconnected in this release") && page.contains("the fuse of 1 has tripped"),
            "{page}"
        );
    }
}
