//! The table of `serin get`: a row for each canary, what no column says below it, and the screen of `get -w`.

use anstyle::AnsiColor;
use comfy_table::{Cell, Color};
use rollout::release::text::number;
use rollout::routing::table::Version;
use rollout::view::status::{CanaryStatus, is_over};

use crate::client::Listing;
use crate::columns::{Column, Sheet, TextPlace, left, right, wrapped};
use crate::table::phase_cell;
use crate::text::{count, millis, or_dash, percent, progress, span_of, utc};

/// From here on, of 1, the way to an abort is coloured.
const WORRYING: f64 = 0.5;

/// What a watch shows at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Screen<'a> {
    /// The canaries as they were seen last.
    pub(crate) list: &'a Listing,
    /// Whether with the less used columns.
    pub(crate) is_wide: bool,
    /// The terminal's columns and lines.
    pub(crate) size: (usize, usize),
    /// Unix time, milliseconds.
    pub(crate) now_ms: u64,
    /// Why the list is old, while the agent cannot be reached.
    pub(crate) outage: Option<&'a str>,
}

impl Screen<'_> {
    /// As text: at most as many lines as the terminal has, less the last one.
    pub(crate) fn render(&self) -> String {
        let (width, height) = self.size;
        let mut page = format!("{}\n", utc(self.now_ms));
        if let Some(why) = self.outage {
            let style = AnsiColor::Yellow.on_default();
            let lines = wrapped(&format!("! {why}; trying again"), width);
            page.extend(lines.iter().map(|line| format!("{style}{line}{style:#}\n")));
        }
        page += "\n";
        page += &page_of(self.list, self.is_wide, Some(width));
        let lines: Vec<&str> = page.lines().collect();
        let room = height.saturating_sub(1).max(2);
        if lines.len() <= room {
            return page;
        }
        let shown: String = lines.iter().take(room - 1).map(|line| format!("{line}\n")).collect();
        format!("{shown}… {} more lines; `serin get NAME -w` shows one canary\n", lines.len() - room + 1)
    }
}

/// Canaries, what is worth a line below them, and manifests that were refused.
pub(crate) fn page_of(list: &Listing, is_wide: bool, width: Option<usize>) -> String {
    let table = if list.items.is_empty() { String::new() } else { canaries(&list.items, is_wide, width) };
    let problems = list.problems.iter().map(|problem| format!("! refused: {problem}"));
    let lines = notes(&list.items).into_iter().chain(problems);
    let lines = lines.flat_map(|line| width.map_or_else(|| vec![line.clone()], |width| wrapped(&line, width)));
    table + &lines.map(|line| line + "\n").collect::<String>()
}

/// Canaries, one a row.
pub(crate) fn canaries(items: &[CanaryStatus], is_wide: bool, width: Option<usize>) -> String {
    let one_namespace = items.iter().all(|canary| items.first().is_some_and(|one| one.namespace == canary.namespace));
    let rows = items.iter().map(|canary| {
        let mut row = narrow(canary);
        if is_wide {
            row.extend(extra(canary));
        }
        row
    });
    let mut columns = columns(one_namespace);
    if is_wide {
        columns.extend(wide_columns());
    }
    // A time that grows would make every line of a pipe news.
    let text = |canary: &CanaryStatus| if width.is_some() { details(canary) } else { news(canary) };
    Sheet::new(columns, rows).with_text("MESSAGE", TextPlace::Below, items.iter().map(text)).render(width)
}

fn columns(one_namespace: bool) -> Vec<Column> {
    let namespace = left("NAMESPACE");
    vec![
        if one_namespace { namespace.goes(0) } else { namespace },
        left("NAME"),
        left("PHASE"),
        left("REVISION").goes(10),
        right("WEIGHT"),
        right("STEP"),
        right("PROVEN").goes(11),
        right("TO ABORT").goes(12),
        right("SUCCESS").goes(9),
        right("P95").goes(8),
    ]
}

fn wide_columns() -> Vec<Column> {
    vec![
        right("RELEASE").goes(4),
        left("PROMOTED").goes(3),
        right("OBSERVED").goes(7),
        right("PRIMARY").goes(6),
        right("CANARY").goes(6),
        right("EPOCH").goes(2),
        right("WORKERS").goes(5),
        left("WITHOUT AGENT").goes(1),
    ]
}

