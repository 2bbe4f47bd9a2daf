//! `cargo xtask`: the one door to the demo, the tests and the benchmarks.
//!
//! It exists so that a fresh machine needs no instructions: whatever a command needs and does not find is named and
//! then installed or built. Few dependencies, because everybody waits for this binary before anything else starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

mod help;

mod shell;

mod debian;

mod envoy;

mod step;

mod toolchain;

mod module;

mod parts;

mod package;

mod test;

/// Sets up what is missing, then builds, demonstrates, tests or measures Serin.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what a fresh machine lacks: the wasm target, Envoy, programs that tests run.
    Setup,
    /// Build the two things that are deployed: target/dist/serin and target/dist/serin.wasm.
    Build,
    /// Pack them with manual pages, service files and documents into target/package/.
    Package {
        /// Pack nothing: build the filter twice, in two places, and fail if the bytes differ.
        #[arg(long)]
        check: bool,
    },
    /// Watch releases promoted and aborted on a real Envoy; `demo -- --help` has its options.
    Demo(Passed),
    /// Formatting, lints and all tests; arguments go to `cargo test`.
    Test(Passed),
    /// The core's laws on many more random cases than `test` draws, from a seed that it prints.
    Soak {
        /// How many times as many.
        #[arg(long, default_value_t = 100)]
        times: u32,
        /// Draw what an earlier run drew.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Run one benchmark: `filter`, `abort`, `attacks`, `fleet` or `judge`.
    Bench {
        /// The binary in bench/src/bin: `filter`, `abort`, `attacks`, `fleet` or `judge`.
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
    let matches = help::grouped(Cli::command()).get_matches();
    match Cli::from_arg_matches(&matches).map_err(anyhow::Error::from).and_then(|cli| run(cli.verb)) {
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
        Verb::Package { check: false } => package::make(),
        Verb::Package { check: true } => package::check(),
        Verb::Demo(passed) => run_with_parts("tests", "demo", &passed.args, None),
        Verb::Test(passed) => test::run_all(&passed.args),
        Verb::Soak { times, seed } => test::soak(times, seed),
        Verb::Bench { name, passed } if is_in_memory(&name, &passed.args) => {
            run_release("bench", &name, &passed.args, |_| ())
        }
        // Its proxies are simulated.
        Verb::Bench { name, passed } if name == "fleet" => {
            toolchain::ensure_wasm_target()?;
            let dist = parts::Dist::build()?;
            run_release("bench", "fleet", &passed.args, |run| {
                run.env("SERIN_BIN", &dist.binary);
            })
        }
        Verb::Bench { name, passed } => {
            toolchain::ensure_wasm_target()?;
            let noop = parts::build_noop_module()?;
            run_with_parts("bench", &name, &passed.args, Some(("SERIN_WASM_NOOP", noop)))
        }
    }
}

/// Whether a benchmark needs neither Envoy nor the built parts.
fn is_in_memory(bench: &str, args: &[OsString]) -> bool {
    bench == "judge" || (bench == "attacks" && !args.iter().any(|arg| arg == "--envoy"))
}

/// Runs a binary of this workspace that needs Envoy and the built parts, and perhaps one more that a variable names.
fn run_with_parts(package: &str, name: &str, args: &[OsString], more: Option<(&str, PathBuf)>) -> Result<()> {
    toolchain::ensure_wasm_target()?;
    let envoy = envoy::ensure()?;
    let dist = parts::Dist::build()?;
    run_release(package, name, args, |run| {
        run.env("SERIN_ENVOY", envoy).env("SERIN_WASM", &dist.module).env("SERIN_BIN", &dist.binary).envs(more);
    })
}

/// Runs a binary of this workspace; release, like the parts, so that the dependencies both have are compiled once.
/// Built first and by itself: for how long it builds is worth telling, for how long it runs is its own affair.
fn run_release(package: &str, name: &str, args: &[OsString], prepare: impl FnOnce(&mut Command)) -> Result<()> {
    let which = ["--release", "--package", package, "--bin", name];
    let folder = shell::target_dir().join("release");
    step::cargo_step(&format!("building `{name}`"), &folder, shell::cargo().arg("build").args(which))?;
    let mut run = shell::cargo();
    run.arg("run").args(which).arg("--").args(args);
    prepare(&mut run);
    shell::run(&mut run)
}
