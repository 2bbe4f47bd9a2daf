//! The overview of `serin --help`, with its commands in groups: clap lists them all in one.

use clap::error::{ContextKind, ContextValue, ErrorKind};
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

/// Parses the command line; with it comes the name of the command.
pub(crate) fn parse() -> Result<(Cli, String), clap::Error> {
    let matches = grouped(Cli::command()).try_get_matches().map_err(|error| {
        let first = std::env::args().skip(1).find(|word| !word.starts_with('-'));
        with_option(with_nearest(error, first.as_deref()), first.as_deref())
    })?;
    let command = matches.subcommand_name().unwrap_or_default().to_owned();
    Ok((Cli::from_arg_matches(&matches)?, command))
}

/// Names the option that takes a weight or a revision, where one is typed as a word of its own.
fn with_option(mut error: clap::Error, command: Option<&str>) -> clap::Error {
    let option = match command {
        Some("set-weight") => "--weight",
        Some("release") => "--revision",
        _ => return error,
    };
    let surplus = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word.clone(),
        _ => return error,
    };
    if !surplus.starts_with("--") {
        let tip = format!("write '{option} {surplus}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Suggests the command with the fewest slips: clap's own measure finds a missing letter nearer than two exchanged ones.
fn with_nearest(mut error: clap::Error, first: Option<&str>) -> clap::Error {
    let is_first = |value: &ContextValue| matches!(value, ContextValue::String(word) if Some(word.as_str()) == first);
    if error.kind() == ErrorKind::InvalidSubcommand
        && error.get(ContextKind::InvalidSubcommand).is_some_and(is_first)
        && let Some(nearest) = first.and_then(nearest)
    {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![nearest]));
    }
    error
}

/// The command that is most likely meant: as few slips as possible, and of these the same letters.
fn nearest(word: &str) -> Option<String> {
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    let rank = |name: &str| (strsim::damerau_levenshtein(word, name), letters(word) != letters(name));
    let command = Cli::command();
    let names = command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name);
    let nearest = names.min_by_key(|name| rank(name))?;
    (rank(nearest).0 <= 1 + nearest.len() / 4).then(|| nearest.to_owned())
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
    fn the_command_with_the_fewest_slips_is_suggested() {
        let cases = [
            ("gte", Some("get")),
            ("abrot", Some("abort")),
            ("forgte", Some("forget")),
            ("realese", Some("release")),
            ("kubectl", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(nearest(typed).as_deref(), expected, "{typed}");
        }
        let error = |words: &[&str]| grouped(Cli::command()).try_get_matches_from(words).unwrap_err();
        let shown = with_nearest(error(&["serin", "gte"]), Some("gte")).to_string();
        assert!(shown.contains("'get'") && !shown.contains("'gate'"), "{shown}");
        let nested = with_nearest(error(&["serin", "gate", "opne"]), Some("gate")).to_string();
        assert!(nested.contains("'open'"), "{nested}");
    }

    #[test]
    fn a_word_without_its_option_gets_it() {
        for (words, tip) in [
            (["serin", "set-weight", "shop", "30"], "write '--weight 30'"),
            (["serin", "release", "shop", "v2"], "write '--revision v2'"),
        ] {
            let error = grouped(Cli::command()).try_get_matches_from(words).unwrap_err();
            let shown = with_option(error, Some(words[1])).to_string();
            assert!(shown.contains(tip) && !shown.contains("-- "), "{shown}");
        }
    }

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
