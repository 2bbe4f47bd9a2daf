//! What a release in progress has, by how far it is: each phase is made of these, and of no more than it needs.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::{Awaiting, Hold};
use crate::base::names::{Actor, ReleaseId, Revision};
use crate::base::time::Millis;
use crate::judgement::guards::{GuardAction, GuardName};
use crate::release::inquiry::{Inquiry, Purpose};
use crate::routing::table::WeightPpm;

/// One attempt to bring one revision through a canary: who asked for what, and what counted against it so far. Every phase
/// of a release in progress has it.
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
    /// Who accepted what this build cannot honour.
    pub accepted_by: Option<Actor>,
    /// When the phase began; in Progressing, when it got its first traffic.
    pub phase_at: Millis,
    /// Failed checks so far; never forgiven.
    pub failed_checks: u32,
    /// Checks at which a metric server had no value; not forgiven either, but counted apart.
    pub blind_checks: u32,
    /// Questions asked of the outside so far.
    pub round: u64,
    /// What its guards have done so far, short of an abort: each does it once.
    pub tripped: Vec<(GuardAction, GuardName)>,
    /// Who sends users to the primary although it fails.
    #[serde(default)]
    pub primary_accepted_by: Option<Actor>,
}

/// What stands between a release and its next move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// When to look next: at the checks, or at the certificate if no report comes before.
    pub check_at: Millis,
    /// The open question.
    pub inquiry: Option<Inquiry>,
    /// What was agreed to since the last move.
    pub agreed: Vec<Purpose>,
    /// Why it does not advance; `None` while it does.
    pub hold: Option<Hold>,
}

impl Pending {
    /// Nothing stands in the way until the next look.
    pub const fn until(check_at: Millis) -> Self {
        Self { check_at, inquiry: None, agreed: Vec::new(), hold: None }
    }
}

/// A step of the plan that a release has taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepState {
    /// n at the plan's n-th weight (or n-th iteration).
    pub number: NonZeroUsize,
    /// The canary's share where it is not the step's: set by a person, or on its way back after promotion.
    pub weight: Option<WeightPpm>,
    /// When the step was taken, or resumed after a pause.
    pub at: Millis,
    /// On certificate: whether it has been proven since. Requests in flight, or failures, can unprove it for a while: the
    /// release does not leave the step then, but something was proven on it.
    pub is_proven: bool,
    /// Whether an abort was claimed on it and no person has decided since: neither rules nor copies reach the canary then.
    #[serde(default)]
    pub is_claimed: bool,
}

/// A release before its first traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preparing {
    /// Which release.
    pub run: Run,
    /// What it waits for.
    pub pending: Pending,
}

/// A release whose canary takes traffic, and which may advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnStep {
    /// Which release.
    pub run: Run,
    /// Where it is.
    pub step: StepState,
    /// What it waits for.
    pub pending: Pending,
    /// When hooks and metrics are asked again for the next check; until then what they agreed to holds.
    pub round_at: Millis,
    /// On certificate: when an approval that was refused is asked for again.
    pub gate_at: Millis,
}

/// A release that may advance, before or after its first traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Underway {
    /// Before.
    Preparing(Preparing),
    /// After.
    OnStep(OnStep),
}

/// A release whose promotion is approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promoting {
    /// Which release.
    pub run: Run,
    /// Where the canary's traffic stays meanwhile; `None` where analysis was skipped.
    pub step: Option<StepState>,
    /// When to look next.
    pub check_at: Millis,
    /// What ends the wait.
    pub awaiting: Awaiting,
    /// Whether a person keeps the traffic where it is, whatever else would return it.
    #[serde(default)]
    pub is_paused: bool,
}

/// A release that is promoted, while workers learn so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finalising {
    /// Which release.
    pub run: Run,
    /// Steps that it took.
    pub steps: usize,
    /// It ends at this time, however many workers have not confirmed.
    pub deadline: Millis,
}
