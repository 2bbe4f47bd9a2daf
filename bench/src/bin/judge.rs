//! `cargo xtask bench judge`: how fast the judge decides, how rarely it errs, and what it costs, beside Wald's bound and
//! other tools' rules on the same traffic.
//!
//! In memory, from a seed: no Envoy, no clock but for the cost. A missed goal is an error, after the tables.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use bench::judge::findings::{Findings, GOAL, GOAL_UP_TO};
use bench::output::write_json;
use clap::Parser;

/// Measures requests to decide, error rates and cost of the judge.
#[derive(Parser)]
#[command(name = "judge", bin_name = "cargo xtask bench judge --")]
struct Options {
    /// Every random number follows from it.
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
    /// Releases simulated for each figure of the contest; 50 times as many runs where each is a few requests long.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    runs: u64,
    /// Print JSON instead of the tables; target/bench/judge.json is written in any case.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench judge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    eprintln!("seed {}, {} runs", options.seed, options.runs);
    let runs = usize::try_from(options.runs)?;
    let findings = Findings::gather(runs, options.seed, |what| eprintln!("{what}"));
    let json = serde_json::to_string_pretty(&findings)?;
    let file = write_json("judge", &json)?;
    print!("{}", if options.json { json + "\n" } else { findings.text() });
    eprintln!("also as JSON in {}", file.display());
    let worst = findings.to_abort.iter().filter(|row| row.rate <= GOAL_UP_TO).map(|row| row.from_start_multiple);
    let worst = worst.fold(0.0, f64::max);
    ensure!(
        findings.is_goal_met,
        "an abort takes {worst:.3} times the fewest requests possible; the goal is {GOAL} up to {} %",
        GOAL_UP_TO * 100.0
    );
    Ok(())
}
