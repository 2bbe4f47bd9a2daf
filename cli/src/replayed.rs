//! What a replay says, for people: the verdict in one line, then what was beside what would have been.

use rollout::record::ReleaseOutcome;
use rollout::record::rejudge::{Abort, Certified, Judged, Reached};
use rollout::record::replay::{Replayed, StepTaken};
use rollout::release::text::number;
use serde_json::Value;

use crate::failure::Failure;
use crate::table;
use crate::text::{clean_value, count, progress, span_of};

/// The whole page; `other` names the settings that were given besides the recorded ones.
///
/// # Errors
/// When the replay has no JSON form.
pub(crate) fn page(replayed: &Replayed, other: Option<&str>) -> Result<String, Failure> {
    let value: Value = serde_json::to_value(replayed).map_err(|error| Failure::Other(error.into()))?;
    let replayed: Replayed =
        serde_json::from_value(clean_value(value)).map_err(|error| Failure::Other(error.into()))?;
    let replayed = &replayed;
    let mut page = happened(replayed);
    let mut headings = vec!["AS RECORDED"];
    let mut columns = vec![&replayed.recorded];
    if let (Some(name), Some(judged)) = (other, &replayed.other) {
        page += &would(replayed, name, judged);
        headings.push(name);
        columns.push(judged);
    }
    page += "\n";
    page += &table::beside(&headings, &rows(replayed, &columns));
    Ok(page + &notes(replayed, columns.len() > 1))
}

/// What really came of the release.
fn happened(replayed: &Replayed) -> String {
    let Replayed { canary, release, revision, ended, until_ms, canary_requests, canary_failed, .. } = replayed;
    let end = match ended {
        None => format!("recorded for {}, its end is not in the record", since(*until_ms)),
        Some(end) => format!("{} after {}: {}", end.outcome.name(), since(*until_ms), end.message),
    };
    let requests = requests(*canary_requests, *canary_failed);
    format!("Release {} of {canary}, revision {revision}, with {requests}: {end}\n", release.0)
}

/// What other settings would have made of it.
fn would(replayed: &Replayed, name: &str, judged: &Judged) -> String {
    let Some(abort) = &judged.abort else {
        return format!("Under {name}: never aborted, as far as the record goes\n");
    };
    let Abort { since_ms, canary_requests, canary_failed, .. } = *abort;
    let is_aborted = replayed.ended.as_ref().is_some_and(|ended| ended.outcome == ReleaseOutcome::Aborted);
    let sooner = match replayed.until_ms.saturating_sub(since_ms) {
        0 if is_aborted => " (at the same moment)".into(),
        ms if is_aborted => format!(" ({} earlier)", since(ms)),
        _ => String::new(),
    };
    let requests = requests(canary_requests, canary_failed);
    format!("Under {name}: aborted after {}{sooner} by {}, with {requests}\n", since(since_ms), by(abort))
}

type Row = (String, Vec<String>);

fn rows(replayed: &Replayed, columns: &[&Judged]) -> Vec<Row> {
    let each = |show: &dyn Fn(&Judged) -> String| columns.iter().map(|judged| show(judged)).collect::<Vec<String>>();
    let mut aborted = each(&|judged| judged.abort.as_ref().map_or_else(|| "never".into(), aborted));
    if let (Some(first), Some(end)) = (aborted.first_mut(), &replayed.ended)
        && end.outcome == ReleaseOutcome::Aborted
        && replayed.recorded.abort.is_none()
    {
        *first = format!("{}, for another reason than a guard or check (see above)", since(replayed.until_ms));
    }
    let mut rows = vec![
        ("aborted".into(), aborted),
        (
            "  canary requests by then".into(),
            each(&|judged| or_dash(judged.abort.as_ref(), |a| count(a.canary_requests))),
        ),
        ("  failed by then".into(), each(&|judged| or_dash(judged.abort.as_ref(), |a| count(a.canary_failed)))),
    ];
    let mut names: Vec<&'static str> = Vec::new();
    for guard in columns.iter().flat_map(|judged| &judged.guards) {
        if !names.contains(&guard.guard.name()) {
            names.push(guard.guard.name());
        }
    }
    for name in names {
        let of = |judged: &Judged, show: &dyn Fn(&Reached) -> String| {
            or_dash(judged.guards.iter().find(|guard| guard.guard.name() == name), show)
        };
        rows.push((format!("guard {name}"), each(&|judged| of(judged, &|guard| guard.rule.clone()))));
        rows.push(("  progress".into(), each(&|judged| of(judged, &|guard| came_to(guard, judged)))));
    }
    rows.push(("checks".into(), each(&checks)));
    rows.push(("  first failed".into(), each(&first_failed)));
    for (index, step) in replayed.steps.iter().enumerate() {
        let show = |judged: &Judged| certified(judged, judged.certified.get(index).and_then(Option::as_ref));
        rows.push((label(step), each(&show)));
    }
    rows
}