fn narrow(canary: &CanaryStatus) -> Vec<Cell> {
    let version = canary.versions.iter().find(|v| v.version == Version::Canary.name());
    let mut to_abort = Cell::new(to_abort(canary));
    if canary.failed_checks > 0 || canary.toward_abort >= WORRYING {
        to_abort = to_abort.fg(Color::DarkYellow);
    }
    vec![
        Cell::new(&canary.namespace),
        Cell::new(&canary.name),
        phase_cell(&canary.phase),
        Cell::new(canary.revision.as_deref().unwrap_or("-")),
        Cell::new(percent(canary.weight_percent)),
        Cell::new(format!("{}/{}", canary.step, canary.steps)),
        Cell::new(or_dash(canary.toward_step, progress)),
        to_abort,
        Cell::new(or_dash(version.and_then(|v| v.success_rate_percent), percent)),
        Cell::new(or_dash(version.and_then(|v| v.p95_ms), millis)),
    ]
}

fn extra(canary: &CanaryStatus) -> Vec<Cell> {
    let started = |version: Version| {
        let found = canary.versions.iter().find(|v| v.version == version.name());
        Cell::new(or_dash(found, |v| count(v.started)))
    };
    vec![
        Cell::new(canary.release),
        Cell::new(canary.promoted_revision.as_deref().unwrap_or("-")),
        Cell::new(or_dash(canary.observed_percent, |p| format!("{}%", number(p)))),
        started(Version::Primary),
        started(Version::Canary),
        Cell::new(canary.epoch),
        Cell::new(format!("{}/{}", canary.workers_in_sync, canary.workers_live)),
        Cell::new(&canary.without_agent),
    ]
}

/// The evidence for an abort and, where checks decide too, the failed ones of those that roll back.
fn to_abort(canary: &CanaryStatus) -> String {
    let evidence = progress(canary.toward_abort);
    match canary.advance.as_str() {
        _ if is_over(&canary.phase) => "-".into(),
        "certificate" => evidence,
        _ => format!("{}/{} {evidence}", canary.failed_checks, canary.threshold),
    }
}

/// The message, unless all that it says of where the release stands is the step, which has a column.
fn news(canary: &CanaryStatus) -> String {
    let is_on_course = matches!(canary.phase.as_str(), "Waiting" | "Progressing") && canary.hold.is_none();
    if is_on_course && !canary.manifest_gone { canary.remarks.join("; ") } else { canary.message.clone() }
}

