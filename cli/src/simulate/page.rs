//! The summary as a page for people: what was played, one row for each rule, and how far the numbers reach.

use std::time::Duration;

use comfy_table::Cell;

use super::summary::{Runs, Spread, Summary};
use crate::columns::{Sheet, left, right};
use crate::output;
use crate::text::{clean, count, or_dash, percent, span};

/// The whole page.
pub(super) fn page(summary: &Summary) -> String {
    let table = match &summary.fault {
        Some(fault) => faulty(summary, fault.is_slow),
        None => healthy(summary),
    };
    format!("{}\n{table}\n{}", head(summary), notes(summary))
}

fn head(summary: &Summary) -> String {
    let Summary { canary, requests_per_second, workers, runs, seed, base_failures, .. } = summary;
    let played = format!(
        "{canary}: {requests_per_second} requests a second, {workers} workers, {} of them fail on a good day; \
         {runs} runs from seed {seed}\n",
        percent(base_failures * 100.0)
    );
    let Some(fault) = &summary.fault else { return played + "fault: none\n" };
    let how = match fault.fails_by.as_str() {
        "error" => "fail at once",
        "timeout" => "time out after 15 s",
        _ => "are never answered",
    };
    let slow =
        if fault.is_slow { format!(", half take longer than {}", short(fault.latency_ms)) } else { String::new() };
    let when = if fault.after_ms == 0 { "the beginning".into() } else { short(fault.after_ms) };
    played
        + &format!("fault: {} of the canary's requests {how}{slow}, from {when} on\n", percent(fault.failures * 100.0))
}

/// With a fault: who aborts when, what it costs, and what the same rule does to a healthy canary.
fn faulty(summary: &Summary, counts_slow: bool) -> String {
    let bad = if counts_slow { "BAD OR SLOW" } else { "BAD ANSWERS" };
    let numbers = ["ABORTED", "AFTER", "P95", bad, "P95", "FALSE ABORTS", "PROMOTED AFTER"];
    let rows = summary.rules.iter().filter_map(|rule| {
        let faulty = rule.faulty.as_ref()?;
        let bad = if counts_slow { faulty.bad_or_slow } else { faulty.bad_responses };
        let mut row = vec![Cell::new(&rule.rule), Cell::new(share(faulty))];
        row.extend(pair(faulty.aborted_after_ms, short));
        row.extend(pair(bad, count));
        row.push(Cell::new(share(&rule.healthy)));
        row.push(Cell::new(or_dash(rule.healthy.promoted_after_ms, |spread| short(spread.median))));
        Some(row)
    });
    table(&numbers, rows)
}

fn healthy(summary: &Summary) -> String {
    let numbers = ["FALSE ABORTS", "PROMOTED", "AFTER", "P95", "UNFINISHED"];
    let rows = summary.rules.iter().map(|rule| {
        let runs = &rule.healthy;
        let mut row = vec![Cell::new(&rule.rule), Cell::new(share(runs)), Cell::new(runs.promoted.to_string())];
        row.extend(pair(runs.promoted_after_ms, short));
        row.push(Cell::new(runs.unfinished.to_string()));
        row
    });
    table(&numbers, rows)
}

fn table(numbers: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let columns = std::iter::once(left("RULE")).chain(numbers.iter().map(|title| right(title))).collect();
    Sheet::new(columns, rows).render(output::width())
}

fn notes(summary: &Summary) -> String {
    let mut notes = stood_still(summary);
    if let Some(fault) = &summary.fault {
        notes += "ABORTED, AFTER and the answers (median and p95): what users get from the canary until its last request, the \
                  fault's beginning being 0.\n";
        let missed = summary
            .rules
            .iter()
            .filter_map(|rule| rule.faulty.as_ref())
            .any(|runs| runs.promoted_after_ms.is_some_and(|spread| spread.max <= fault.after_ms));
        if missed {
            notes += "Some releases were promoted before the fault began; a shorter --fault-after meets them.\n";
        }
    }
    // No event in n runs: with 95 % confidence its probability is below 3/n.
    let reach = percent(300.0 / f64::from(summary.runs));
    notes += &format!(
        "FALSE ABORTS and PROMOTED: without the fault. {} runs without one still allow for {reach}",
        summary.runs
    );
    notes += &match summary.alpha {
        Some(alpha) => format!("; the guards' own bound is {} a release.\n", percent(alpha * 100.0)),
        None => ".\n".into(),
    };
    notes + "The other tools are idealised: perfect metrics at once, routes that change at once.\n"
}

/// Why Serin's releases did not end; without a word a release that never moves looks like one that is never aborted.
fn stood_still(summary: &Summary) -> String {
    let Some(serin) = summary.rules.first() else { return String::new() };
    let kinds = [("", Some(&serin.healthy)), (" with the fault", serin.faulty.as_ref())];
    let lines = kinds.into_iter().filter_map(|(kind, runs)| Some((kind, runs?))).flat_map(|(kind, runs)| {
        runs.held.iter().map(move |held| {
            let share = match held.runs {
                n if n == summary.runs as usize => format!("all {n} runs"),
                n => format!("{n} of {} runs", summary.runs),
            };
            let why = held.why.as_deref().map_or_else(
                || {
                    format!(
                        "still under way after {}; --for LONGER watches on",
                        span(Duration::from_millis(summary.watched_ms))
                    )
                },
                |why| format!("held, because: {}", clean(why)),
            );
            format!("serin in {share}{kind}: {why}\n")
        })
    });
    lines.collect()
}

fn share(runs: &Runs) -> String {
    percent(runs.abort_probability * 100.0)
}

fn pair(spread: Option<Spread>, show: impl Fn(u64) -> String) -> [Cell; 2] {
    let of = |number: fn(&Spread) -> u64| Cell::new(or_dash(spread, |spread| show(number(&spread))));
    [of(|spread| spread.median), of(|spread| spread.p95)]
}

/// A span of milliseconds with what matters of it: 240ms, 1.2s, 31s, 4m.
fn short(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}s", rollout::release::text::number(ms as f64 / 1000.0)),
        _ => span(Duration::from_millis(ms)),
    }
}
