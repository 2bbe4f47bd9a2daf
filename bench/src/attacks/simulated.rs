//! Thousands of releases under each attack in virtual time, under the shipped manifest.

use ::tests::manifest::Manifest;
use anyhow::{Context, Result, anyhow};
use manifest::Document;
use rollout::base::time::Millis;
use rollout::release::plan::Plan;
use serde::Serialize;
use sim::Outcome;
use sim::attacks::{ATTACKS, Attack, Fault, OPEN};
use sim::scenario::{Proxy, Scenario};

use crate::attacks::limit::upper_95;
use crate::attacks::options::AttackOptions;
use crate::output::table;
use crate::parallel;
use crate::quartiles::quantile;

/// What false aborts may be at most, at the upper 95 % limit.
pub const MOST_FALSE: f64 = 0.01;
/// The share of bad releases that must be aborted while they are watched.
pub const LEAST_FOUND: f64 = 0.99;
/// How long a healthy release is watched: a little longer than its steps take at least.
const WATCHED_FOR: Millis = Millis(18_000);
/// How long a bad one is.
const UNTIL_FOUND: Millis = Millis(300_000);
/// What is wrong with bad canaries.
const FAULTS: [(&str, Fault); 3] =
    [("fails 20 %", Fault::Fails(0.2)), ("fails 100 %", Fault::Fails(1.0)), ("is slow", Fault::IsSlow)];

/// One attack's releases.
#[derive(Clone, Debug, Serialize)]
pub struct AttackRow {
    /// The attack.
    pub attack: &'static str,
    /// Whether it is known to abort healthy releases: it is measured and not judged.
    pub is_open: bool,
    /// Healthy releases.
    pub rounds: u32,
    /// Those that were aborted.
    pub aborted: u32,
    /// Their true share is at most this, in percent, with 95 % confidence.
    pub upper_percent: f64,
    /// Those that a guard stopped for a person to look.
    pub paused: u32,
    /// Those in which a worker's fuse tripped.
    pub fused: u32,
    /// Why the first of those aborted was.
    pub first_cause: Option<String>,
    /// Bad releases under the same attack.
    pub bad: Vec<BadRow>,
}

/// Bad releases of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct BadRow {
    /// What is wrong.
    pub canary: &'static str,
    /// How many were played.
    pub rounds: u32,
    /// How many were aborted.
    pub aborted: u32,
    /// Bad or slow answers that users got of the canary, median.
    pub bad_responses: f64,
    /// From the begin of the release to the abort, in seconds, median.
    pub seconds: f64,
}

/// Plays all attacks that are asked for.
///
/// # Errors
/// When the shipped manifest cannot have what an attack needs, or no attack is asked for.
pub fn play(options: &AttackOptions, progress: impl Fn(&str)) -> Result<Vec<AttackRow>> {
    let base = base()?;
    let wanted = ATTACKS.iter().chain(&OPEN).filter(|attack| attack.name.contains(&options.only));
    let rows: Vec<AttackRow> = wanted
        .map(|attack| {
            let row = of(attack, &base, options)?;
            progress(&format!("{}: {} of {} aborted", row.attack, row.aborted, row.rounds));
            Ok(row)
        })
        .collect::<Result<_>>()?;
    anyhow::ensure!(!rows.is_empty(), "no attack has {:?} in its name", options.only);
    Ok(rows)
}

fn of(attack: &Attack, base: &Scenario, options: &AttackOptions) -> Result<AttackRow> {
    let scenario = attack.on(base).map_err(|broken| anyhow!("{}: {broken:?}", attack.name))?;
    let run = |scenario: &Scenario, rounds: u32| {
        parallel::each(rounds as usize, |round| sim::run(scenario, options.seed.wrapping_add(round as u64)))
    };
    let healthy = run(&scenario, options.rounds());
    let count = |is: &dyn Fn(&Outcome) -> bool| healthy.iter().filter(|outcome| is(outcome)).count() as u32;
    let says = |outcome: &Outcome, word: &str| outcome.history.iter().any(|(_, what)| what.contains(word));
    let aborted = count(&|outcome| outcome.aborted().is_some());
    let first = healthy.iter().zip(0..).find_map(|(outcome, round)| Some((outcome.aborted()?, round)));
    let bad = FAULTS.map(|(canary, fault)| {
        let bad = Scenario { watched_for: UNTIL_FOUND, ..fault.on(scenario.clone()) };
        BadRow::new(canary, &run(&bad, options.bad_rounds()))
    });
    Ok(AttackRow {
        attack: attack.name,
        is_open: OPEN.iter().any(|open| open.name == attack.name),
        rounds: options.rounds(),
        aborted,
        upper_percent: upper_95(aborted, options.rounds()) * 100.0,
        paused: count(&|outcome| says(outcome, "tripped: guard")),
        fused: count(&|outcome| says(outcome, "fuse of proxy")),
        first_cause: first.map(|((at, cause), round): ((Millis, &str), u64)| {
            format!("seed {} after {:.1} s: {cause}", options.seed.wrapping_add(round), at.0 as f64 / 1e3)
        }),
        bad: bad.to_vec(),
    })
}

