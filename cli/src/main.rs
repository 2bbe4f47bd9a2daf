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
use tokio::runtime::{self, Runtime};

fn main() -> ExitCode {
    let (cli, command) = match help::parse() {
        Ok(parsed) => parsed,
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
            print_failure(&failure, &command);
            failure.exit_code().into()
        }
    }
}

fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Agent(args) => on_runtime(agent_cmd::run(args)),
        Command::Loadtester(args) => on_runtime(loadtester_cmd::run(args)),
        Command::Release(args) => return runtime()?.block_on(release::run(args)),
        Command::Get(args) => on_runtime(get::get(args)),
        Command::Describe(args) => on_runtime(describe::run(args)),
        Command::Explain(args) => on_runtime(explain::run(args)),
        Command::Abort(args) => on_runtime(actions::run(actions::ABORT, args)),
        Command::Promote(args) => on_runtime(actions::run(actions::PROMOTE, args)),
        Command::Confirm(args) => on_runtime(actions::confirm(args)),
        Command::Pause(args) => on_runtime(actions::run(actions::PAUSE, args)),
        Command::Resume(args) => on_runtime(actions::run(actions::RESUME, args)),
        Command::Retry(args) => on_runtime(actions::run(actions::RETRY, args)),
        Command::Skip(args) => on_runtime(actions::run(actions::SKIP, args)),
        Command::Forget(args) => on_runtime(actions::run(actions::FORGET, args)),
        Command::SetWeight(args) => on_runtime(actions::set_weight(args)),
        Command::Gate { what } => on_runtime(gate::run(what)),
        Command::Proxies(args) => on_runtime(get::proxies(args)),
        Command::Replay(args) => on_runtime(replay::run(args)),
        Command::CompleteCanaries => on_runtime(completion::names()),
        Command::Simulate(args) => return simulate::run(&args),
        Command::Init(args) => return init::run(&args),
        Command::Validate(args) => return validate::run(&args),
        Command::Convert(args) => return convert::run(&args),
        Command::Schema(args) => return convert::schema(&args),
        Command::Version(output) => return version(output),
        Command::Completion { shell } => completion::script(shell),
        Command::Man(args) => return manual::run(&args, Cli::command()),
    }?;
    Ok(failure::OK)
}

fn on_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    runtime()?.block_on(command)
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
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
fn print_failure(failure: &Failure, command: &str) {
    let message = match failure {
        Failure::OutputClosed => return,
        Failure::Other(error) => text::clean(&failure::with_causes(error.as_ref())),
        other => other.to_string(),
    };
    let red = AnsiColor::Red.on_default().bold();
    output::remark(&format!("{red}error:{red:#} {message}"));
    if let Some(next) = failure.next(command) {
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