fn label(step: &StepTaken) -> String {
    let until = step.to_ms.map_or_else(|| " on".into(), |ms| format!(" - {}", since(ms)));
    let requests = requests(step.canary_requests, step.canary_failed);
    format!("step {} ({} %), {}{until}, {requests}", step.step, number(step.weight_percent), since(step.from_ms))
}

fn aborted(abort: &Abort) -> String {
    format!("{} by {}", since(abort.since_ms), by(abort))
}

fn by(abort: &Abort) -> String {
    abort.guard.map_or_else(|| "checks".into(), |guard| format!("guard {}", guard.name()))
}

fn came_to(guard: &Reached, judged: &Judged) -> String {
    let trip = judged.trips.iter().find(|trip| trip.guard == guard.guard && trip.action == guard.action);
    match trip {
        Some(trip) => format!("tripped at {}: {}", since(trip.since_ms), guard.action.name()),
        None if guard.ln_e <= 0.0 => "0%".into(),
        None => format!("{} at {}", progress(guard.percent() / 100.0), since(guard.since_ms)),
    }
}

fn checks(judged: &Judged) -> String {
    let checks = &judged.checks;
    if checks.looks == 0 {
        return "none was made".into();
    }
    let limit = format!("failed check number {} rolls back", checks.threshold);
    format!("{} of {} failed; {limit}", checks.failed, checks.looks)
}

fn first_failed(judged: &Judged) -> String {
    let first = judged.checks.first_failed_ms.zip(judged.checks.first_failed.as_ref());
    or_dash(first, |(at, why)| format!("{}: {why}", since(at)))
}

fn certified(judged: &Judged, certified: Option<&Certified>) -> String {
    match certified {
        Some(found) => format!("certified at {}, {} requests", since(found.since_ms), count(found.canary_requests)),
        None if judged.certifies => "not certified".into(),
        None => "no objective to certify against".into(),
    }
}

fn notes(replayed: &Replayed, has_other: bool) -> String {
    let mut notes = String::new();
    if let Some(said) = &replayed.ended_otherwise {
        notes += &format!(
            "\n! The agent that ran it came to another end: {}, {}. This `serin` judges otherwise than that one did.\n",
            said.outcome.name(),
            said.message
        );
    }
    notes += "\nA guard's progress is the greatest it made, in logarithms as in `serin explain`: an e-value of 20 is halfway to 400.\n";
    if replayed.other.as_ref().is_some_and(|judged| judged.latency_estimated) {
        notes += "\nThe latency limit is not the recorded one: slow requests are taken from histograms (0.8 % coarse), and\n\
                  a request that hung is seen only once it ended.\n";
    }
    if has_other {
        notes += "\nRequests went where history sent them: weights and steps are the recorded ones, what would have come\n\
                  after an earlier abort is not known, and neither is what came after the record ends.\n";
    }
    notes
}

fn requests(started: u64, failed: u64) -> String {
    let noun = if started == 1 { "canary request" } else { "canary requests" };
    format!("{} {noun} ({} failed)", count(started), count(failed))
}

/// A time since the release began: fractions of a second matter below a minute.
fn since(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}s", number(ms as f64 / 1000.0)),
        _ => span_of(ms),
    }
}

fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".into(), show)
}