impl AttackRow {
    /// Whether more healthy releases may be aborted than is allowed. Without one that was, too few rounds alone say so.
    #[must_use]
    pub fn aborts_healthy(&self) -> bool {
        !self.is_open && self.aborted > 0 && self.upper_percent > MOST_FALSE * 100.0
    }
}

impl BadRow {
    fn new(canary: &'static str, outcomes: &[Outcome]) -> Self {
        let times: Vec<f64> = outcomes.iter().filter_map(|it| Some(it.aborted()?.0.0 as f64 / 1e3)).collect();
        let bad: Vec<f64> = outcomes.iter().map(|it| (it.canary.bad + it.canary.slow) as f64).collect();
        Self {
            canary,
            rounds: outcomes.len() as u32,
            aborted: times.len() as u32,
            bad_responses: quantile(&bad, 0.5).unwrap_or(f64::NAN),
            seconds: quantile(&times, 0.5).unwrap_or(f64::NAN),
        }
    }

    /// Whether enough were found.
    #[must_use]
    pub fn is_found(&self) -> bool {
        f64::from(self.aborted) >= LEAST_FOUND * f64::from(self.rounds)
    }
}

/// A healthy release: two workers, 200 requests a second of users, 10, 25 and 50 %, each for 5 s at least.
fn base() -> Result<Scenario> {
    let mut scenario = Scenario::healthy(plan()?);
    scenario.proxies = vec![Proxy::default(); 2];
    scenario.traffic.per_second = 200.0;
    scenario.warm_up = Millis(3_000);
    scenario.watched_for = WATCHED_FOR;
    Ok(scenario)
}

fn plan() -> Result<Plan> {
    let advance = "    advance: certificate\n";
    let quick = format!("{advance}    certificate: {{ minDwell: 5s }}\n");
    let loaded = manifest::read("web.yaml", Manifest::certified("10, 25, 50")?.edit(advance, &quick)?.text());
    let mut plans = loaded.documents.iter().flat_map(Document::plans);
    plans.next().cloned().context("the shipped manifest holds no Canary")
}

/// All rows, and what a reader needs to judge them.
#[must_use]
pub fn text(rows: &[AttackRow], options: &AttackOptions) -> String {
    let mark = |row: &AttackRow| if row.is_open { " *" } else { "" };
    let head = ["attack", "aborted", "at most", "paused", "fuse"].map(str::to_owned);
    let faults = FAULTS.iter().flat_map(|(canary, _)| [(*canary).to_owned(), "bad".to_owned(), "s".to_owned()]);
    let head: Vec<String> = head.into_iter().chain(faults).collect();
    let cells = |row: &AttackRow| {
        let of = |count: u32, rounds: u32| format!("{count}/{rounds}");
        let mut cells = vec![
            format!("{}{}", row.attack, mark(row)),
            of(row.aborted, row.rounds),
            format!("{:.2} %", row.upper_percent),
            row.paused.to_string(),
            row.fused.to_string(),
        ];
        for bad in &row.bad {
            cells.extend([
                of(bad.aborted, bad.rounds),
                format!("{:.0}", bad.bad_responses),
                format!("{:.1}", bad.seconds),
            ]);
        }
        cells
    };
    let causes = rows.iter().filter_map(|row| Some(format!("{}: {}\n", row.attack, row.first_cause.as_ref()?)));
    format!(
        "{}{}\nHealthy releases: aborted; the upper 95 % limit of their true share (Clopper-Pearson), to be at most {} %; \
         paused by a guard;\nwith a fuse that tripped. Bad ones under the same attack: aborted, to be {} % of them; bad or \
         slow answers to users, and\nseconds, until then (medians). 200 requests a second of users, 2 workers; 10, 25, 50 %, \
         at least 5 s each; healthy ones are\nwatched for {} s, bad ones for {} s. Seed {}. *: known and not mended, not judged.\n",
        table(&head, rows.iter().map(cells)),
        causes.collect::<String>(),
        MOST_FALSE * 100.0,
        LEAST_FOUND * 100.0,
        WATCHED_FOR.0 / 1000,
        UNTIL_FOUND.0 / 1000,
        options.seed,
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn an_attack_becomes_a_row() {
        let options =
            AttackOptions::parse_from(["attacks", "--rounds", "2", "--bad-rounds", "2", "--only", "poison, steady"]);
        let rows = play(&options, |_| ()).unwrap();
        let text = text(&rows, &options);
        assert!(text.contains("poison, steady      0/2  77.64 %"), "{text}");
        assert!(rows[0].bad[1].is_found() && rows[0].bad[1].bad_responses > 1.0, "{text}");
        let none = AttackOptions { only: "no such attack".into(), ..options };
        assert!(play(&none, |_| ()).is_err());
    }
}
