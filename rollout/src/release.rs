//! What a release is and what is said of it: the words shared by the state machine, the journal, the API and the CLI.

use serde::{Deserialize, Serialize};

use crate::certificate::CertificateVerdict;
use crate::fuse::FuseTest;
use crate::gates::{Action, GatesVerdict};
use crate::judge::Verdict;
use crate::names::{Revision, Upstream};
use crate::table::WeightPpm;
use crate::time::Millis;

/// A release's number within its canary: 1, 2, 3, …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(pub u64);

/// Who asked: a user name, or what spoke for one. Bounded and printable, like every name.
pub type Actor = Revision;

/// One attempt to bring one revision through a canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Which attempt.
    pub release: ReleaseId,
    /// What it brings.
    pub revision: Revision,
    /// Who began it.
    pub actor: Actor,
    /// When.
    pub started_at: Millis,
    /// Steps taken: 0 before any traffic, n at the plan's n-th weight (or n-th iteration).
    pub step: usize,
    /// Failed checks so far; never forgiven.
    pub failed_checks: u32,
    /// When the step was taken, or gone on with after a pause.
    pub step_at: Millis,
    /// When to look next: at the checks, or at the certificate if no report comes before.
    pub check_at: Millis,
    /// Who accepted what this build cannot honour.
    pub accepted_by: Option<Actor>,
    /// Why it does not advance; `None` while it does.
    pub hold: Option<Hold>,
    /// The gravest that its gates have done so far, short of cutting it.
    pub tripped: Option<Action>,
}

/// What allows a release to advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Every check passed.
    Checks(Verdict),
    /// The step's own requests.
    Certificate(CertificateVerdict),
}

/// Why a release does not advance although nothing is wrong with the canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// No canary traffic in the checks' windows, or on this step.
    NoTraffic,
    /// It waits longer than it should for its requests to prove this step.
    Undecided,
    /// The plan asks for what this build cannot honour, and nobody accepted that yet.
    Unsupported,
    /// A worker's routes send requests to the canary's upstream by default.
    DefaultUpstream {
        /// Whose.
        node: String,
        /// Which upstream.
        upstream: Upstream,
    },
    /// A live worker's fuse is tripped.
    Fuse {
        /// Whose.
        node: String,
    },
}

/// What ends a wait for the primary to be brought to the new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Awaiting {
    /// The promotion hook's answer.
    Hook,
    /// `serin confirm`; `after` says why a hook did not end it.
    Confirmation {
        /// The hook's failure, if there was a hook.
        after: Option<String>,
    },
}

/// How a release ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Which.
    pub release: ReleaseId,
    /// What it brought.
    pub revision: Revision,
    /// When.
    pub at: Millis,
}

/// Where a canary stands: Flagger's phases, plus Paused. Each carries only what that phase has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Known, never released.
    Initialized,
    /// The canary takes traffic and is judged.
    Progressing(Run),
    /// As Progressing, but a person stopped it from advancing; a bad canary is still cut.
    Paused(Run),
    /// Proven; the primary is being brought to the new version.
    Promoting(Run, Awaiting),
    /// The new primary takes all traffic; left when every live worker has heard so, or at the deadline.
    Finalising(Run, Millis),
    /// Promoted.
    Succeeded(Ended),
    /// Aborted.
    Failed(Ended, Cause),
}

impl Phase {
    /// The release in progress.
    pub const fn run(&self) -> Option<&Run> {
        match self {
            Self::Progressing(run) | Self::Paused(run) | Self::Promoting(run, _) | Self::Finalising(run, _) => {
                Some(run)
            }
            Self::Initialized | Self::Succeeded(_) | Self::Failed(..) => None,
        }
    }

    /// Whether a release of `revision` would begin now, rather than go on or be refused.
    pub fn gives_way_to(&self, revision: &Revision) -> bool {
        match self {
            Self::Progressing(run) | Self::Paused(run) => run.revision != *revision,
            Self::Promoting(..) | Self::Finalising(..) => false,
            Self::Initialized | Self::Succeeded(_) | Self::Failed(..) => true,
        }
    }

