//! One managed canary: its plan, where it stands, what is known of its traffic, and the table entry that follows.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Revision, Upstream};
use crate::base::time::Millis;
use crate::controller::rearm::Rearming;
use crate::controller::rollback_watch::RollbackWatch;
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::evidence::Evidence;
use crate::judgement::guards::GuardsVerdict;
use crate::judgement::primary_watch::PrimaryVerdict;
use crate::release::approvals::Approvals;
use crate::release::inquiry::{Callee, LastReply, Objection, Reason};
use crate::release::integrations::{Hook, HookKind};
use crate::release::machine::{self, Context, Effect, Transition};
use crate::release::phase::{Cause, HistoryEvent, Hold, Note, Phase, ReleaseId, Run};
use crate::release::plan::{Plan, Promotion};
use crate::routing::table::{Entry, Epoch, Routing, WeightPpm};

/// Most events of history kept per canary; the oldest go first.
const MAX_HISTORY: usize = 1000;

/// The entry that follows from plan and phase.
mod entry;

pub use entry::Lost;

/// What its evidence says.
mod looks;

/// When things are due.
mod clocks;

/// What the outside answered last.
mod answers;

/// What taking a step leads to outside the canary.
#[derive(Debug)]
pub struct Taken {
    /// To be announced.
    pub events: Vec<HistoryEvent>,
    /// To be called.
    pub asked: Vec<Callee>,
}

/// Release, step and share.
type Place = (ReleaseId, usize, WeightPpm);

/// A canary and all its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The plan in force.
    pub plan: Plan,
    /// The plan for the next release, when the manifest changed during one.
    pub next_plan: Option<Plan>,
    /// Where it stands.
    pub phase: Phase,
    /// Whether primary and canary have exchanged upstreams.
    pub swapped: bool,
    /// What the primary runs, as far as this agent brought it there.
    pub promoted: Option<Revision>,
    /// Stored gates that were opened.
    pub approvals: Approvals,
    /// Releases begun so far.
    pub releases: u64,
    /// How many of them an earlier canary of this name began, which was forgotten: their numbers are not used twice.
    #[serde(default)]
    pub releases_before: u64,
    /// The epoch last issued.
    pub epoch: Epoch,
    /// What its traffic did.
    pub evidence: Evidence,
    /// What the guards said last.
    pub verdict: Option<GuardsVerdict>,
    /// What is known of the primary, as of the last report.
    #[serde(default)]
    pub primary_verdict: Option<PrimaryVerdict>,
    /// What this step's requests prove, where the release advances on certificate.
    pub certificate: Option<CertificateVerdict>,
    /// Length of the slots under the entry in force.
    slot: Millis,
    /// The first epoch of the step that was taken last.
    step_since: Epoch,
    /// What happened.
    pub history: VecDeque<HistoryEvent>,
    /// Since when its manifest is gone: it is a tombstone then, and what it knows waits for the manifest's return.
    #[serde(default)]
    pub withdrawn_at: Option<Millis>,
    /// When tripped fuses are armed again.
    #[serde(default)]
    pub rearming: Rearming,
    /// When the step begins anew whose requests went astray, if they do so no more.
    #[serde(default)]
    pub anew: Rearming,
    /// Workers among which the fuses' alpha is shared; never fewer within a release.
    #[serde(default)]
    fuse_shares: u32,
    /// Rollback hooks that are asked beside everything else.
    #[serde(default)]
    pub rollback: RollbackWatch,
    /// What each hook and metric server answered last in this release; decides nothing.
    #[serde(default)]
    pub replies: Vec<LastReply>,
    /// The routing in force; `None` before the first entry, and after the last.
    issued: Option<Routing>,
    /// Whether an entry is due although it may say what the one in force says.
    is_entry_due: bool,
    /// The entry of the last abort.
    last_abort: Option<Entry>,
}

impl Canary {
    /// A canary that was just declared; its epochs continue above `epoch`.
    pub fn new(plan: Plan, epoch: Epoch) -> Self {
        let mut evidence = Evidence::default();
        if epoch > Epoch::default() {
            // It was known before, and of requests in flight since then only the ends come here.
            evidence.count_from(epoch.next());
        }
        Self {
            plan,
            next_plan: None,
            phase: Phase::Initialized,
            swapped: false,
            promoted: None,
            approvals: Approvals::default(),
            releases: 0,
            releases_before: 0,
            epoch,
            evidence,
            verdict: None,
            primary_verdict: None,
            certificate: None,
            slot: entry::MIN_SLOT,
            step_since: Epoch::default(),
            history: VecDeque::new(),
            withdrawn_at: None,
            rearming: Rearming::default(),
            anew: Rearming::default(),
            fuse_shares: 0,
            rollback: RollbackWatch::default(),
            replies: Vec::new(),
            issued: None,
            is_entry_due: false,
            last_abort: None,
        }
    }

