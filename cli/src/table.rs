//! Tables for people, as pure functions of what the API says: columns that line up, colour only where it means something.
//!
//! Colour is always written; the output strips it where it is not wanted (see `output`).

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use rollout::release::text::number;
use rollout::routing::table::Version;
use rollout::view::status::{CanaryStatus, VersionStatus, WorkerStatus};

use crate::client::Recorded;
use crate::row_text::{news, to_cut};
use crate::text::{ago, count, millis, or_dash, percent, progress, span, utc};
use crate::wait::Event;

const GAP: u16 = 3;
/// From here on, of 1, the way to a cut is coloured.
const WORRYING: f64 = 0.5;

/// Canaries, one a row.
pub(crate) fn canaries(items: &[CanaryStatus], wide: bool) -> String {
    let mut header =
        vec!["NAMESPACE", "NAME", "PHASE", "REVISION", "WEIGHT", "STEP", "PROVEN", "TO CUT", "SUCCESS", "P95"];
    if wide {
        header.extend(["RELEASE", "PROMOTED", "OBSERVED", "PRIMARY", "CANARY", "EPOCH", "WORKERS", "WITHOUT AGENT"]);
    }
    header.push("MESSAGE");
    let rows = items.iter().map(|canary| {
        let mut row = narrow(canary);
        if wide {
            row.extend(extra(canary));
        }
        row.push(Cell::new(news(canary)));
        row
    });
    render(&header, rows)
}

/// What is worth a line below the table: a default route that would serve the wrong version.
pub(crate) fn notes(items: &[CanaryStatus]) -> String {
    let worth = items.iter().filter(|canary| {
        let served = &canary.without_agent;
        served.contains("former primary") || served.contains("differ")
    });
    let line = |canary: &CanaryStatus| {
        let CanaryStatus { namespace, name, without_agent, .. } = canary;
        format!("! {namespace}/{name}: a proxy without an agent serves {without_agent}\n")
    };
    worth.map(line).collect()
}

/// Versions side by side: one column each, one row for each number.
pub(crate) fn versions(versions: &[VersionStatus]) -> String {
    let title = |v: &VersionStatus| format!("{} ({})", v.version.to_uppercase(), v.upstream);
    let titles: Vec<String> = versions.iter().map(title).collect();
    let mut header = vec![""];
    header.extend(titles.iter().map(String::as_str));
    let row = |label: &str, show: &dyn Fn(&VersionStatus) -> String| {
        let mut row = vec![Cell::new(label)];
        let cells = versions.iter().map(|version| number_cell(show(version)));
        row.extend(cells);
        row
    };
    let mut rows = vec![
        row("requests", &|v| count(v.started)),
        row("succeeded", &|v| count(v.succeeded)),
        row("failed", &|v| count(v.failed)),
    ];
    let classes = versions.iter().flat_map(|version| version.failed_by_class.keys());
    for class in classes.collect::<std::collections::BTreeSet<_>>() {
        let of = |v: &VersionStatus| count(v.failed_by_class.get(class).copied().unwrap_or(0));
        rows.push(row(&format!("  {class}"), &of));
    }
    rows.extend([
        row("void", &|v| count(v.void)),
        row("pending", &|v| count(v.pending)),
        row("success rate", &|v| or_dash(v.success_rate_percent, percent)),
        row("p50", &|v| or_dash(v.p50_ms, millis)),
        row("p95", &|v| or_dash(v.p95_ms, millis)),
        row("p99", &|v| or_dash(v.p99_ms, millis)),
    ]);
    render(&header, rows)
}

/// A canary's history.
pub(crate) fn events(events: &[Event], now_ms: u64) -> String {
    let rows = events.iter().map(|event| {
        vec![
            Cell::new(ago(event.at_ms, now_ms)),
            Cell::new(utc(event.at_ms)),
            number_cell(event.release.to_string()),
            number_cell(percent(event.weight_percent)),
            Cell::new(&event.message),
        ]
    });
    render(&["AGE", "TIME", "RELEASE", "WEIGHT", "WHAT AND WHY"], rows)
}

/// Workers, one row for each canary on each.
pub(crate) fn workers(items: &[WorkerStatus]) -> String {
    let header =
        ["NODE", "WORKER", "FILTER", "CONNECTED", "LAG", "LOST", "CANARY", "EPOCH", "IN SYNC", "REQUESTS", "SPLIT"];
    let rows = items.iter().flat_map(|worker| {
        let own = || {
            vec![
                Cell::new(&worker.node),
                Cell::new(worker.incarnation.chars().take(8).collect::<String>()),
                Cell::new(&worker.filter_version),
                yes_no(worker.connected),
                number_cell(span(std::time::Duration::from_millis(worker.silent_ms))),
                number_cell(count(worker.missing_reports)),
            ]
        };
        let of_canaries = worker.canaries.iter().map(move |canary| {
            let mut row = own();
            row.extend([
                Cell::new(&canary.canary),
                number_cell(canary.epoch.to_string()),
                yes_no(canary.in_sync),
                number_cell(count(canary.requests)),
                number_cell(or_dash(canary.observed_percent, percent)),
            ]);
            row
        });
        let mut rows: Vec<Vec<Cell>> = of_canaries.collect();
        if rows.is_empty() {
            let dashes = ["-"; 5].map(Cell::new);
            rows.push(own().into_iter().chain(dashes).collect());
        }
        rows
    });
    render(&header, rows)
}

