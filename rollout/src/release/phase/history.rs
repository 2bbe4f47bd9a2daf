//! The history of a release: every decision with its values and its reason.

use serde::{Deserialize, Serialize};

use super::{Awaiting, Cause, Hold, Proof, RoleConflict};
use crate::base::names::{Actor, CanaryId, ReleaseId, Revision, Upstream};
use crate::base::time::Millis;
use crate::judgement::guards::GuardsVerdict;
use crate::judgement::primary_watch::PrimaryVerdict;
use crate::release::inquiry::{Objection, Purpose};
use crate::release::threshold_checks::ChecksVerdict;
use crate::routing::table::{Epoch, WeightPpm};
use crate::worker::fuse::FuseTest;

/// What happened to a canary, for history, audit and time line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Note {
    /// Its manifest was read for the first time.
    Declared,
    /// Its manifest changed; `at_once` is false while a release still follows the old one.
    Changed {
        /// Whether the new plan is in force now.
        at_once: bool,
    },
    /// Its manifest is gone; what it knows is kept.
    ManifestRemoved {
        /// The upstream that goes on serving.
        primary: Upstream,
    },
    /// Its manifest is back, and what was kept is in force.
    ManifestReturned {
        /// The upstream that is primary, as before.
        primary: Upstream,
    },
    /// It has the traffic, the roles and the promoted revision of a canary whose manifest is gone.
    TookOver {
        /// That canary.
        from: CanaryId,
        /// The upstream that is primary, as before.
        primary: Upstream,
    },
    /// The manifest makes another upstream the primary than the one that serves, and waits for the proxies to agree.
    RolesWait(RoleConflict),
    /// A person dropped what was kept of a canary without a manifest.
    Forgotten {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A release began.
    Started {
        /// What it brings.
        revision: Revision,
        /// Who asked.
        actor: Actor,
        /// Why; may be empty.
        reason: String,
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
    /// An approval is awaited before it begins.
    Waiting {
        /// Who refused, or which gates are closed.
        refused: Vec<Objection>,
    },
    /// What was waited for is approved.
    Approved {
        /// What.
        purpose: Purpose,
    },
    /// The plan says to promote without analysis.
    AnalysisSkipped,
    /// A person ended the wait for this step's proof or approval.
    Skipped {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A person gave the canary another share; it stays there until resumed.
    WeightSet {
        /// From.
        from: WeightPpm,
        /// To.
        to: WeightPpm,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Hooks or metrics objected at a check, below the threshold.
    Objected {
        /// Failed checks so far, and how many roll back.
        failed: u32,
        /// See `failed`.
        threshold: u32,
        /// What they said.
        refused: Vec<Objection>,
    },
    /// A metric server had no value at a check, within the limit.
    MetricError {
        /// At so many checks by now, and how many are allowed.
        checks: u32,
        /// See `checks`.
        limit: u32,
        /// What they said.
        refused: Vec<Objection>,
    },
    /// Proven; an approval to promote is awaited.
    WaitingPromotion {
        /// Who refused, or which gates are closed.
        refused: Vec<Objection>,
    },
    /// A person opened a stored gate.
    GateOpened {
        /// Which.
        gate: String,
        /// For which revision; none: the next one.
        revision: Option<Revision>,
        /// For how long, if not for good.
        expires_after: Option<Millis>,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A person closed a stored gate.
    GateClosed {
        /// Which.
        gate: String,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Traffic returns to the primary.
    Returned {
        /// The canary's share from.
        from: WeightPpm,
        /// To.
        to: WeightPpm,
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
        verdict: ChecksVerdict,
    },
    /// A guard tripped that does not abort.
    Tripped(GuardsVerdict),
    /// The primary fails, and the canary does not: no user is sent back there until it is well again.
    PrimaryFails(PrimaryVerdict),
    /// It is certified again.
    PrimaryRecovered(PrimaryVerdict),
    /// A person sends users to the primary although it fails.
    PrimaryAccepted {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// The manifest says that a failing primary's users move to the proven canary.
    Shifted {
        /// The canary's share from.
        from: WeightPpm,
        /// To.
        to: WeightPpm,
    },
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
    /// A worker that the journal does not know holds the table of an abort that the journal does not know either: the
    /// canary's share is zero until a person decides.
    AbortClaimed {
        /// The worker's node.
        node: String,
        /// The table's epoch.
        epoch: Epoch,
    },
    /// A worker holds a table that was stored before it was sent, and is later than any in the journal: that is not the one
    /// which steered the proxies until now.
    JournalBehind {
        /// The worker's node.
        node: String,
        /// The table's epoch.
        epoch: Epoch,
    },
    /// The guards did not abort the release, so tripped fuses were armed again.
    Rearmed,
    /// The canary's requests, which had gone where the primary's go, do so no more: the step has begun anew.
    BegunAnew,
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
        /// Why.
        reason: String,
    },
    /// Proven, or promoted by a person; the primary must now be brought to the new version.
    Promoting {
        /// Who, when a person ended the analysis early.
        actor: Option<Actor>,
        /// Why, then.
        reason: String,
        /// What proved it; none when a person ended the analysis early.
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
        /// Why, then.
        reason: String,
    },
    /// Primary and canary changed roles.
    Swapped {
        /// The upstream that is primary now.
        primary: Upstream,
    },
    /// The release is the primary.
    Succeeded {
        /// Workers that had not confirmed it by the deadline.
        unconfirmed: usize,
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
