//! The outcome of one run.

use rollout::base::time::Millis;

/// The outcome of one run. Times count from the beginning of the release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The phase reached, as Flagger names it.
    pub phase: String,
    /// How the release ended, if it did while it was watched.
    pub end: Option<End>,
    /// Why it stood still when the time was over, in words, if it did.
    pub held: Option<String>,
    /// Steps taken.
    pub step: usize,
    /// Checks that failed, and guards that tripped without aborting.
    pub alarms: u32,
    /// What users got from the canary until the last of them was sent there; when promoted, until then.
    pub canary: Received,
    /// What users got from the primary meanwhile.
    pub primary: Received,
    /// When the last user was sent to the canary.
    pub last_canary_request: Option<Millis>,
    /// When a user first got a bad answer from the canary.
    pub first_bad: Option<Millis>,
    /// What happened and why, in words.
    pub history: Vec<(Millis, String)>,
}

/// How a release ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The release was aborted.
    Aborted {
        /// When the agent decided so.
        at: Millis,
        /// Why, in words.
        cause: String,
    },
    /// The canary was proven.
    Promoted {
        /// When its last step was passed; bringing the primary to the new version follows.
        at: Millis,
    },
}

impl Outcome {
    /// When and why the release was aborted.
    pub fn aborted(&self) -> Option<(Millis, &str)> {
        match &self.end {
            Some(End::Aborted { at, cause }) => Some((*at, cause)),
            _ => None,
        }
    }

    /// When the canary was proven.
    pub const fn promoted(&self) -> Option<Millis> {
        match self.end {
            Some(End::Promoted { at }) => Some(at),
            _ => None,
        }
    }
}

/// What users got from one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Requests sent there.
    pub requests: u64,
    /// Those that got a bad answer, or none.
    pub bad: u64,
    /// Those that got a good one, but later than the plan's latency limit.
    pub slow: u64,
}
