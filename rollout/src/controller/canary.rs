//! One managed canary: its plan, where it stands, what is known of its traffic, and the table entry that follows.

mod clocks;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Revision, Upstream};
use crate::base::time::Millis;
use crate::controller::rearm::{Rearming, fuse_plan, shares};
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::evidence::Evidence;
use crate::judgement::guards::GuardsVerdict;
use crate::release::approvals::Approvals;
use crate::release::inquiry::{CallId, Callee, LastReply, Objection, Reason, Reply};
use crate::release::integrations::{Hook, HookKind, HookTarget};
use crate::release::machine::{self, Context, Effect, Step};
use crate::release::phase::{Awaiting, Cause, HistoryEvent, Hold, Note, Phase, ReleaseId, Run};
use crate::release::plan::{Advance, Plan, Promotion};
use crate::routing::table::{Entry, Epoch, Routing, Split, WeightPpm};
use crate::worker::api::REPORT_EVERY;
use crate::worker::tally::Counts;

/// Most events of history kept per canary; the oldest go first.
const MAX_HISTORY: usize = 1000;

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
    /// The epoch last issued.
    pub epoch: Epoch,
    /// What its traffic did.
    pub evidence: Evidence,
    /// What the guards said last.
    pub verdict: Option<GuardsVerdict>,
    /// What this step's requests prove, where the release advances on certificate.
    pub certificate: Option<CertificateVerdict>,
    /// Length of the slots under the entry in force.
    slot: Millis,
    /// The first epoch of the step that was taken last.
    step_since: Epoch,
    /// What happened.
    pub history: VecDeque<HistoryEvent>,
    /// When tripped fuses are armed again.
    #[serde(default)]
    pub rearming: Rearming,
    /// Workers among which the fuses' alpha is shared; never fewer within a release.
    #[serde(default)]
    fuse_shares: u32,
    /// Workers live or expected back, as of the last step.
    #[serde(default)]
    pub workers: usize,
    /// What each hook and metric server answered last in this release; decides nothing.
    #[serde(default)]
    pub replies: Vec<LastReply>,
    issued: Option<Routing>,
    /// The entry that last took traffic away at once.
    last_abort: Option<Entry>,
}

impl Canary {
    /// A canary that was just declared; its epochs continue above `epoch`.
    pub fn new(plan: Plan, epoch: Epoch) -> Self {
        Self {
            plan,
            next_plan: None,
            phase: Phase::Initialized,
            swapped: false,
            promoted: None,
            approvals: Approvals::default(),
            releases: 0,
            epoch,
            evidence: Evidence::default(),
            verdict: None,
            certificate: None,
            slot: MIN_SLOT,
            step_since: Epoch::default(),
            history: VecDeque::new(),
            rearming: Rearming::default(),
            fuse_shares: 0,
            workers: 0,
            replies: Vec::new(),
            issued: None,
            last_abort: None,
        }
    }

    /// The plan that the manifest last gave, in force or for the next release.
    pub fn latest_plan(&self) -> &Plan {
        self.next_plan.as_ref().unwrap_or(&self.plan)
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
        self.phase.judged().map_or(WeightPpm::ZERO, |run| machine::weight(&self.plan, run))
    }

    /// The entry in force.
    pub fn entry(&self) -> Entry {
        Entry { canary: self.plan.id.clone(), epoch: self.epoch, routing: self.issued.clone() }
    }

    /// What the machine's next step stands on; `hold` is why it may not advance.
    pub fn context<'a>(&'a self, hold: Option<&'a Hold>) -> Context<'a> {
        Context { plan: &self.plan, approvals: &self.approvals, promoted: self.promoted.as_ref(), hold }
    }

    /// Takes one step's outcome: phase, effects, history. Returns the events to announce and who is to be asked.
    pub fn take(&mut self, step: Step, now: Millis) -> (Vec<HistoryEvent>, Vec<Callee>) {
        let steps = [&self.phase, &step.phase].map(|phase| phase.run().map(|run| (run.release, run.step)));
        self.phase = step.phase;
        if steps[0] != steps[1] {
            self.slot = slot_length(self.evidence.per_second(now), self.plan.scope.within(self.weight()));
            self.share_fuse(steps[0].map(|(release, _)| release));
            self.step_since = self.epoch.next();
            self.certificate = None;
            // A step has an entry of its own, though it says the same: that tells its requests from those before.
            if steps[1].is_some_and(|(_, step)| step > 0) {
                self.issued = None;
            }
        }
        let is_aborted = step.notes.iter().any(|note| matches!(note, Note::Aborted(_)));
        if let Phase::Failed(_, Cause::Rollback { name }) = &self.phase
            && is_aborted
        {
            // Left open it would roll back the next attempt at the same revision too.
            self.approvals.close(name);
        }
        if matches!(&self.phase, Phase::Failed(_, Cause::NotChosen { .. })) && is_aborted {
            // The choice was made: what was approved before it may not promote the next attempt against it.
            self.close_choices();
        }
        let mut notes = step.notes;
        let mut asked = Vec::new();
        for effect in step.effects {
            match effect {
                Effect::BeginEvidence => {
                    self.evidence.begin_release(self.epoch.next(), self.plan.longest_window(), &self.plan.guards);
                    self.verdict = None;
                    self.replies.clear();
                    if let Some((_, revision)) = self.phase.latest() {
                        self.approvals.bind(revision);
                    }
                }
                Effect::Ask(callees) => asked.extend(callees),
                Effect::SwapRoles => {
                    self.swapped = !self.swapped;
                    notes.push(Note::Swapped { primary: self.primary().clone() });
                }
                Effect::Promoted(revision) => self.promoted = Some(revision),
            }
        }
        (notes.into_iter().map(|note| self.record(note, now)).collect(), asked)
    }

