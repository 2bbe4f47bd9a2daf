//! What was found, as tables that line up.

use std::fmt::Write as _;

use super::contest::ENTRANTS;
use super::findings::{CONTEST_FAULTS, Erring, FalseAborts, Findings, GOAL_UP_TO, HEALTHY, LOADS, Result};
use super::product::{ALPHA, ALPHA_CERTIFY, LIMIT};
use crate::output::table;

impl Findings {
    /// All tables, and what a reader needs to judge them.
    #[must_use]
    pub fn text(&self) -> String {
        let goal = if self.is_goal_met { "kept" } else { "MISSED" };
        let sections = [
            format!("Requests to abort: failure rate at most {} %, alpha {} %", percent(LIMIT), percent(ALPHA)),
            self.to_abort(),
            format!(
                "Goal: at most {} times the bound up to {} %, from the start: {goal}. {}",
                self.goal,
                percent(GOAL_UP_TO),
                self.price_of_restarts()
            ),
            String::new(),
            format!("False aborts in 1,000,000 requests, looked at after each; alpha {} %", percent(ALPHA)),
            Self::erring(&self.false_abort),
            format!("Requests to certify a failure rate below {} %", percent(LIMIT)),
            self.to_certify(),
            format!("Wrong certificates in 1,000,000 requests; alpha {} %", percent(ALPHA_CERTIFY)),
            Self::erring(&self.wrong_certificate),
            "A fault from the start: seconds / bad answers (1000 requests/s, canary 10 %, primary fails 0.1 %)"
                .to_owned(),
            contest(&self.from_the_start),
            "A fault after ten minutes of health: seconds / bad answers since then".to_owned(),
            contest(&self.later),
            format!(
                "False aborts in half an hour, canary and primary fail {} %; {} releases each",
                HEALTHY.map(|rate| percent(rate).to_string()).join(" / "),
                self.runs
            ),
            self.healthy(),
            "False aborts in half an hour, canary exactly at a boundary".to_owned(),
            self.at_boundaries(),
            format!("Cost, lower quartile ({})", self.machine.cpu),
            self.costs(),
            format!("Seed {}, {} releases for each figure of the contest.", self.seed, self.runs),
        ];
        sections.join("\n") + "\n"
    }

    fn to_abort(&self) -> String {
        let rows = self.to_abort.iter().map(|row| {
            let restarts = format!("{:.1} ±{:.1}", row.restarts.mean, row.restarts.standard_error);
            vec![
                format!("{} %", percent(row.rate)),
                format!("{:.1}", row.bound),
                format!("{:.1}", row.from_start),
                format!("{:.3}", row.from_start_multiple),
                restarts,
                format!("{:.3}", row.restarts_multiple),
                format!("{:.1}", row.restarts.mean * row.rate),
            ]
        });
        let head = ["canary fails", "bound", "from start", "times", "with restarts", "times", "bad answers"]
            .map(str::to_owned);
        table(&head, rows)
    }

    /// The goal is the test's; what the product runs also pays for finding late faults, and may be above it.
    fn price_of_restarts(&self) -> String {
        let above = self.to_abort.iter().filter(|row| row.rate <= GOAL_UP_TO && row.restarts_multiple > self.goal);
        let above: Vec<String> =
            above.map(|row| format!("{:.3} at {} %", row.restarts_multiple, percent(row.rate))).collect();
        if above.is_empty() {
            return "With paid restarts, as the product runs: kept as well.".to_owned();
        }
        format!("With paid restarts, as the product runs: MISSED, {}.", above.join(", "))
    }

    fn erring(rows: &[Erring]) -> String {
        let head = ["canary fails", "probability"].map(str::to_owned);
        table(&head, rows.iter().map(|row| vec![format!("{} %", percent(row.rate)), small(row.probability)]))
    }

    fn to_certify(&self) -> String {
        let head = ["canary fails", "alpha", "requests", "times the bound"].map(str::to_owned);
        let rows = self.to_certify.iter().map(|row| {
            vec![
                format!("{} %", percent(row.rate)),
                format!("{} %", percent(row.alpha)),
                format!("{:.0}", row.requests),
                format!("{:.2}", row.multiple),
            ]
        });
        table(&head, rows)
    }

    fn healthy(&self) -> String {
        let head = LOADS.iter().map(|load| format!("{} requests/s, {} %", load.per_second, percent(load.weight)));
        let head: Vec<String> = std::iter::once(String::new()).chain(head).collect();
        let rows = ENTRANTS.iter().map(|entrant| {
            let cells = LOADS.iter().map(|load| {
                let of_load = |row: &&FalseAborts| row.name == entrant.name && row.per_second == load.per_second;
                let healthy = self.false_aborts.iter().filter(of_load).filter(|row| is_healthy(row));
                healthy.map(|row| format!("{:.3}", row.share)).collect::<Vec<_>>().join(" / ")
            });
            std::iter::once(entrant.name.to_owned()).chain(cells).collect()
        });
        table(&head, rows)
    }

    fn at_boundaries(&self) -> String {
        let head = ["", "canary", "primary", "share"].map(str::to_owned);
        let ours = self.false_aborts.iter().filter(|row| !is_healthy(row) && row.name.starts_with("ours"));
        let rows = ours.map(|row| {
            let rates = [row.canary, row.primary].map(|rate| format!("{} %", percent(rate)));
            [vec![row.name.to_owned()], rates.to_vec(), vec![format!("{:.4}", row.share)]].concat()
        });
        table(&head, rows)
    }

    fn costs(&self) -> String {
        let head = ["", "ns", "times 8 exp"].map(str::to_owned);
        let rows = self
            .cost
            .iter()
            .map(|cost| vec![cost.name.to_owned(), format!("{:.0}", cost.ns), format!("{:.2}", cost.times_yardstick)]);
        table(&head, rows)
    }
}

fn contest(results: &[Result]) -> String {
    let head = CONTEST_FAULTS.map(|fault| format!("{} %", percent(fault)));
    let head: Vec<String> = [String::new()].into_iter().chain(head).chain(["p95, s".to_owned()]).collect();
    let rows = ENTRANTS.iter().map(|entrant| {
        let of_entrant: Vec<&Result> = results.iter().filter(|result| result.name == entrant.name).collect();
        let cells = of_entrant.iter().map(|result| format!("{} / {}", short(result.seconds), short(result.bad)));
        let p95: Vec<String> = of_entrant.iter().map(|result| short(result.seconds_p95)).collect();
        std::iter::once(entrant.name.to_owned()).chain(cells).chain([p95.join(" / ")]).collect()
    });
    let mut text = table(&head, rows);
    for result in results {
        let Result { name, fault, never, too_early, .. } = result;
        for (share, what) in [(never, "were never aborted"), (too_early, "were aborted before there was a fault")] {
            if *share > 0.0 {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name}, {} %: {} % of the releases {what}", percent(*fault), percent(*share));
            }
        }
    }
    text
}

/// Whether the canary is no worse than its primary and better than the limit, not exactly at a boundary.
fn is_healthy(row: &FalseAborts) -> bool {
    row.canary <= row.primary && row.canary < LIMIT
}

/// Without the digits that say nothing: 0.01 is "1".
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

fn short(number: f64) -> String {
    match number {
        ..1.0 => format!("{number:.2}"),
        1.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn small(probability: f64) -> String {
    if probability < 0.001 { format!("{probability:.1e}") } else { format!("{probability:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        assert_eq!([short(0.1), short(12.34), short(234.5)], ["0.10", "12.3", "234"]);
        assert_eq!((percent(0.0095), small(6.5e-6)), (0.95, "6.5e-6".to_owned()));
    }
}
