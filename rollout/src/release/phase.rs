//! What a release is and what is said of it: the words shared by the state machine, the journal, the API and the CLI.

use std::mem::{Discriminant, discriminant};

use serde::{Deserialize, Serialize};

pub use crate::base::names::{Actor, ReleaseId};
use crate::base::names::{Revision, Upstream};
use crate::base::time::Millis;
use crate::judgement::guards::{GuardAction, GuardName};
use crate::release::inquiry::{Inquiry, Objection, Purpose, Reason};
use crate::routing::table::WeightPpm;

mod history;

pub use history::{Cause, HistoryEvent, Note, Proof};

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
    /// The canary's share where it is not the step's: set by a person, or on its way back after promotion.
    pub weight: Option<WeightPpm>,
    /// Failed checks so far; never forgiven.
    pub failed_checks: u32,
    /// Checks at which a metric server had no value; not forgiven either, but counted apart.
    pub blind_checks: u32,
    /// When the phase began; in Progressing, when it got its first traffic.
    pub phase_at: Millis,
    /// When the step was taken, or gone on with after a pause.
    pub step_at: Millis,
    /// On certificate: whether it has been proven since. What is in flight, or fails, can unprove it for a while: it is not
    /// left then, but it is no step that nothing was proven on.
    #[serde(default)]
    pub is_proven: bool,
    /// When to look next: at the checks, or at the certificate if no report comes before.
    pub check_at: Millis,
    /// Questions asked of the outside so far.
    pub round: u64,
    /// The open one.
    pub inquiry: Option<Inquiry>,
    /// What was agreed to on this step.
    pub agreed: Vec<Purpose>,
    /// When hooks and metrics are asked again for the next check; until then what they agreed to holds.
    pub round_at: Millis,
    /// On certificate: when an approval that was refused is asked for again.
    pub gate_at: Millis,
    /// Who accepted what this build cannot honour.
    pub accepted_by: Option<Actor>,
    /// Why it does not advance; `None` while it does.
    pub hold: Option<Hold>,
    /// What its guards have done so far, short of cutting it: each does it once.
    pub tripped: Vec<(GuardAction, GuardName)>,
}

/// Why a release does not advance although nothing is wrong with the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// No canary traffic in the checks' windows, or on this step.
    NoTraffic,
    /// It waits longer than it should for its requests to prove this step.
    Undecided,
    /// The plan asks for what this build cannot honour, and nobody accepted that yet.
    Unsupported,
    /// An approval is awaited, from these.
    Approval {
        /// Of what.
        purpose: Purpose,
        /// Who refused, or which gates are closed.
        refused: Vec<Objection>,
    },
    /// A person must resume it at this step.
    Stop,
    /// The manifest says so.
    Suspended,
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

impl Hold {
    /// Whether it says the same as another one: who refused and how, whatever the words of a hook that answers something
    /// new at every call, and in whatever order the answers came.
    pub fn repeats(&self, other: &Self) -> bool {
        let (Self::Approval { purpose, refused }, Self::Approval { purpose: before, refused: others }) = (self, other)
        else {
            return self == other;
        };
        purpose == before && said(refused) == said(others)
    }
}

fn said(refused: &[Objection]) -> Vec<(&str, Discriminant<Reason>)> {
    let mut said: Vec<_> = refused.iter().map(|one| (one.name.as_str(), discriminant(&one.why))).collect();
    said.sort_by_key(|(name, _)| *name);
    said
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
    /// Traffic to be back on the primary, step by step.
    Traffic,
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
///
/// Flagger's Initializing and Terminating are about the workloads that it copies; nothing is copied here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Known, never released.
    Initialized,
    /// An approval to begin is awaited; no traffic yet.
    Waiting(Run),
    /// The canary takes traffic and is judged.
    Progressing(Run),
    /// As Progressing, but a person stopped it from advancing; a bad canary is still cut.
    Paused(Run),
    /// Proven; an approval to promote is awaited, and the canary still judged.
    WaitingPromotion(Run),
    /// Promoting is approved; the primary is being brought to the new version.
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
            Self::Waiting(run) | Self::Finalising(run, _) => Some(run),
            _ => self.judged(),
        }
    }

    /// The release in progress, where the canary may have traffic and is judged.
    pub const fn judged(&self) -> Option<&Run> {
        match self {
            Self::Progressing(run) | Self::Paused(run) | Self::WaitingPromotion(run) | Self::Promoting(run, _) => {
                Some(run)
            }
            Self::Initialized | Self::Waiting(_) | Self::Finalising(..) | Self::Succeeded(_) | Self::Failed(..) => None,
        }
    }

    /// The same phase with another run; a phase without one stays what it is.
    #[must_use]
    pub fn with_run(&self, run: Run) -> Self {
        match self {
            Self::Waiting(_) => Self::Waiting(run),
            Self::Progressing(_) => Self::Progressing(run),
            Self::Paused(_) => Self::Paused(run),
            Self::WaitingPromotion(_) => Self::WaitingPromotion(run),
            Self::Promoting(_, awaiting) => Self::Promoting(run, awaiting.clone()),
            Self::Finalising(_, deadline) => Self::Finalising(run, *deadline),
            Self::Initialized | Self::Succeeded(_) | Self::Failed(..) => self.clone(),
        }
    }

    /// Whether a release of `revision` would begin now, rather than go on or be refused.
    pub fn gives_way_to(&self, revision: &Revision) -> bool {
        match self {
            Self::Waiting(run) | Self::Progressing(run) | Self::Paused(run) | Self::WaitingPromotion(run) => {
                run.revision != *revision
            }
            Self::Promoting(..) | Self::Finalising(..) => false,
            Self::Initialized | Self::Succeeded(_) | Self::Failed(..) => true,
        }
    }

    /// Whether it has not begun since its manifest asks for what this build cannot honour.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Progressing(run) if run.hold == Some(Hold::Unsupported))
    }

    /// The release that ended last, where none is in progress.
    pub const fn ended(&self) -> Option<&Ended> {
        match self {
            Self::Succeeded(ended) | Self::Failed(ended, _) => Some(ended),
            _ => None,
        }
    }

    /// The release in progress, or the one that ended last: one may end in the very moment in which it begins.
    pub fn latest(&self) -> Option<(ReleaseId, &Revision)> {
        let running = self.run().map(|run| (run.release, &run.revision));
        running.or_else(|| self.ended().map(|ended| (ended.release, &ended.revision)))
    }

    /// The phase's name, as Flagger's status shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::Waiting(_) => "Waiting",
            Self::Progressing(_) => "Progressing",
            Self::Paused(_) => "Paused",
            Self::WaitingPromotion(_) => "WaitingPromotion",
            Self::Promoting(..) => "Promoting",
            Self::Finalising(..) => "Finalising",
            Self::Succeeded(_) => "Succeeded",
            Self::Failed(..) => "Failed",
        }
    }
}
