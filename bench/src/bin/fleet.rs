//! `cargo xtask bench fleet`: one agent under 100 to 10,000 workers: reports per second and core, acknowledgements, memory,
//! what is written, pushes, and what a bad canary costs.
//!
//! The agent is `serin agent` in a process of its own, another one for each row; this process plays its workers. Both share
//! the machine, so what this process took is said beside every figure, and where it fell behind, that.

use std::process::ExitCode;

use ::tests::parts;
use anyhow::{Context, Result};
use bench::fleet::options::FleetOptions;
use bench::fleet::row::play;
use bench::fleet::summary::FleetReport;
use bench::machine::load_average;
use bench::output::write_json;
use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&FleetOptions::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &FleetOptions) -> Result<()> {
    let load_before = load_average();
    let mut rows = Vec::new();
    for workers in &options.workers {
        rows.push(play(*workers, options).await?);
    }
    let report = FleetReport::new(rows, options, agent_version()?, [load_before, load_average()]);
    let json = serde_json::to_string_pretty(&report)?;
    let file = write_json("fleet", &json)?;
    print!("{}", if options.json { json + "\n" } else { report.text() });
    eprintln!("also as JSON in {}", file.display());
    Ok(())
}

fn agent_version() -> Result<String> {
    let said = std::process::Command::new(parts::binary()?).arg("--version").output().context("cannot run serin")?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
