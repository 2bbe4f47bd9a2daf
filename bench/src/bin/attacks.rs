//! `cargo xtask bench attacks`: healthy releases under attack, which must not be aborted, and bad ones, which must be.
//!
//! In virtual time from a seed, or with `--envoy` on a real one. A missed goal is an error, after the table.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use bench::attacks::on_envoy::{self, EnvoyRow};
use bench::attacks::options::AttackOptions;
use bench::attacks::simulated::{self, AttackRow, BadRow};
use bench::output::write_json;
use clap::Parser;
use serde::Serialize;

fn main() -> ExitCode {
    match run(&AttackOptions::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench attacks: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &AttackOptions) -> Result<()> {
    eprintln!("seed {}, {} rounds, {} of each bad kind", options.seed, options.rounds(), options.bad_rounds());
    if options.envoy { play_on_envoy(options) } else { simulate(options) }
}

fn simulate(options: &AttackOptions) -> Result<()> {
    let rows = simulated::play(options, progress())?;
    show(options, "attacks", &rows, || simulated::text(&rows, options))?;
    let names =
        |is: &dyn Fn(&&AttackRow) -> bool| rows.iter().filter(is).map(|row| row.attack).collect::<Vec<_>>().join("; ");
    judged(&names(&|row| row.aborts_healthy()), &names(&|row| !row.is_open && !row.bad.iter().all(BadRow::is_found)))
}

#[tokio::main]
async fn play_on_envoy(options: &AttackOptions) -> Result<()> {
    let rows = on_envoy::play(options, progress()).await?;
    show(options, "attacks-envoy", &rows, || on_envoy::text(&rows))?;
    let names =
        |is: &dyn Fn(&&EnvoyRow) -> bool| rows.iter().filter(is).map(|row| row.attack).collect::<Vec<_>>().join("; ");
    judged(&names(&|row| !row.aborted.is_empty()), &names(&|row| !row.is_found()))
}

/// What was done, with the seconds since the start.
fn progress() -> impl Fn(&str) {
    let started = Instant::now();
    move |what| eprintln!("{:>5} s  {what}", started.elapsed().as_secs())
}

fn show(options: &AttackOptions, name: &str, rows: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    let json = serde_json::to_string_pretty(rows)?;
    let file = write_json(name, &json)?;
    print!("{}", if options.json { json + "\n" } else { text() });
    eprintln!("also as JSON in {}", file.display());
    Ok(())
}

/// The attacks that aborted healthy releases, and those that hid bad ones: there must be none.
fn judged(false_aborts: &str, hidden: &str) -> Result<()> {
    ensure!(false_aborts.is_empty(), "healthy releases were aborted: {false_aborts}");
    ensure!(hidden.is_empty(), "bad canaries were not found: {hidden}");
    Ok(())
}