    /// The plan that the manifest last gave, in force or for the next release.
    pub fn latest_plan(&self) -> &Plan {
        self.next_plan.as_ref().unwrap_or(&self.plan)
    }

    /// Whether it never had a release: its roles are only what the manifest says.
    pub const fn is_fresh(&self) -> bool {
        self.releases == self.releases_before && self.promoted.is_none() && !self.swapped
    }

    /// The first epoch of the step that a release is on.
    pub const fn step_since(&self) -> Epoch {
        self.step_since
    }

    /// The name by which proxies know its traffic.
    pub fn service(&self) -> &CanaryId {
        self.plan.scope.service(&self.plan.id)
    }

    /// The upstream that is primary now.
    pub fn primary(&self) -> &Upstream {
        if self.swapped { &self.plan.canary } else { &self.plan.primary }
    }

    /// The upstream that takes the canary's share now.
    pub fn canary(&self) -> &Upstream {
        if self.swapped { &self.plan.primary } else { &self.plan.canary }
    }

    /// Takes another plan. Roles stay with the upstreams that have them: after a swap, a manifest that names the upstreams
    /// the other way round must not send everyone back to the former primary.
    pub fn follow(&mut self, plan: Plan) {
        self.swapped = self.is_swapped_under(&plan);
        self.plan = plan;
    }

