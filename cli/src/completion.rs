//! `serin completion`: scripts for shells that also know the agent's canaries. The scripts ask this program by a hidden
//! command at each TAB, so it answers within a deadline, and is silent about whatever goes wrong.

use std::time::Duration;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use tokio::time::timeout;

use crate::args::AgentArgs;
use crate::client::{Client, Listing};
use crate::commands::{COMPLETE_CANARIES, Cli};
use crate::failure::Failure;
use crate::output;

/// A person who pressed TAB waits no longer.
const DEADLINE: Duration = Duration::from_millis(800);
/// Commands whose first argument is a canary.
const WITH_CANARY: [&str; 14] = [
    "release",
    "get",
    "describe",
    "explain",
    "abort",
    "promote",
    "confirm",
    "pause",
    "resume",
    "skip",
    "forget",
    "set-weight",
    "retry",
    "replay",
];
/// The same of `serin gate`.
const GATE_WITH_CANARY: [&str; 3] = ["list", "open", "close"];

/// The script of a shell.
pub(crate) fn script(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "serin", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    output::print(&match shell {
        Shell::Bash => script + &bash(),
        Shell::Zsh => zsh(&script),
        Shell::Fish => script + &fish(),
        _ => script,
    })
}

/// Prints what canaries there are, or nothing.
pub(crate) async fn names() -> Result<(), Failure> {
    let known = async {
        let args = Agent::try_parse_from(["serin"]).ok()?.agent;
        let list: Listing = Client::new(&args).ok()?.canaries().await.ok()?.shown().ok()?;
        Some(list)
    };
    let list = timeout(DEADLINE, known).await.ok().flatten().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for canary in &list.items {
        let is_only = list.items.iter().filter(|other| other.name == canary.name).count() == 1;
        names.extend(is_only.then(|| canary.name.clone()));
        names.push(format!("{}/{}", canary.namespace, canary.name));
    }
    output::print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
}

/// The agent that the environment names.
#[derive(Parser)]
struct Agent {
    #[command(flatten)]
    agent: AgentArgs,
}

/// Adds names to what the generated function offers, where the word could be a canary.
fn bash() -> String {
    let (commands, gate) = (WITH_CANARY.join("|"), GATE_WITH_CANARY.join("|"));
    format!(
        r#"
_serin_with_canaries() {{
    _serin "$@"
    local cur="${{COMP_WORDS[COMP_CWORD]}}" at=0
    case "${{COMP_WORDS[1]}}" in
        {commands}) at=2 ;;
        gate) case "${{COMP_WORDS[2]}}" in {gate}) at=3 ;; esac ;;
    esac
    if [[ $at -gt 0 && $COMP_CWORD -eq $at && "$cur" != -* ]]; then
        COMPREPLY=( $(compgen -W "$(serin {COMPLETE_CANARIES} 2>/dev/null)" -- "$cur") )
    fi
}}
complete -F _serin_with_canaries -o nosort -o bashdefault -o default serin
"#
    )
}

/// The generated script completes a canary as a file; here it asks.
fn zsh(script: &str) -> String {
    let function = format!(
        "_serin_canaries() {{\n    local -a names\n    names=(${{(f)\"$(serin {COMPLETE_CANARIES} 2>/dev/null)\"}})\n    compadd -a names\n}}\n\n"
    );
    let lines = script.lines().map(|line| {
        let is_canary = line.trim_start().trim_start_matches("'::").trim_start_matches("':").starts_with("canary ");
        if is_canary { line.replace(":_default'", ":_serin_canaries'") } else { line.to_owned() }
    });
    let script: String = lines.map(|line| line + "\n").collect();
    script.replacen("_serin() {", &format!("{function}_serin() {{"), 1)
}

fn fish() -> String {
    let offer = |condition: &str| {
        format!("complete -c serin -n \"{condition}\" -f -a \"(serin {COMPLETE_CANARIES} 2>/dev/null)\"\n")
    };
    let commands = offer(&format!("__fish_seen_subcommand_from {}", WITH_CANARY.join(" ")));
    let gate =
        format!("__fish_seen_subcommand_from gate; and __fish_seen_subcommand_from {}", GATE_WITH_CANARY.join(" "));
    format!("\n{commands}{}", offer(&gate))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that takes a canary first and is not in the lists would not be completed.
    #[test]
    fn every_command_with_a_canary_is_completed() {
        let takes = |command: &clap::Command| {
            command.get_positionals().any(|argument| argument.get_id() == "canary") && command.get_name() != "simulate"
        };
        let names = |command: &clap::Command| -> Vec<String> {
            command.get_subcommands().filter(|command| takes(command)).map(|c| c.get_name().to_owned()).collect()
        };
        let command = Cli::command();
        let mut expected = WITH_CANARY.map(str::to_owned).to_vec();
        let mut found = names(&command);
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(names(command.find_subcommand("gate").unwrap()), GATE_WITH_CANARY);
    }

    #[test]
    fn zsh_asks_for_each_canary() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Zsh, &mut Cli::command(), "serin", &mut script);
        let zsh = zsh(&String::from_utf8(script).unwrap());
        assert_eq!(
            zsh.matches(":_serin_canaries'").count(),
            WITH_CANARY.len() + GATE_WITH_CANARY.len() + 1,
            "simulate too"
        );
        assert_eq!(zsh.matches("_serin_canaries() {").count(), 1);
    }
}
