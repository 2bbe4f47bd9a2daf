//! `cargo xtask bench attacks`: healthy releases under attack, which must not be aborted, and bad ones, which must be.
//!
//! In virtual time from a seed, or with `--envoy` on a real one. A missed goal is an error, after the table.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use bench::attacks::options::Options;
use bench::attacks::simulated::{self, AttackRow, BadRow, MOST_FALSE};
use bench::output::write_json;
use clap::Parser;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench attacks: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    eprintln!("seed {}, {} rounds, {} of each bad kind", options.seed, options.rounds(), options.bad_rounds());
    let started = std::time::Instant::now();
    let rows = simulated::play(options, |what| eprintln!("{:>5} s  {what}", started.elapsed().as_secs()))?;
    let json = serde_json::to_string_pretty(&rows)?;
    let file = write_json("attacks", &json)?;
    print!("{}", if options.json { json + "\n" } else { simulated::text(&rows, options) });
    eprintln!("also as JSON in {}", file.display());
    let names =
        |is: &dyn Fn(&&AttackRow) -> bool| rows.iter().filter(is).map(|row| row.attack).collect::<Vec<_>>().join("; ");
    let false_aborts = names(&|row| row.aborts_healthy());
    let hidden = names(&|row| !row.bad.iter().all(BadRow::is_found));
    ensure!(
        false_aborts.is_empty(),
        "more than {} % of healthy releases may be aborted: {false_aborts}",
        MOST_FALSE * 100.0
    );
    ensure!(hidden.is_empty(), "bad canaries are not found: {hidden}");
    Ok(())
}