    /// The phase's name, as Flagger's status shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::Progressing(_) => "Progressing",
            Self::Paused(_) => "Paused",
            Self::Promoting(..) => "Promoting",
            Self::Finalising(..) => "Finalising",
            Self::Succeeded(_) => "Succeeded",
            Self::Failed(..) => "Failed",
        }
    }
}

/// Why a release was aborted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The last allowed check failed.
    Checks {
        /// How many had failed.
        failed: u32,
        /// The check that was too many.
        verdict: Verdict,
    },
    /// A gate tripped.
    Gates(GatesVerdict),
    /// Its requests did not prove it in time.
    Undecided {
        /// How long the plan allows a step.
        after: Millis,
        /// What they prove; no request at all is no data.
        verdict: CertificateVerdict,
    },
    /// A person asked for it.
    Asked {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A worker holds a later epoch than this agent ever stored. Only a cut leaves before it is stored, so one was lost.
    LostCut {
        /// The worker's node.
        node: String,
    },
    /// The canary's manifest is gone.
    Withdrawn,
}

/// What happened to a canary, for history, audit and time line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Note {
    /// Its manifest was read for the first time.
    Declared,
    /// Its manifest changed; `at_once` is false while a release still follows the old one.
    Changed {
        /// Whether the new plan is in force now.
        at_once: bool,
    },
    /// A release began.
    Started {
        /// What it brings.
        revision: Revision,
        /// Who asked.
        actor: Actor,
    },
    /// A newer revision took a running release's place.
    Superseded {
        /// The revision that was not finished.
        revision: Revision,
    },
    /// A person accepted what this build cannot honour.
    Accepted {
        /// Who.
        actor: Actor,
        /// How many checks, hooks or gates.
        items: usize,
    },
    /// The weight changed.
    Stepped {
        /// From.
        from: WeightPpm,
        /// To.
        to: WeightPpm,
        /// What allowed it; none for the first step.
        proof: Option<Proof>,
    },
    /// A check failed, but not yet too many.
    CheckFailed {
        /// Failed so far.
        failed: u32,
        /// The number that rolls back.
        threshold: u32,
        /// The numbers.
        verdict: Verdict,
    },
    /// A gate tripped that does not cut.
    Tripped(GatesVerdict),
    /// A worker's fuse has tripped: it sends nothing more to the canary.
    FuseTripped {
        /// The worker's node.
        node: String,
        /// By which test.
        test: FuseTest,
        /// Requests that spoke against the canary…
        events: u64,
        /// …among so many.
        trials: u64,
    },
    /// The gates did not cut the canary, so tripped fuses were armed again.
    Rearmed,
    /// It does not advance.
    Held(Hold),
    /// A person stopped it from advancing.
    Paused {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// It goes on.
    Resumed {
        /// Who.
        actor: Actor,
    },
    /// Proven, or promoted by a person; the primary must now be brought to the new version.
    Promoting {
        /// Who, when a person cut the analysis short.
        actor: Option<Actor>,
        /// What proved it; none when cut short.
        proof: Option<Proof>,
        /// What is waited for; none for a swap.
        awaiting: Option<Awaiting>,
    },
    /// The promotion hook failed; a person must confirm or abort.
    HookFailed {
        /// What it said.
        error: String,
    },
    /// The primary runs the new version: by the hook (`None`) or a person's word.
    Confirmed {
        /// Who.
        actor: Option<Actor>,
    },
    /// Primary and canary changed roles.
    Swapped {
        /// The upstream that is primary now.
        primary: Upstream,
    },
    /// The release is the primary.
    Succeeded {
        /// Workers that had not confirmed it by the deadline.
        unheard: usize,
    },
    /// The release was aborted; all traffic is the primary's.
    Aborted(Cause),
}

/// A note with its time and release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEvent {
    /// When.
    pub at: Millis,
    /// During which release; 0 before the first.
    pub release: ReleaseId,
    /// The canary's share after it.
    pub weight: WeightPpm,
    /// What.
    pub note: Note,
}
