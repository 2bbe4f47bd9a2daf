//! Where a release stands and what its history says: the words shared by the state machine, the journal, the API and the
//! CLI. A phase holds what exists in it and nothing else, so the state machine never meets a state that cannot be.

use serde::{Deserialize, Serialize};

use crate::base::names::Revision;
pub use crate::base::names::{Actor, ReleaseId};
use crate::base::time::Millis;
use crate::release::inquiry::Inquiry;

/// Why a release stands still.
mod hold;

/// What each phase has.
mod states;

/// Why it advanced or was aborted.
mod cause;

/// What its history says.
mod history;

pub use cause::{Cause, Proof};
pub use history::{HistoryEvent, Note};
pub use hold::{Awaiting, Hold, RoleConflict};
pub use states::{Finalising, OnStep, Pending, Preparing, Promoting, Run, StepState, Underway};

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
    Waiting(Preparing),
    /// The canary takes traffic and is judged, or is about to.
    Progressing(Underway),
    /// As Progressing, but a person stopped it from advancing; a bad canary is still aborted.
    Paused(Underway),
    /// Proven; an approval to promote is awaited, and the canary still judged.
    WaitingPromotion(OnStep),
    /// Promoting is approved; the primary is being brought to the new version.
    Promoting(Promoting),
    /// The new primary takes all traffic; left when every live worker has confirmed it, or at the deadline.
    Finalising(Finalising),
    /// Promoted.
    Succeeded(Ended),
    /// Aborted.
    Failed(Ended, Cause),
}

impl Phase {
    /// The release in progress.
    pub const fn run(&self) -> Option<&Run> {
        match self {
            Self::Waiting(preparing) => Some(&preparing.run),
            Self::Finalising(finalising) => Some(&finalising.run),
            _ => self.judged(),
        }
    }

    /// The release in progress, where the canary may have traffic and is judged.
    pub const fn judged(&self) -> Option<&Run> {
        match self {
            Self::Progressing(Underway::Preparing(Preparing { run, .. }) | Underway::OnStep(OnStep { run, .. }))
            | Self::Paused(Underway::Preparing(Preparing { run, .. }) | Underway::OnStep(OnStep { run, .. }))
            | Self::WaitingPromotion(OnStep { run, .. })
            | Self::Promoting(Promoting { run, .. }) => Some(run),
            Self::Initialized | Self::Waiting(_) | Self::Finalising(_) | Self::Succeeded(_) | Self::Failed(..) => None,
        }
    }

    /// The release in progress, before its first traffic.
    pub const fn preparing(&self) -> Option<&Preparing> {
        match self {
            Self::Waiting(preparing)
            | Self::Progressing(Underway::Preparing(preparing))
            | Self::Paused(Underway::Preparing(preparing)) => Some(preparing),
            _ => None,
        }
    }

    /// The release in progress, on a step that it may leave.
    pub const fn on_step(&self) -> Option<&OnStep> {
        match self {
            Self::Progressing(Underway::OnStep(on_step))
            | Self::Paused(Underway::OnStep(on_step))
            | Self::WaitingPromotion(on_step) => Some(on_step),
            _ => None,
        }
    }

    /// The step whose traffic the canary has.
    pub const fn step(&self) -> Option<&StepState> {
        match self {
            Self::Promoting(promoting) => promoting.step.as_ref(),
            _ => match self.on_step() {
                Some(on_step) => Some(&on_step.step),
                None => None,
            },
        }
    }

    /// Steps taken in the release in progress.
    pub fn steps(&self) -> usize {
        match self {
            Self::Finalising(finalising) => finalising.steps,
            _ => self.step().map_or(0, |step| step.number.get()),
        }
    }

    /// What the release in progress waits for, while it may advance.
    pub const fn pending(&self) -> Option<&Pending> {
        match (self.preparing(), self.on_step()) {
            (Some(Preparing { pending, .. }), _) | (_, Some(OnStep { pending, .. })) => Some(pending),
            (None, None) => None,
        }
    }

    /// Why the release in progress does not advance.
    pub fn hold(&self) -> Option<&Hold> {
        self.pending()?.hold.as_ref()
    }

    /// The open question of the release in progress.
    pub fn inquiry(&self) -> Option<&Inquiry> {
        self.pending()?.inquiry.as_ref()
    }

    /// What ends the wait for the primary to be brought to the new version.
    pub const fn awaiting(&self) -> Option<&Awaiting> {
        match self {
            Self::Promoting(promoting) => Some(&promoting.awaiting),
            _ => None,
        }
    }

    /// When to look at it next.
    pub fn check_at(&self) -> Option<Millis> {
        match self {
            Self::Promoting(promoting) => Some(promoting.check_at),
            _ => self.pending().map(|pending| pending.check_at),
        }
    }

    pub(crate) const fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Self::Waiting(Preparing { run, .. })
            | Self::Progressing(Underway::Preparing(Preparing { run, .. }) | Underway::OnStep(OnStep { run, .. }))
            | Self::Paused(Underway::Preparing(Preparing { run, .. }) | Underway::OnStep(OnStep { run, .. }))
            | Self::WaitingPromotion(OnStep { run, .. })
            | Self::Promoting(Promoting { run, .. })
            | Self::Finalising(Finalising { run, .. }) => Some(run),
            Self::Initialized | Self::Succeeded(_) | Self::Failed(..) => None,
        }
    }

    pub(crate) const fn on_step_mut(&mut self) -> Option<&mut OnStep> {
        match self {
            Self::Progressing(Underway::OnStep(on_step))
            | Self::Paused(Underway::OnStep(on_step))
            | Self::WaitingPromotion(on_step) => Some(on_step),
            _ => None,
        }
    }

    pub(crate) const fn step_mut(&mut self) -> Option<&mut StepState> {
        match self {
            Self::Promoting(promoting) => promoting.step.as_mut(),
            _ => match self.on_step_mut() {
                Some(on_step) => Some(&mut on_step.step),
                None => None,
            },
        }
    }

    pub(crate) const fn pending_mut(&mut self) -> Option<&mut Pending> {
        match self {
            Self::Waiting(Preparing { pending, .. })
            | Self::Progressing(
                Underway::Preparing(Preparing { pending, .. }) | Underway::OnStep(OnStep { pending, .. }),
            )
            | Self::Paused(Underway::Preparing(Preparing { pending, .. }) | Underway::OnStep(OnStep { pending, .. }))
            | Self::WaitingPromotion(OnStep { pending, .. }) => Some(pending),
            _ => None,
        }
    }

    pub(crate) const fn delay_end(&mut self, later: Millis) {
        if let Self::Finalising(finalising) = self {
            finalising.deadline = later;
        }
    }

    pub(crate) const fn check_at_mut(&mut self) -> Option<&mut Millis> {
        match self {
            Self::Promoting(promoting) => Some(&mut promoting.check_at),
            _ => match self.pending_mut() {
                Some(pending) => Some(&mut pending.check_at),
                None => None,
            },
        }
    }

    /// Whether a release of `revision` would begin now, rather than go on or be refused.
    pub fn gives_way_to(&self, revision: &Revision) -> bool {
        match self {
            Self::Finalising(_) => false,
            _ => self.run().is_none_or(|run| run.revision != *revision),
        }
    }

    /// Whether it has not begun since its manifest asks for what this build cannot honour.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Progressing(Underway::Preparing(_))) && self.hold() == Some(&Hold::Unsupported)
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
            Self::Promoting(_) => "Promoting",
            Self::Finalising(_) => "Finalising",
            Self::Succeeded(_) => "Succeeded",
            Self::Failed(..) => "Failed",
        }
    }
}