    /// The upstreams that would be primary and canary under another plan.
    pub fn roles_under<'a>(&self, plan: &'a Plan) -> (&'a Upstream, &'a Upstream) {
        if self.is_swapped_under(plan) { (&plan.canary, &plan.primary) } else { (&plan.primary, &plan.canary) }
    }

    fn is_swapped_under(&self, plan: &Plan) -> bool {
        self.swapped && plan.canary == *self.primary()
    }

    /// The canary's share of its service's traffic, as the plan and phase mean it.
    pub fn weight(&self) -> WeightPpm {
        machine::weight(&self.plan, self.phase.step())
    }

    /// What the machine's next step stands on; `hold` is why it may not advance.
    pub fn context<'a>(&'a self, hold: Option<&'a Hold>) -> Context<'a> {
        Context {
            plan: &self.plan,
            approvals: &self.approvals,
            promoted: self.promoted.as_ref(),
            hold,
            primary_fails: self.evidence.primary_fails().is_some(),
            is_misrouted: self.misrouted().is_some(),
        }
    }

    /// Takes one step's outcome while so many workers are live or expected back. An entry may follow: see
    /// [`issue`](Self::issue).
    pub fn take(&mut self, step: Transition, workers: usize, now: Millis) -> Taken {
        let Transition { phase, mut notes, effects } = step;
        let (before, had_answered) = (self.place(), self.has_rollback_answered());
        self.phase = phase;
        if let Some((release, _)) = self.phase.latest() {
            // Before the history, whose events are this release's from here on.
            self.releases = self.releases.max(release.0);
        }
        if self.place() != before {
            // Before the effects: the slots' length follows from the traffic so far, which a new release forgets.
            self.begin_step(before.map(|(release, ..)| release), workers, now);
        }
        if notes.iter().any(|note| matches!(note, Note::Aborted(_))) {
            self.close_spent_gates();
        }
        self.rest_rollback_watch(before, had_answered, now);
        if self.phase.judged().is_some() {
            self.evidence.resume_release();
        }
        if self.phase.run().is_none() {
            self.evidence.end_watch();
        }
        let mut asked = Vec::new();
        for effect in effects {
            match effect {
                Effect::BeginEvidence => self.begin_evidence(),
                Effect::BeginStepAnew => {
                    self.anew.done(true);
                    self.begin_step(before.map(|(release, ..)| release), workers, now);
                }
                Effect::Ask(callees) => asked.extend(callees),
                Effect::SwapRoles => {
                    self.swapped = !self.swapped;
                    self.evidence.exchange_roles(self.next_epoch());
                    notes.push(Note::Swapped { primary: self.primary().clone() });
                }
                Effect::Promoted(revision) => self.promoted = Some(revision),
            }
        }
        // Last: each event carries the share that the canary has after all of it.
        let measured = answers::measured(&self.plan, &self.replies);
        let notes = notes.into_iter().map(|note| answers::with_metrics(note, &measured));
        Taken { events: notes.map(|note| self.record(note, now)).collect(), asked }
    }

    /// Which step of which release, and with which share: one that a person sets is judged by its own requests, too.
    fn place(&self) -> Option<Place> {
        self.phase.run().map(|run| (run.release, self.phase.steps(), self.weight()))
    }

    /// Counts afresh, under the entries that are issued from now on.
    fn begin_evidence(&mut self) {
        self.evidence.begin_release(self.next_epoch(), self.plan.longest_window(), &self.plan.guards);
        (self.verdict, self.primary_verdict) = (None, None);
        self.replies.clear();
        if let Some((_, revision)) = self.phase.latest() {
            self.approvals.bind(revision);
        }
    }

    /// Gates that have had their effect: left open they would have it on the next attempt at the same revision too.
    fn close_spent_gates(&mut self) {
        match &self.phase {
            Phase::Failed(_, Cause::Rollback { name }) => {
                self.approvals.close(name);
            }
            // The choice was made: what was approved before it may not promote the next attempt against it.
            Phase::Failed(_, Cause::NotChosen { .. }) => {
                let of_promotion = |hook: &&Hook| hook.kind == HookKind::ConfirmPromotion;
                self.plan.outside.hooks.iter().filter(of_promotion).for_each(|hook| {
                    self.approvals.close(&hook.name);
                });
            }
            _ => {}
        }
    }

    /// Writes one note into the history.
    pub fn record(&mut self, note: Note, now: Millis) -> HistoryEvent {
        let event = HistoryEvent { at: now, release: ReleaseId(self.releases), weight: self.weight(), note };
        self.history.push_back(event.clone());
        if self.history.len() > MAX_HISTORY {
            self.history.pop_front();
        }
        event
    }

    /// Whether the last release ended, and not on the primary: then it may be tried once more.
    pub fn may_retry(&self) -> bool {
        self.phase.ended().is_some_and(|ended| self.promoted.as_ref() != Some(&ended.revision))
    }

    /// The hook that a question went to, if it went to one.
    pub fn hook(&self, callee: Callee) -> Option<&Hook> {
        match (callee, &self.plan.promotion) {
            (Callee::Hook(n) | Callee::Rollback(n), _) => self.plan.outside.hooks.get(n),
            (Callee::Promotion, Promotion::Copy { hook }) => hook.as_ref(),
            (Callee::Promotion, Promotion::Swap) | (Callee::Metric(_), _) => None,
        }
    }

    /// The names of the plan's gates, stored ones and those at gate URLs.
    pub fn gates(&self) -> impl Iterator<Item = &str> {
        self.plan.outside.hooks.iter().filter(|hook| hook.is_gate()).map(|hook| hook.name.as_str())
    }

    /// Why the release stands still, without the gates that were opened since: a release that waits for an approval learns
    /// of it by its next look, which may find its requests wanting. No objection is left then.
    pub fn standing_hold(&self, now: Millis) -> Option<Hold> {
        let (run, hold) = (self.phase.run()?, self.phase.hold()?);
        let Hold::Approval { purpose, refused } = hold else { return Some(hold.clone()) };
        let is_open = |gate: &str| self.approvals.of(gate, Some(&run.revision), now).is_some();
        let stands = |one: &&Objection| one.why != Reason::Closed || !is_open(&one.name);
        Some(Hold::Approval { purpose: *purpose, refused: refused.iter().filter(stands).cloned().collect() })
    }

    /// A stored gate was opened: makes due now what waits for it; whether anything does.
    pub fn make_gate_due(&mut self, gate: &str, now: Millis) -> bool {
        let is_this = |objection: &Objection| objection.name == gate && objection.why == Reason::Closed;
        let is_awaited = self.phase.inquiry().is_none()
            && matches!(self.phase.hold(), Some(Hold::Approval { refused, .. }) if refused.iter().any(is_this));
        if let Some(on_step) = self.phase.on_step_mut().filter(|_| is_awaited) {
            on_step.gate_at = now;
        }
        is_awaited
    }

    /// Whether nothing but a person sends users to the primary: it fails, and nobody has accepted that.
    pub fn keeps_users(&self) -> bool {
        let is_accepted = |run: &Run| run.primary_accepted_by.is_some();
        self.evidence.primary_fails().is_some() && self.phase.run().is_some_and(|run| !is_accepted(run))
    }
}