    fn close_choices(&mut self) {
        let of_promotion = |hook: &&Hook| hook.kind == HookKind::ConfirmPromotion;
        self.plan.outside.hooks.iter().filter(of_promotion).for_each(|hook| {
            self.approvals.close(&hook.name);
        });
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

    /// Who it is that a question went to, where that is a hook.
    pub fn hook(&self, callee: Callee) -> Option<&Hook> {
        match (callee, &self.plan.promotion) {
            (Callee::Hook(n), _) => self.plan.outside.hooks.get(n),
            (Callee::Promotion, Promotion::Copy { hook }) => hook.as_ref(),
            (Callee::Promotion, Promotion::Swap) | (Callee::Metric(_), _) => None,
        }
    }

    /// Those whose answer is awaited.
    pub fn unanswered(&self) -> Vec<Callee> {
        let open = self.phase.run().and_then(|run| run.inquiry.as_ref()).map(|inquiry| inquiry.open.clone());
        let promotion = matches!(self.phase, Phase::Promoting(_, Awaiting::Hook)).then_some(Callee::Promotion);
        open.unwrap_or_default().into_iter().chain(promotion).collect()
    }

    /// Keeps an awaited answer for people to read.
    pub fn keep_reply(&mut self, call: CallId, reply: &Reply, now: Millis) {
        let is_awaited = self.phase.run().is_some_and(|run| run.round == call.round);
        if is_awaited && self.unanswered().contains(&call.callee) {
            self.replies.retain(|last| last.callee != call.callee);
            self.replies.push(LastReply { callee: call.callee, at: now, reply: reply.clone() });
        }
    }

    /// The names of the plan's stored gates.
    pub fn gates(&self) -> impl Iterator<Item = &str> {
        let is_gate = |hook: &&Hook| matches!(hook.target, HookTarget::Gate);
        self.plan.outside.hooks.iter().filter(is_gate).map(|hook| hook.name.as_str())
    }

    /// Why the release stands still, without the gates that were opened since: one that waits for an approval is told of
    /// it by its next look, which may find its requests wanting. Nobody is left to refuse then.
    pub fn standing_hold(&self, now: Millis) -> Option<Hold> {
        let run = self.phase.run()?;
        let Some(Hold::Approval { purpose, refused }) = &run.hold else { return run.hold.clone() };
        let is_open = |gate: &str| self.approvals.of(gate, Some(&run.revision), now).is_some();
        let stands = |one: &&Objection| one.why != Reason::Closed || !is_open(&one.name);
        Some(Hold::Approval { purpose: *purpose, refused: refused.iter().filter(stands).cloned().collect() })
    }

    /// Makes what waits for this stored gate due now; whether anything does.
    pub fn hurry(&mut self, gate: &str, now: Millis) -> bool {
        let waits = |run: &&Run| match &run.hold {
            Some(Hold::Approval { refused, .. }) => {
                refused.iter().any(|objection| objection.name == gate && objection.why == Reason::Closed)
            }
            _ => false,
        };
        let Some(run) = self.phase.run().filter(|run| run.inquiry.is_none()).filter(waits) else { return false };
        self.phase = self.phase.with_run(Run { gate_at: now, ..run.clone() });
        true
    }

    /// Whether the entry in force sends, or copies, requests to the canary.
    pub fn is_splitting(&self) -> bool {
        self.issued.as_ref().is_some_and(|routing| routing.split.is_some())
    }

    /// Issues a new entry if the routing that follows from plan and phase is not the one in force.
    pub fn issue(&mut self, is_abort: bool) -> Option<Entry> {
        let routing = Routing { scope: self.plan.scope.clone(), primary: self.primary().clone(), split: self.split() };
        self.issue_routing(Some(routing), is_abort)
    }

    /// Issues the last entry, after which its requests are none of ours; its manifest is gone.
    pub fn withdraw(&mut self) -> Option<Entry> {
        self.issue_routing(None, false)
    }

    fn issue_routing(&mut self, routing: Option<Routing>, is_abort: bool) -> Option<Entry> {
        if routing == self.issued {
            return None;
        }
        self.issued = routing;
        // Any entry arms whatever has tripped.
        self.rearming.done(false);
        self.epoch = if is_abort { self.epoch.next_abort() } else { self.epoch.next() };
        let entry = self.entry();
        if let Some(split) = entry.routing.as_ref().and_then(|routing| routing.split.as_ref()) {
            self.evidence.weigh(self.epoch, split.weight);
        }
        if is_abort {
            self.last_abort = Some(entry.clone());
        }
        Some(entry)
    }

    /// The entry that cut the release which failed last: what a worker may hear before anything is stored. The entry in
    /// force may be a later one that is not stored yet, and would be issued again with another meaning after a crash.
    pub fn abort_entry(&self) -> Option<&Entry> {
        self.last_abort.as_ref().filter(|_| matches!(self.phase, Phase::Failed(..)))
    }

    /// Whether a worker that has `epoch` in force knows of something that is not in the journal: a later entry, or a cut
    /// of the release in progress.
    pub fn has_lost(&self, epoch: Epoch) -> bool {
        let is_lost_abort = epoch.is_abort() && epoch >= self.evidence.since() && self.phase.run().is_some();
        epoch > self.epoch || is_lost_abort
    }

    /// Makes the next entry greater than `epoch`, and due whatever the routing.
    pub fn continue_above(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        self.issued = None;
    }

    fn split(&self) -> Option<Split> {
        let run = self.phase.judged()?;
        // Blue/green sends nobody there before the switch.
        let is_live = self.weight() > WeightPpm::ZERO || self.plan.is_live(run.step);
        (run.step > 0 && is_live).then(|| Split {
            canary: self.canary().clone(),
            weight: self.plan.scope.within(self.weight()),
            mirror: self.plan.stage(run.step).mirror,
            rules: self.plan.rules.clone(),
            sticky: self.plan.sticky.clone(),
            salt: format!("{}#{}", self.plan.id, run.release.0),
            slot: self.slot,
            latency_limit: self.plan.guards.latency_limit(),
            fuse: fuse_plan(&self.plan.guards, self.fuse_shares),
        })
    }

    /// The next step's entry is about to be issued: among how many workers its fuses share alpha.
    fn share_fuse(&mut self, before: Option<ReleaseId>) {
        let is_new = self.phase.run().map(|run| run.release) != before;
        if is_new {
            self.rearming = Rearming::default();
        }
        self.fuse_shares = shares(self.workers).max(if is_new { 0 } else { self.fuse_shares });
    }

    /// Looks at the guards; returns the verdict when one has tripped.
    pub fn look(&mut self, now: Millis) -> Option<&GuardsVerdict> {
        if self.plan.guards.is_empty() {
            return None;
        }
        self.verdict = self.evidence.look(&self.plan.guards, now);
        self.verdict.as_ref().filter(|verdict| verdict.tripped.is_some())
    }

    /// Looks at what this step's requests prove; `None` where checks advance the release, or none is on.
    pub fn certify(&mut self) -> Option<&CertificateVerdict> {
        let Advance::Certificate(certificate) = &self.plan.advance else { return None };
        // Copied requests prove nothing about users' own. A share of nothing, set by a person, proves nothing either.
        let is_shared = |run: &Run| self.plan.stage(run.step).weight.max(self.weight()) > WeightPpm::ZERO;
        let takes_requests = |run: &&Run| is_shared(run) || !self.plan.rules.is_empty();
        self.phase.judged().filter(|run| run.step > 0).filter(takes_requests)?;
        self.certificate = Some(certificate.certify(&self.plan.guards, &self.on_step()));
        self.certificate.as_ref()
    }

    /// Users' requests to the canary on the step that was taken last.
    pub fn on_step(&self) -> Counts {
        self.evidence.canary_since(self.step_since)
    }
}

/// Shortest slot: as long as workers take between two reports.
const MIN_SLOT: Millis = REPORT_EVERY;
/// Longest slot: what a comparison may lag behind.
const MAX_SLOT: Millis = Millis(10_000);
/// Requests expected of the smaller side in one slot; fewer waste information (docs/statistics.md, section 2).
const EXPECTED_IN_SLOT: f64 = 5.0;

/// A slot's length for the traffic to be expected: fixed before the slot, from the past alone.
fn slot_length(per_second: f64, weight: WeightPpm) -> Millis {
    let share = weight.percent() / 100.0;
    let smaller = per_second * share.min(1.0 - share);
    let millis = EXPECTED_IN_SLOT * 1000.0 / smaller.max(f64::MIN_POSITIVE);
    Millis((millis as u64).clamp(MIN_SLOT.0, MAX_SLOT.0))
}
