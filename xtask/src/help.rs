//! The page of `cargo xtask --help`: the verbs in groups, by what a person wants to do. Clap has no groups of
//! subcommands, so the list is made here, of what each verb says of itself.

use clap::Command;

/// What a person wants, and the verbs for it.
const GROUPS: [(&str, &[&str]); 3] = [
    ("See it and try it", &["demo", "build", "package", "setup"]),
    ("Before a change lands", &["test", "soak"]),
    ("Measure", &["bench"]),
];

/// Replaces clap's list; how the rest of the page looks stays clap's.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}";

const NOTES: &str = "\
Whatever is missing is named and then installed or built; the first run of anything compiles for
minutes, with cargo's progress shown. Nothing is written outside this checkout but Rust's own
folders and, as root, Debian's packages. Environment:
  ENVOY=/path/to/envoy    another Envoy than the pinned one
  CARGO_TARGET_DIR=DIR    where cargo builds, as always";

/// The command line with that page.
pub(crate) fn grouped(cli: Command) -> Command {
    let mut page = String::new();
    for (wish, verbs) in GROUPS {
        page += &format!("{wish}:\n");
        for verb in verbs {
            let about = cli.find_subcommand(verb).and_then(Command::get_about).map(ToString::to_string);
            page += &format!("  {verb:<9}{}\n", about.unwrap_or_default());
        }
        page.push('\n');
    }
    cli.help_template(TEMPLATE).after_help(page + NOTES).disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    #[test]
    fn every_verb_is_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        grouped.sort_unstable();
        let cli = Cli::command();
        let mut verbs: Vec<&str> = cli.get_subcommands().map(Command::get_name).collect();
        verbs.sort_unstable();
        assert_eq!(grouped, verbs);
    }

    /// Clap wraps at 100 columns, and a wrapped line of the list looks like another verb.
    #[test]
    fn no_line_is_wrapped() {
        let page = grouped(Cli::command()).get_after_help().map(ToString::to_string).unwrap();
        for line in page.lines() {
            assert!(line.chars().count() <= 98, "{line}");
        }
    }
}
