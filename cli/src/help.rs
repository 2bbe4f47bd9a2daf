//! The overview of `serin --help`, with its commands in groups: clap lists them all in one.

use clap::{Command, CommandFactory, FromArgMatches};

use crate::commands::Cli;

/// Each group's title and commands; a test sees to it that each command is in one.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Release",
        &["release", "retry", "abort", "promote", "confirm", "pause", "resume", "skip", "set-weight", "forget"],
    ),
    ("Look", &["get", "describe", "explain", "proxies", "replay"]),
    ("Approve", &["gate"]),
    (
        "Offline (no agent needed)",
        &["init", "validate", "convert", "schema", "simulate", "completion", "man", "version"],
    ),
    ("Servers", &["agent", "loadtester"]),
];

/// Parses the command line.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let matches = grouped(Cli::command()).try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// The command with its overview.
pub(crate) fn grouped(command: Command) -> Command {
    let overview = overview(&command);
    command.help_template(format!("{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{overview}Options:\n{{options}}{{after-help}}"))
}

fn overview(command: &Command) -> String {
    let shown: Vec<&Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    let width = shown.iter().map(|command| command.get_name().len()).max().unwrap_or(0);
    let mut page = String::new();
    for (title, names) in GROUPS {
        let named = names.iter().filter_map(|name| shown.iter().find(|command| command.get_name() == *name));
        page += &format!("{title}:\n");
        for command in named {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            page += &format!("  {:<width$}  {about}\n", command.get_name());
        }
        page += "\n";
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_its_line_is_not_wrapped() {
        let page = overview(&Cli::command());
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert_eq!(GROUPS.iter().filter(|(_, names)| names.contains(&name)).count(), 1, "{name}");
            assert_eq!(
                page.lines().filter(|line| line.trim_start().starts_with(&format!("{name} "))).count(),
                1,
                "{name}"
            );
        }
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    }
}
