//! The one binary, `serin`: reads the command line, runs one command, turns what comes of it into an exit code.

mod args;

mod columns;

mod failure;

mod log;

mod agent_cmd;

mod loadtester_cmd;

mod sse;

mod text;

mod checks_table;

mod client;

mod output;

mod manual;

mod record;

mod target;

mod actions;

mod gate;

mod validate;

mod convert;

mod init;

mod simulate;

mod wait;

mod table;

mod canary_table;

mod describe;

mod explain;

mod printer;

mod get;

mod release;

mod replayed;

mod replay;

mod commands;

mod completion;

mod help;

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod screens;

use std::process::ExitCode;

use anstyle::AnsiColor;
use clap::CommandFactory as _;
use commands::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = match help::parse() {
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
        Command::Version(output) => return version(output),
        Command::Completion { shell } => {
            completion::script(shell)?;
            return Ok(failure::OK);
        }
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
        Command::Version(output) => return version(output),
        Command::Completion { shell } => completion::script(shell)?,
        Command::CompleteCanaries => completion::names().await?,
        Command::Man(args) => return manual::run(&args, Cli::command()),
    }
    Ok(failure::OK)
}

fn version(format: args::OutputArgs) -> Result<u8, Failure> {
    let protocol = rollout::worker::messages::PROTOCOL;
    let version = env!("CARGO_PKG_VERSION");
    output::print(&if format.is_json() {
        output::json(&serde_json::json!({"version": version, "protocol": protocol.to_string()}), true)?
    } else {
        format!("serin {version} (protocol {protocol})\n")
    })?;
    Ok(failure::OK)
}

/// The message, then what to do next; the chain of causes where there is one.
fn tell(failure: &Failure) {
    let message = match failure {
        Failure::OutputClosed => return,
        Failure::Other(error) => text::clean(&failure::with_causes(error.as_ref())),
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
    use clap::CommandFactory;
    use commands::Cli;

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
