//! Tables for people, as pure functions of what the API says: columns that line up, colour only where it means something.
//!
//! Colour is always written; the output strips it where it is not wanted (see `output`).

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, Color};
use rollout::view::destinations::DestinationStatus;
use rollout::view::status::{VersionStatus, WorkerCanary, WorkerStatus};

use crate::client::Recorded;
use crate::columns::{Column, Sheet, TextPlace, left, right};
use crate::text::{ago, count, millis, or_dash, percent, span_of, utc};
use crate::wait::Event;

/// Versions side by side: one column each, one row for each number.
pub(crate) fn versions(versions: &[VersionStatus]) -> String {
    let title = |v: &VersionStatus| right(&format!("{} ({})", v.version.to_uppercase(), v.upstream));
    let columns = std::iter::once(left("")).chain(versions.iter().map(title)).collect();
    let row = |label: &str, show: &dyn Fn(&VersionStatus) -> String| {
        let mut row = vec![Cell::new(label)];
        let cells = versions.iter().map(|version| Cell::new(show(version)));
        row.extend(cells);
        row
    };
    let mut rows = vec![
        row("requests", &|v| count(v.started)),
        row("succeeded", &|v| count(v.succeeded)),
        row("  4xx", &|v| count(v.client_errors)),
        row("failed", &|v| count(v.failed)),
    ];
    for class in failure_classes(versions) {
        let of = |v: &VersionStatus| count(v.failed_by_class.get(&class).copied().unwrap_or(0));
        rows.push(row(&format!("  {class}"), &of));
    }
    rows.extend([
        row("left by clients", &|v| count(v.abandoned)),
        row("void", &|v| count(v.void)),
        row("pending", &|v| count(v.pending)),
        row("success rate", &|v| or_dash(v.success_rate_percent, percent)),
        row("p50", &|v| or_dash(v.p50_ms, millis)),
        row("p95", &|v| or_dash(v.p95_ms, millis)),
        row("p99", &|v| or_dash(v.p99_ms, millis)),
    ]);
    Sheet::new(columns, rows).render(None)
}

/// The classes of failures that any version had.
pub(crate) fn failure_classes(versions: &[VersionStatus]) -> std::collections::BTreeSet<String> {
    versions.iter().flat_map(|version| version.failed_by_class.keys().cloned()).collect()
}

/// A canary's history.
pub(crate) fn events(events: &[Event], now_ms: u64, width: Option<usize>) -> String {
    let rows = events.iter().map(|event| {
        vec![
            Cell::new(ago(event.at_ms, now_ms)),
            Cell::new(utc(event.at_ms)),
            Cell::new(event.release.to_string()),
            Cell::new(percent(event.weight_percent)),
        ]
    });
    let columns = vec![left("AGE"), left("TIME"), right("RELEASE").goes(0), right("WEIGHT")];
    let messages = events.iter().map(|event| event.message.clone());
    Sheet::new(columns, rows).with_text("WHAT AND WHY", TextPlace::Beside, messages).render(width)
}