/// Anything side by side: a label, then one cell for each heading.
pub(crate) fn beside(headings: &[&str], rows: &[(String, Vec<String>)]) -> String {
    let header: Vec<&str> = std::iter::once("").chain(headings.iter().copied()).collect();
    let cells = |(label, cells): &(String, Vec<String>)| std::iter::once(label).chain(cells).map(Cell::new).collect();
    render(&header, rows.iter().map(cells))
}

/// Recorded releases.
pub(crate) fn releases(items: &[Recorded], now_ms: u64) -> String {
    let rows = items.iter().map(|item| {
        vec![
            number_cell(item.release.to_string()),
            Cell::new(&item.revision),
            Cell::new(utc(item.began_at_ms)),
            Cell::new(span(std::time::Duration::from_millis(
                item.ended_at_ms.unwrap_or(now_ms).saturating_sub(item.began_at_ms),
            ))),
            Cell::new(item.outcome.as_deref().unwrap_or("in progress")),
            number_cell(count(item.lines)),
            number_cell(count(item.bytes)),
            Cell::new(item.truncated.as_ref().or(item.message.as_ref()).map_or("-", String::as_str)),
        ]
    });
    render(&["RELEASE", "REVISION", "BEGAN", "TOOK", "OUTCOME", "EVENTS", "BYTES", "WHY"], rows)
}

/// The colour that a phase has everywhere.
pub(crate) fn phase_style(phase: &str) -> Style {
    phase_color(phase).map_or(Style::new(), AnsiColor::on_default)
}

fn narrow(canary: &CanaryStatus) -> Vec<Cell> {
    let version = canary.versions.iter().find(|v| v.version == Version::Canary.name());
    let mut phase = Cell::new(&canary.phase);
    if let Some(color) = phase_color(&canary.phase) {
        phase = phase.fg(table_color(color));
    }
    let mut to_cut = number_cell(to_cut(canary));
    if canary.failed_checks > 0 || canary.toward_abort >= WORRYING {
        to_cut = to_cut.fg(Color::DarkYellow);
    }
    vec![
        Cell::new(&canary.namespace),
        Cell::new(&canary.name),
        phase,
        Cell::new(canary.revision.as_deref().unwrap_or("-")),
        number_cell(percent(canary.weight_percent)),
        number_cell(format!("{}/{}", canary.step, canary.steps)),
        number_cell(or_dash(canary.toward_step, progress)),
        to_cut,
        number_cell(or_dash(version.and_then(|v| v.success_rate_percent), percent)),
        number_cell(or_dash(version.and_then(|v| v.p95_ms), millis)),
    ]
}

fn extra(canary: &CanaryStatus) -> Vec<Cell> {
    let started = |version: Version| {
        let found = canary.versions.iter().find(|v| v.version == version.name());
        number_cell(or_dash(found, |v| count(v.started)))
    };
    vec![
        number_cell(canary.release.to_string()),
        Cell::new(canary.promoted_revision.as_deref().unwrap_or("-")),
        number_cell(or_dash(canary.observed_percent, |p| format!("{}%", number(p)))),
        started(Version::Primary),
        started(Version::Canary),
        number_cell(canary.epoch.to_string()),
        number_cell(format!("{}/{}", canary.workers_in_sync, canary.workers_live)),
        Cell::new(&canary.without_agent),
    ]
}

fn phase_color(phase: &str) -> Option<AnsiColor> {
    match phase {
        "Succeeded" => Some(AnsiColor::Green),
        "Failed" => Some(AnsiColor::Red),
        "Progressing" | "Promoting" | "Finalising" => Some(AnsiColor::Cyan),
        "Paused" => Some(AnsiColor::Yellow),
        _ => None,
    }
}

const fn table_color(color: AnsiColor) -> Color {
    // comfy-table calls the eight basic colours dark.
    match color {
        AnsiColor::Green => Color::DarkGreen,
        AnsiColor::Red => Color::DarkRed,
        AnsiColor::Cyan => Color::DarkCyan,
        _ => Color::DarkYellow,
    }
}

fn yes_no(yes: bool) -> Cell {
    if yes { Cell::new("yes") } else { Cell::new("NO").fg(Color::DarkRed) }
}

