//! What the operator typed, and what it means.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};
use serving::Token;
use thiserror::Error;

use crate::child::Surroundings;
use crate::job::Rules;
use crate::programs::Programs;
use crate::tasks::Limits;

/// The programs that may run unless others are named: they make load and nothing else. curl is not among them, for it
/// writes files; scripts of wrk and k6 must lie where the load tester runs, a webhook cannot bring them.
pub const DEFAULT_ALLOW: [&str; 8] = ["hey", "wrk", "ghz", "k6", "fortio", "oha", "vegeta", "ab"];

/// What was typed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where webhooks are sent to.
    pub http: SocketAddr,
    /// File with the token that they must show.
    pub http_token_file: Option<PathBuf>,
    /// Accept a bind outside loopback that anybody may use.
    pub insecure: bool,
    /// Names of the programs that may run.
    pub allow: Vec<String>,
    /// Whether webhooks may have shell commands run, and so anything.
    pub allow_shell: bool,
    /// Longest a task may run.
    pub timeout: Duration,
    /// Most tasks at once.
    pub max_tasks: usize,
    /// Which namespaces' canaries may ask: those in which this regular expression finds something.
    pub namespace_regexp: Option<String>,
}

/// What it means.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) http: SocketAddr,
    pub(crate) token: Option<Token>,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
    pub(crate) surroundings: Surroundings,
}

/// Options that cannot be meant.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// The address is open to anybody, or its token cannot be used.
    #[error(transparent)]
    Access(#[from] serving::AccessError),
    /// Not a program's name.
    #[error("--allow {0:?} is not a program's name: write names as they lie in PATH, such as hey,wrk")]
    Allow(String),
    /// Not a regular expression.
    #[error("--namespace-regexp {0:?} is not a regular expression: {1}")]
    NamespaceRegexp(String, String),
    /// Nothing could run.
    #[error("{0} is 0, so nothing could run")]
    Zero(&'static str),
}

impl Options {
    pub(crate) fn meant(self) -> Result<Config, OptionsError> {
        let token = serving::http_token(self.http, self.http_token_file.as_deref(), self.insecure)?;
        let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c == '/' || c.is_whitespace());
        if let Some(wrong) = self.allow.iter().find(|name| !is_name(name)) {
            return Err(OptionsError::Allow(wrong.clone()));
        }
        let zero = [("--max-tasks", self.max_tasks == 0), ("--timeout", self.timeout.is_zero())];
        if let Some((flag, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(OptionsError::Zero(flag));
        }
        let namespaces = self.namespace_regexp.as_deref().map(compile).transpose()?;
        let variable = |name, fallback: &str| std::env::var_os(name).unwrap_or_else(|| OsString::from(fallback));
        let path = variable("PATH", "/usr/local/bin:/usr/bin:/bin");
        Ok(Config {
            http: self.http,
            token,
            rules: Rules {
                programs: Programs::new(self.allow, path.clone()),
                allow_shell: self.allow_shell,
                namespaces,
            },
            limits: Limits { timeout: self.timeout, max_tasks: self.max_tasks },
            surroundings: Surroundings { path, home: variable("HOME", "/") },
        })
    }
}

/// Names are ASCII, so the tables of Unicode are not needed.
fn compile(regexp: &str) -> Result<Regex, OptionsError> {
    // Its message draws the expression over several lines; the last one says what is wrong.
    let reason = |error: regex::Error| {
        let text = error.to_string();
        text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_owned()
    };
    let compiled = RegexBuilder::new(regexp).unicode(false).build();
    compiled.map_err(|error| OptionsError::NamespaceRegexp(regexp.to_owned(), reason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            http_token_file: None,
            insecure: false,
            allow: DEFAULT_ALLOW.map(str::to_owned).into(),
            allow_shell: false,
            timeout: Duration::from_secs(1),
            max_tasks: 1,
            namespace_regexp: Some(r"^prod-\w+$".into()),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        let meant = options().meant().unwrap();
        assert!(meant.rules.namespaces.as_ref().unwrap().is_match(b"prod-eu"));
        let open = SocketAddr::from(([0, 0, 0, 0], 8080));
        for (options, words) in [
            (Options { http: open, ..options() }, &["--http 0.0.0.0:8080", "--http-token-file", "--insecure"][..]),
            (Options { http_token_file: Some("/nowhere".into()), ..options() }, &["--http-token-file", "/nowhere"]),
            (Options { allow: vec!["hey".into(), "/bin/sh".into()], ..options() }, &["--allow", "/bin/sh"]),
            (Options { allow: vec![String::new()], ..options() }, &["--allow \"\""]),
            (
                Options { namespace_regexp: Some("(".into()), ..options() },
                &["--namespace-regexp \"(\" is not a regular expression: unclosed group"],
            ),
            (Options { max_tasks: 0, ..options() }, &["--max-tasks"]),
            (Options { timeout: Duration::ZERO, ..options() }, &["--timeout"]),
        ] {
            let said = options.meant().unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
        assert!(Options { http: open, insecure: true, ..options() }.meant().is_ok());
    }
}