/// Workers, one row for each canary on each.
pub(crate) fn workers(items: &[WorkerStatus], width: Option<usize>) -> String {
    let columns = vec![
        left("NODE"),
        left("WORKER"),
        left("FILTER").goes(0),
        left("CONNECTED"),
        right("LAG").goes(2),
        right("LOST").goes(1),
        left("CANARY"),
        right("EPOCH").goes(3),
        left("IN SYNC"),
        right("REQUESTS").goes(4),
        right("SPLIT"),
    ];
    let rows = items.iter().flat_map(|worker| {
        let own = || {
            vec![
                Cell::new(&worker.node),
                Cell::new(worker.incarnation.chars().take(8).collect::<String>()),
                Cell::new(&worker.filter_version),
                yes_no(worker.connected),
                Cell::new(span_of(worker.silent_ms)),
                Cell::new(count(worker.missing_reports)),
            ]
        };
        let of_canaries = worker.canaries.iter().map(move |canary| {
            let mut row = own();
            row.extend([
                Cell::new(&canary.canary),
                Cell::new(canary.epoch.to_string()),
                yes_no(canary.in_sync),
                Cell::new(count(canary.requests)),
                Cell::new(or_dash(canary.observed_percent, percent)),
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
    let sheet = Sheet::new(columns, rows);
    let texts: Vec<String> = items.iter().flat_map(destinations_of).collect();
    if texts.iter().all(String::is_empty) {
        return sheet.render(width);
    }
    sheet.with_text("REQUESTS GO TO (SAMPLED)", TextPlace::Beside, texts).render(width)
}

/// Where the requests of each canary went, in the order of the worker's rows.
fn destinations_of(worker: &WorkerStatus) -> Vec<String> {
    let of = |canary: &WorkerCanary| {
        let versions = ["primary", "canary"].map(|version| (version, destinations(&canary.destinations, version)));
        let known = versions.into_iter().filter(|(_, clusters)| !clusters.is_empty());
        known.map(|(version, clusters)| format!("{version}: {clusters}")).collect::<Vec<_>>().join("; ")
    };
    let texts: Vec<String> = worker.canaries.iter().map(of).collect();
    if texts.is_empty() { vec![String::new()] } else { texts }
}

/// The clusters that one version's requests reached, with their share where there are several.
pub(crate) fn destinations(destinations: &[DestinationStatus], version: &str) -> String {
    let of_version: Vec<_> = destinations.iter().filter(|reached| reached.version == version).collect();
    let all: u64 = of_version.iter().map(|reached| reached.requests).sum();
    let one = |reached: &&DestinationStatus| {
        let declared = if reached.shared { " (shared)" } else { "" };
        let share = match of_version.len() {
            1 => String::new(),
            _ => format!(" {}", percent(reached.requests as f64 * 100.0 / all.max(1) as f64)),
        };
        format!("{}{share}{declared}", reached.cluster)
    };
    of_version.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Anything side by side: a label, then one cell for each heading.
pub(crate) fn beside(headings: &[&str], rows: &[(String, Vec<String>)]) -> String {
    let columns: Vec<Column> = std::iter::once("").chain(headings.iter().copied()).map(left).collect();
    let cells = |(label, cells): &(String, Vec<String>)| std::iter::once(label).chain(cells).map(Cell::new).collect();
    Sheet::new(columns, rows.iter().map(cells)).render(None)
}

/// Recorded releases.
pub(crate) fn releases(items: &[Recorded], now_ms: u64, width: Option<usize>) -> String {
    let rows = items.iter().map(|item| {
        vec![
            Cell::new(item.release.to_string()),
            Cell::new(&item.revision),
            Cell::new(utc(item.began_at_ms)),
            Cell::new(span_of(item.ended_at_ms.unwrap_or(now_ms).saturating_sub(item.began_at_ms))),
            Cell::new(item.outcome.as_deref().unwrap_or("in progress")),
            Cell::new(count(item.lines)),
            Cell::new(count(item.bytes)),
        ]
    });
    let columns = vec![
        right("RELEASE"),
        left("REVISION"),
        left("BEGAN"),
        right("TOOK"),
        left("OUTCOME"),
        right("EVENTS").goes(0),
        right("BYTES").goes(1),
    ];
    let why = |item: &Recorded| item.truncated.clone().or_else(|| item.message.clone()).unwrap_or_else(|| "-".into());
    Sheet::new(columns, rows).with_text("WHY", TextPlace::Beside, items.iter().map(why)).render(width)
}

/// The colour that a phase has everywhere.
pub(crate) fn phase_style(phase: &str) -> Style {
    phase_color(phase).map_or(Style::new(), AnsiColor::on_default)
}

/// A phase in its colour.
pub(crate) fn phase_cell(phase: &str) -> Cell {
    match phase_color(phase) {
        Some(color) => Cell::new(phase).fg(table_color(color)),
        None => Cell::new(phase),
    }
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

#[cfg(test)]
mod tests {

    use super::*;
    use crate::fixture;
    use crate::screens::plain;

    #[test]
    fn versions_stand_side_by_side() {
        let canary = fixture::canary("prod", "web", "Progressing");
        assert_eq!(
            format!("\n{}", plain(&versions(&canary.versions))),
            "
                  PRIMARY (web-primary)   CANARY (web-canary)
requests                          8,750                 1,240
succeeded                         8,740                 1,216
  4xx                               210                    31
failed                               10                    19
  http_5xx                           10                    12
  timeout                             0                     7
left by clients                       0                     2
void                                  0                     0
pending                               0                     5
success rate                     99.89%                 98.5%
p50                               8.2ms                   9ms
p95                                40ms                41.5ms
p99                                   -                     -
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
            plain(&events(&history, 1_700_000_090_000, None)),
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
            destinations: Vec::new(),
        });
        let mut good = fixture::worker("envoy-a", "a1b2c3d4e5f60718");
        good.canaries.push(WorkerCanary {
            canary: "prod/web".into(),
            epoch: 17,
            in_sync: true,
            requests: 12_345,
            observed_percent: Some(12.345),
            destinations: Vec::new(),
        });
        let mut items = [good, late, fixture::worker("fresh", "1")];
        assert_eq!(
            plain(&workers(&items, None)),
            "\
NODE      WORKER     FILTER   CONNECTED     LAG   LOST   CANARY     EPOCH   IN SYNC   REQUESTS    SPLIT
envoy-a   a1b2c3d4   0.1.0    yes          80ms      0   prod/web      17   yes         12,345   12.35%
envoy-b   0f0f0f0f   0.1.0    NO          1m15s      2   prod/web      16   NO               0        -
fresh     1          0.1.0    yes          80ms      0   -              -   -                -        -
"
        );
        let reached = |version: &str, cluster: &str, requests, shared| DestinationStatus {
            version: version.into(),
            cluster: cluster.into(),
            requests,
            shared,
        };
        items[0].canaries[0].destinations = vec![
            reached("primary", "web-primary", 40, false),
            reached("canary", "web-canary", 30, false),
            reached("canary", "web-primary", 10, false),
        ];
        items[1].canaries[0].destinations = vec![reached("canary", "any", 9, true)];
        let page = plain(&workers(&items, None));
        for line in ["primary: web-primary; canary: web-canary 75%, web-primary 25%\n", "canary: any (shared)\n"] {
            assert!(page.contains(line), "{page}");
        }
    }
}
