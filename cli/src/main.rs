//! The one binary, `serin`: reads the command line, runs one command, turns what comes of it into an exit code.

mod actions;
mod agent_cmd;
mod args;
mod client;
mod commands;
mod convert;
mod describe;
mod explain;
mod failure;
#[cfg(test)]
mod fixture;
mod gate;
mod get;
mod init;
mod loadtester_cmd;
mod log;
mod manual;
mod output;
mod printer;
mod record;
mod release;
mod replay;
mod replayed;
mod row_text;
mod simulate;
mod sse;
mod table;
mod target;
mod text;
mod validate;
mod wait;

use std::process::ExitCode;

use anstyle::AnsiColor;
use clap::{CommandFactory, Parser};

use commands::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = !error.use_stderr();
            let _ = error.print();
            return if is_help { failure::OK } else { failure::USAGE }.into();
        }
    };
    cli.color.write_global();
    match run(cli.command) {
        Ok(code) => code.into(),
        Err(failure) => {
            tell(&failure);
            failure.exit_code().into()
        }
    }
}

fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Simulate(args) => return simulate::run(&args),
        Command::Init(args) => return init::run(&args),
        Command::Validate(args) => return validate::run(&args),
        Command::Convert(args) => return convert::run(&args),
        Command::Schema(args) => return convert::schema(&args),
        Command::Version => return version(),
        Command::Completion { shell } => return completion(shell),
        Command::Man(args) => return manual::run(&args, Cli::command()),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run_async(command))
}

async fn run_async(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Agent(args) => agent_cmd::run(args).await?,
        Command::Loadtester(args) => loadtester_cmd::run(args).await?,
        Command::Release(args) => return release::run(args).await,
        Command::Get(args) => get::get(args).await?,
        Command::Describe(args) => describe::run(args).await?,
        Command::Explain(args) => explain::run(args).await?,
        Command::Abort(args) => actions::run(actions::ABORT, args).await?,
        Command::Promote(args) => actions::run(actions::PROMOTE, args).await?,
        Command::Confirm(args) => actions::run(actions::CONFIRM, args).await?,
        Command::Pause(args) => actions::run(actions::PAUSE, args).await?,
        Command::Resume(args) => actions::run(actions::RESUME, args).await?,
        Command::Retry(args) => actions::run(actions::RETRY, args).await?,
        Command::Skip(args) => actions::run(actions::SKIP, args).await?,
        Command::SetWeight(args) => actions::set_weight(args).await?,
        Command::Gate { what } => gate::run(what).await?,
        Command::Proxies(args) => get::proxies(args).await?,
        Command::Replay(args) => replay::run(args).await?,
        Command::Simulate(args) => return simulate::run(&args),
        Command::Init(args) => return init::run(&args),
        Command::Validate(args) => return validate::run(&args),
        Command::Convert(args) => return convert::run(&args),
        Command::Schema(args) => return convert::schema(&args),
        Command::Version => return version(),
        Command::Completion { shell } => return completion(shell),
        Command::Man(args) => return manual::run(&args, Cli::command()),
    }
    Ok(failure::OK)
}

fn version() -> Result<u8, Failure> {
    let protocol = rollout::worker::messages::PROTOCOL;
    let version = env!("CARGO_PKG_VERSION");
    output::print(&format!("serin {version} (protocol {protocol})\n"))?;
    Ok(failure::OK)
}

fn completion(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "serin", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(failure::OK)
}

/// The message, then what to do next; the chain of causes where there is one.
fn tell(failure: &Failure) {
    let message = match failure {
        Failure::OutputClosed => return,
        Failure::Other(error) => text::clean(&failure::told(error.as_ref())),
        told => told.to_string(),
    };
    let red = AnsiColor::Red.on_default().bold();
    output::remark(&format!("{red}error:{red:#} {message}"));
    if let Some(next) = failure.next() {
        output::remark(&format!("  next: {next}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Help is wrapped at 100 columns, and a wrapped example cannot be copied.
    #[test]
    fn no_line_below_a_command_s_help_is_wrapped() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines() {
                assert!(line.chars().count() <= 98, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
