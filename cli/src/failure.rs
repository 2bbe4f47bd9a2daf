//! Every way to fail, with the exit code that a script reads and the sentence that tells a person what to do next.

use std::error::Error;
use std::io;

use thiserror::Error;

/// Done; with `release --wait`: promoted.
pub(crate) const OK: u8 = 0;
/// Refused, not found, or aborted.
pub(crate) const REFUSED: u8 = 1;
/// Held until a person acts, or timed out.
pub(crate) const HELD: u8 = 2;
/// The command line is wrong (`EX_USAGE`); not 2, which clap uses, since 2 says held.
pub(crate) const USAGE: u8 = 64;
/// The agent cannot be reached or cannot answer now (`EX_UNAVAILABLE`).
pub(crate) const UNAVAILABLE: u8 = 69;
/// The agent wants another token (`EX_NOPERM`).
pub(crate) const NO_PERMISSION: u8 = 77;

/// Why a command failed. Texts that came from the agent are already made fit for a terminal.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// An argument breaks a rule that clap cannot know.
    #[error("{0}")]
    Usage(String),
    /// No connection, or it broke.
    #[error("no agent answers at {url}: {why}")]
    Unreachable {
        /// What was tried.
        url: String,
        /// The deepest cause.
        why: String,
    },
    /// 401.
    #[error("the agent at {url} refuses the request: {said}")]
    Unauthorized {
        /// Which agent.
        url: String,
        /// Its words.
        said: String,
    },
    /// 404; the sentence names what is known instead.
    #[error("{0}")]
    NotFound(String),
    /// 400 or 409: the agent's own words.
    #[error("{0}")]
    Refused(String),
    /// 503: the agent's own words.
    #[error("the agent cannot answer now: {0}")]
    Unavailable(String),
    /// An answer that is not the API's.
    #[error("what answers at {url} does not speak this program's API: {why}")]
    Nonsense {
        /// Which address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Standard output was closed by its reader, who has seen enough.
    #[error("output closed")]
    OutputClosed,
    /// All else, with its causes.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// The program's exit code.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => OK,
            Self::NotFound(_) | Self::Refused(_) | Self::Other(_) => REFUSED,
            Self::Usage(_) => USAGE,
            Self::Unreachable { .. } | Self::Unavailable(_) | Self::Nonsense { .. } => UNAVAILABLE,
            Self::Unauthorized { .. } => NO_PERMISSION,
        }
    }

    /// What to do next, where the message does not say so itself; `command` is the one that failed.
    pub(crate) fn next(&self, command: &str) -> Option<String> {
        let next = match self {
            Self::Unreachable { .. } => Some(
                "start one with `serin agent --canaries DIR --data DIR`, or name another with --agent URL or SERIN_AGENT",
            ),
            Self::Unauthorized { .. } => Some("give the agent's HTTP token (its --http-token-file) in SERIN_TOKEN"),
            Self::Unavailable(_) => Some("try again; the agent's log says more"),
            Self::Nonsense { .. } => Some(
                "check --agent and SERIN_AGENT: the agent's HTTP address is meant, not its gRPC address; `serin version` \
                 on both sides tells whether they fit",
            ),
            Self::Usage(_) => return Some(format!("`serin {command} --help` shows examples")),
            Self::NotFound(_) | Self::Refused(_) | Self::OutputClosed | Self::Other(_) => None,
        };
        next.map(str::to_owned)
    }

    /// Whether waiting may help.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable(_))
    }
}

/// An error with its causes, each said once: libraries differ in whether a message repeats its cause.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in anyhow::Chain::new(error).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::Other(error.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Error)]
    #[error("token file: {source}")]
    struct Repeating {
        source: io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = || io::Error::from(io::ErrorKind::AddrInUse);
        assert_eq!(with_causes(&Repeating { source: cause() }), format!("token file: {}", cause()));
        let silent = anyhow::Error::from(Repeating { source: cause() }).context("the agent cannot start");
        assert_eq!(with_causes(silent.as_ref()), format!("the agent cannot start: token file: {}", cause()));
    }
}