/// What a terminal shows below a row: the clock's part, then the message.
fn details(canary: &CanaryStatus) -> String {
    let on_step = canary.on_step_ms.map(|ms| format!("{} on this step", span_of(ms)));
    let remaining = canary.step_remaining_ms.map(remaining);
    let news = Some(news(canary)).filter(|news| !news.is_empty());
    [on_step, remaining, news].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// An estimate of the time that a step still takes.
pub(crate) fn remaining(ms: u64) -> String {
    if ms == 0 { "its requests have proven it".into() } else { format!("about {} to go", span_of(ms.max(1_000))) }
}

/// What is worth a line below the table: a manifest that is gone, or newer than the plan in force; a default route that would
/// serve the wrong version.
fn notes(items: &[CanaryStatus]) -> Vec<String> {
    let of = |canary: &CanaryStatus| {
        let CanaryStatus { namespace, name, without_agent, next_manifest, .. } = canary;
        let gone = canary.manifest_gone.then(|| {
            format!(
                "its manifest is gone; put it back, or drop what is kept of it by `serin forget {namespace}/{name}`"
            )
        });
        let next = next_manifest.as_ref().map(|next| format!("a newer manifest waits, {next}"));
        let wrong = canary.default_route_wrong.then(|| format!("a proxy without an agent serves {without_agent}"));
        let said = [gone, next, wrong].into_iter().flatten();
        said.map(|said| format!("! {namespace}/{name}: {said}")).collect::<Vec<_>>()
    };
    items.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::fixture;
    use crate::screens::{compare, plain};

    fn idle() -> CanaryStatus {
        let mut idle = fixture::canary("default", "api", "Initialized");
        idle.revision = None;
        idle.message = "waits for a release: `serin release`".into();
        idle.versions.clear();
        (idle.weight_percent, idle.step, idle.failed_checks) = (0.0, 0, 0);
        (idle.on_step_ms, idle.ran_ms, idle.started_at_ms) = (None, None, None);
        idle
    }

    fn proving() -> CanaryStatus {
        let mut proving = fixture::canary("production", "web-checkout", "Progressing");
        proving.advance = "certificate".into();
        (proving.toward_step, proving.toward_abort) = (Some(0.629), 0.07);
        proving.step_remaining_ms = Some(41_000);
        proving
    }

    fn held() -> CanaryStatus {
        let mut held = fixture::canary("production", "web", "WaitingPromotion");
        held.message = "proven, and judged on; holds: confirm-promotion is awaited: gate owner is closed (`serin gate \
                        open` opens it); hook change-board: not before the freeze is over"
            .into();
        held
    }

    fn list(items: Vec<CanaryStatus>) -> Listing {
        Listing { items, problems: vec!["canaries/bad.yaml:3:1: spec: is missing; write what to release".into()] }
    }

    #[test]
    fn a_pipe_has_one_line_a_canary() {
        compare("get-pipe", &canaries(&[idle(), proving()], false, None));
        compare("get-pipe-wide", &canaries(&[proving()], true, None));
    }

    #[test]
    fn screens_fit_and_break_at_words() {
        for (name, items) in [("one", vec![proving()]), ("several", vec![idle(), proving(), held()])] {
            for is_wide in [false, true] {
                for width in [80, 120, 200] {
                    let list = list(items.clone());
                    let screen =
                        Screen { list: &list, is_wide, size: (width, 40), now_ms: 1_700_000_072_000, outage: None };
                    let page = screen.render();
                    assert!(plain(&page).lines().all(|line| line.width() <= width), "{}", plain(&page));
                    let kind = if is_wide { "wide-" } else { "" };
                    compare(&format!("watch-{name}-{kind}{width}"), &page);
                }
            }
        }
    }

    #[test]
    fn an_outage_is_on_the_screen_while_it_lasts() {
        let list = list(vec![proving()]);
        let why = "the agent at http://127.0.0.1:7071 cannot be reached: Connection refused (os error 111)";
        let screen =
            |outage| Screen { list: &list, is_wide: false, size: (80, 40), now_ms: 1_700_000_072_000, outage }.render();
        compare("watch-outage", &screen(Some(why)));
        assert!(!screen(None).contains("trying again"));
    }

    #[test]
    fn a_low_terminal_says_what_it_leaves_out() {
        let list = list(vec![proving(); 30]);
        let screen = Screen { list: &list, is_wide: false, size: (80, 12), now_ms: 0, outage: None };
        let page = screen.render();
        assert_eq!(page.lines().count(), 11, "{page}");
        assert!(page.ends_with("… 54 more lines; `serin get NAME -w` shows one canary\n"), "{page}");
    }

    #[test]
    fn an_abort_is_near_only_while_a_release_goes_on() {
        let mut canary = fixture::canary("prod", "web", "Progressing");
        canary.toward_abort = 0.341;
        assert_eq!(to_abort(&canary), "1/3 34%");
        canary.advance = "certificate".into();
        assert_eq!(to_abort(&canary), "34%");
        canary.phase = "Failed".into();
        assert_eq!(to_abort(&canary), "-");
    }

    #[test]
    fn only_what_no_column_says_is_news() {
        let mut canary = fixture::canary("prod", "web", "Progressing");
        assert_eq!(news(&canary), "");
        canary.message = "step 2 of 5; no worker is connected".into();
        canary.remarks = vec!["no worker is connected".into()];
        assert_eq!(news(&canary), "no worker is connected");
        canary.message = "holds: no canary traffic on this step; no worker is connected".into();
        canary.hold = Some("no canary traffic on this step".into());
        assert_eq!(news(&canary), canary.message);
        let promoting = fixture::canary("prod", "web", "Promoting");
        assert_eq!(news(&promoting), promoting.message);
    }

    #[test]
    fn a_manifest_that_is_gone_or_newer_is_a_note() {
        let mut canary = fixture::canary("prod", "web", "Failed");
        canary.manifest_gone = true;
        let [gone] = notes(std::slice::from_ref(&canary)).try_into().unwrap();
        assert!(
            gone.starts_with("! prod/web: its manifest is gone; put it back")
                && gone.contains("`serin forget prod/web`"),
            "{gone}"
        );
        (canary.manifest_gone, canary.next_manifest) = (false, Some("which is followed with the next release".into()));
        assert_eq!(notes(&[canary]), ["! prod/web: a newer manifest waits, which is followed with the next release"]);
    }

    #[test]
    fn what_serves_without_an_agent_is_a_note_where_it_is_wrong() {
        let mut canary = fixture::canary("prod", "web", "Progressing");
        assert!(notes(std::slice::from_ref(&canary)).is_empty());
        canary.without_agent = "web-b (the former primary: move it)".into();
        canary.default_route_wrong = true;
        let expected = "! prod/web: a proxy without an agent serves web-b (the former primary: move it)";
        assert_eq!(notes(&[canary]), [expected]);
    }

    #[test]
    fn wide_characters_do_not_shift_columns() {
        let mut one = fixture::canary("prod", "web", "Failed");
        one.revision = Some("金丝雀".into());
        let two = fixture::canary("prod", "web", "Failed");
        let text = plain(&canaries(&[one, two], false, None));
        let column = |line: &str| line.split("12.5%").next().unwrap().width();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(column(lines[0]), column(lines[1]), "{text}");
    }
}