/// A cell whose digits line up.
pub(crate) fn number_cell(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Columns under their titles, nothing between them but space.
pub(crate) fn render(header: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    let rows: Vec<Vec<Cell>> = rows.into_iter().collect();
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use rollout::view::status::WorkerCanary;

    use super::*;
    use crate::fixture;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn canaries_line_up() {
        let mut idle = fixture::canary("default", "api", "Initialized");
        idle.revision = None;
        idle.message = "waits for a release: `serin release`".into();
        idle.versions.clear();
        (idle.weight_percent, idle.step, idle.failed_checks) = (0.0, 0, 0);
        let mut proving = fixture::canary("production", "web-checkout", "Progressing");
        proving.advance = "certificate".into();
        (proving.toward_step, proving.toward_abort) = (Some(0.629), 0.07);
        let items = [idle, proving];
        assert_eq!(
            plain(&canaries(&items, false)),
            "\
NAMESPACE    NAME           PHASE         REVISION   WEIGHT   STEP   PROVEN   TO CUT   SUCCESS   P95      MESSAGE
default      api            Initialized   -              0%    0/5        -        -         -        -   waits for a release: `serin release`
production   web-checkout   Progressing   v2          12.5%    2/5      62%       7%     98.5%   41.5ms
"
        );
    }

    #[test]
    fn wide_adds_counts_and_what_serves_without_an_agent() {
        let items = [fixture::canary("prod", "web", "Progressing")];
        assert_eq!(
            plain(&canaries(&items, true)),
            "\
NAMESPACE   NAME   PHASE         REVISION   WEIGHT   STEP   PROVEN   TO CUT   SUCCESS   P95      RELEASE   PROMOTED   OBSERVED   PRIMARY   CANARY   EPOCH   WORKERS   WITHOUT AGENT               MESSAGE
prod        web    Progressing   v2          12.5%    2/5        -   1/3 0%     98.5%   41.5ms         3   v1           12.41%     8,750    1,240      17       2/2   web-primary (the primary)
"
        );
        assert_eq!(notes(&items), "");
        let mut swapped = items;
        swapped[0].without_agent = "web-b (the former primary: move it)".into();
        assert_eq!(
            notes(&swapped),
            "! prod/web: a proxy without an agent serves web-b (the former primary: move it)\n"
        );
    }

    #[test]
    fn versions_stand_side_by_side() {
        let canary = fixture::canary("prod", "web", "Progressing");
        assert_eq!(
            format!("\n{}", plain(&versions(&canary.versions))),
            "
               PRIMARY (web-primary)   CANARY (web-canary)
requests                       8,750                 1,240
succeeded                      8,740                 1,216
failed                            10                    19
  http_5xx                        10                    12
  timeout                          0                     7
void                               0                     0
pending                            0                     5
success rate                  99.89%                 98.5%
p50                            8.2ms                   9ms
p95                             40ms                41.5ms
p99                                -                     -
"
        );
    }

    #[test]
    fn events_tell_age_weight_and_reason() {
        let event = |at_ms, release, weight_percent, message: &str| Event {
            at_ms,
            release,
            weight_percent,
            message: message.into(),
            detail: serde_json::Value::Null,
        };
        let history = [
            event(1_700_000_000_000, 0, 0.0, "manifest read"),
            event(1_700_000_060_000, 12, 12.5, "weight 5 -> 12.5 %: all good"),
        ];
        assert_eq!(
            plain(&events(&history, 1_700_000_090_000)),
            "\
AGE         TIME                   RELEASE   WEIGHT   WHAT AND WHY
1m30s ago   2023-11-14 22:13:20Z         0       0%   manifest read
30s ago     2023-11-14 22:14:20Z        12    12.5%   weight 5 -> 12.5 %: all good
"
        );
    }

    #[test]
    fn workers_show_who_lags() {
        let mut late = fixture::worker("envoy-b", "0f0f0f0f0f0f0f0f");
        late.connected = false;
        late.silent_ms = 75_000;
        late.missing_reports = 2;
        late.canaries.push(WorkerCanary {
            canary: "prod/web".into(),
            epoch: 16,
            in_sync: false,
            requests: 0,
            observed_percent: None,
        });
        let mut good = fixture::worker("envoy-a", "a1b2c3d4e5f60718");
        good.canaries.push(WorkerCanary {
            canary: "prod/web".into(),
            epoch: 17,
            in_sync: true,
            requests: 12_345,
            observed_percent: Some(12.345),
        });
        let items = [good, late, fixture::worker("fresh", "1")];
        assert_eq!(
            plain(&workers(&items)),
            "\
NODE      WORKER     FILTER   CONNECTED   LAG     LOST   CANARY     EPOCH   IN SYNC   REQUESTS   SPLIT
envoy-a   a1b2c3d4   0.1.0    yes          80ms      0   prod/web      17   yes         12,345   12.35%
envoy-b   0f0f0f0f   0.1.0    NO          1m15s      2   prod/web      16   NO               0        -
fresh     1          0.1.0    yes          80ms      0   -          -       -         -          -
"
        );
    }

    #[test]
    fn wide_characters_do_not_shift_columns() {
        let mut one = fixture::canary("prod", "web", "Failed");
        one.revision = Some("金丝雀".into());
        let two = fixture::canary("prod", "web", "Failed");
        let text = plain(&canaries(&[one, two], false));
        let column = |line: &str| {
            let before = line.split("12.5%").next().unwrap().to_owned();
            before.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>()
        };
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(column(lines[0]), column(lines[1]), "{text}");
    }
}
