//! `cargo xtask`: the one door to the demo, the tests and the benchmarks.
//!
//! It exists so that a fresh machine needs no instructions: whatever a command needs and does not find is named and
//! then installed or built. Few dependencies, because everybody waits for this binary before anything else starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

mod debian;
mod envoy;
mod parts;
mod shell;
mod test;
mod toolchain;

/// Sets up what is missing, then builds, demonstrates, tests or measures Serin.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fetch and install what a fresh machine lacks: the wasm target, programs that the tests run, Envoy.
    Setup,
    /// Build the two things that are deployed: target/dist/serin and target/dist/serin.wasm.
    Build,
    /// Watch releases being promoted and cut on a real Envoy; `demo -- --help` shows the options.
    Demo(Passed),
    /// Formatting, lints and all tests; arguments go to `cargo test`.
    Test(Passed),
    /// The laws of the core on many more random cases than `test` draws, from a seed that it prints.
    Soak {
        /// How many times as many.
        #[arg(long, default_value_t = 100)]
        times: u32,
        /// Draw what an earlier run drew.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Run one benchmark of the `bench` package.
    Bench {
        /// The binary in bench/src/bin: `filter`, `abort` or `judge`.
        name: String,
        #[command(flatten)]
        passed: Passed,
    },
}

/// Arguments that are handed on untouched.
#[derive(Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup => {
            toolchain::ensure_wasm_target()?;
            debian::ensure()?;
            let envoy = envoy::ensure()?;
            println!("ready: Envoy is {}", envoy.display());
            Ok(())
        }
        Verb::Build => {
            toolchain::ensure_wasm_target()?;
            parts::Dist::build()?.print()
        }
        Verb::Demo(passed) => run_with_parts(&["--package", "tests", "--bin", "demo"], &passed.args, None),
        Verb::Test(passed) => test::run_all(&passed.args),
        Verb::Soak { times, seed } => test::soak(times, seed),
        // In memory: it needs neither Envoy nor the built parts.
        Verb::Bench { name, passed } if name == "judge" => {
            let run = ["run", "--quiet", "--release", "--package", "bench", "--bin", "judge", "--"];
            shell::run(shell::cargo().args(run).args(passed.args))
        }
        Verb::Bench { name, passed } => {
            toolchain::ensure_wasm_target()?;
            let noop = parts::build_noop_module()?;
            run_with_parts(&["--package", "bench", "--bin", &name], &passed.args, Some(("SERIN_WASM_NOOP", noop)))
        }
    }
}

/// Runs a binary of this workspace that needs Envoy and the built parts, and perhaps one more that a variable names.
/// Release, like the parts, so that the dependencies both have are compiled once.
fn run_with_parts(which: &[&str], args: &[OsString], more: Option<(&str, PathBuf)>) -> Result<()> {
    toolchain::ensure_wasm_target()?;
    let envoy = envoy::ensure()?;
    let dist = parts::Dist::build()?;
    let mut run = shell::cargo();
    run.args(["run", "--quiet", "--release"]).args(which).arg("--").args(args);
    run.env("SERIN_ENVOY", envoy).env("SERIN_WASM", &dist.module).env("SERIN_BIN", &dist.binary);
    run.envs(more);
    shell::run(&mut run)
}
