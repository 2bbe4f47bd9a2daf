//! The agent's end of the fleet: the events that reach it, the commands it returns, and the people who make requests.

use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Event, WorkerEvent};
use rollout::release::inquiry::Reply;
use rollout::release::integrations::HookKind;
use rollout::release::phase::{Awaiting, HistoryEvent, Hold, Note};
use rollout::routing::table::Entry;
use rollout::worker::messages::{ToAgent, ToWorker};

use super::Fleet;
use crate::laws;
use crate::person;
use crate::schedule::Happening;

/// How long a person waits before trying an agent that is away again.
const TRY_AGAIN: Millis = Millis(1_000);

/// How long hooks and metric servers take to answer.
const ANSWERED_WITHIN: Millis = Millis(50);

impl Fleet<'_> {
    pub(super) fn agent_gets(&mut self, conn: Conn, message: ToAgent) {
        let Some(place) = self.streams.proxy(conn) else { return };
        match message {
            ToAgent::Hello(hello) => {
                self.agent_hears(Event::Connected(conn, hello));
                if let (Some(laws), Some(proxy)) = (&mut self.laws, self.proxies.get(place)) {
                    laws.greeted(proxy.incarnation, self.agent.canary());
                }
            }
            ToAgent::Report(report) => self.worker_says(conn, WorkerEvent::Reported(report)),
            ToAgent::Adopted(canary, epoch) => self.worker_says(conn, WorkerEvent::Adopted(canary, epoch)),
            ToAgent::Beat => self.perform(vec![Command::Send(conn, ToWorker::Beat)]),
        }
    }

    fn worker_says(&mut self, conn: Conn, event: WorkerEvent) {
        let busy = self.scenario.agent_busy;
        if self.waiting.is_empty() && busy > Millis(0) {
            self.schedule.plan(Micros(self.now.0 + busy.0 * 1000), Happening::AgentTakes);
        }
        self.waiting.push((conn, event));
        if busy == Millis(0) {
            self.agent_takes();
        }
    }

    /// The agent's loop takes what workers have said, as one batch.
    pub(super) fn agent_takes(&mut self) {
        let batch = std::mem::take(&mut self.waiting);
        if !batch.is_empty() {
            self.agent_hears(Event::Workers(batch));
        }
    }

    /// One event for the agent, after what workers said before it; an agent that is down gets none.
    pub(super) fn agent_hears(&mut self, event: Event) {
        self.agent_takes();
        if !self.agent.is_up() {
            return;
        }
        let now = self.now.to_millis();
        let before = self.laws.as_ref().and_then(|_| self.agent.canary().and_then(laws::attempt));
        let follows = self.agent.happens(event, now);
        if let Some(laws) = &mut self.laws {
            let commands: Vec<&Command> = follows.urgent.iter().chain(self.agent.deferred()).collect();
            laws.handled(before.as_ref(), self.agent.canary(), &commands);
            laws.urgent(&follows.urgent);
            laws.look(self.agent.canary());
        }
        self.users.watch(self.agent.canary(), self.scenario.warm_up, now);
        self.perform(follows.urgent);
        let stored_at = Micros(self.now.0 + self.scenario.storage_delay.0 * 1000);
        self.schedule.plan(stored_at, Happening::Stored { life: follows.life, number: follows.number });
        let deadline = self.agent.controller().deadline();
        if deadline != self.timer {
            self.timer = deadline;
            let at = deadline.map(|at| Micros(at.0.saturating_mul(1000)).max(self.now));
            at.into_iter().for_each(|at| self.schedule.plan(at, Happening::Timer(deadline.unwrap_or_default())));
        }
    }

    pub(super) fn perform(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Push(entry) => {
                    self.leaves(&entry);
                    for conn in self.agent.streams() {
                        self.send_down(conn, ToWorker::Entry(entry.clone()));
                    }
                }
                Command::Send(conn, message) if self.agent.has_stream(conn) => {
                    if let ToWorker::Entry(entry) = &message {
                        self.leaves(entry);
                    }
                    self.send_down(conn, message);
                }
                Command::Send(..) => {}
                Command::Close(conn) => {
                    self.agent.close(conn);
                    self.stream_breaks(conn);
                }
                Command::CallHook { canary, call, hook, .. } => {
                    // Every hook agrees, and none requests a rollback: the simulation is about the traffic.
                    let reply = match hook.kind {
                        HookKind::Rollback => Reply::Hook(Err("no reason to".into())),
                        _ => Reply::Hook(Ok(())),
                    };
                    self.outside_answers(Event::Reply { canary, call, reply }, hook.kind == HookKind::Promotion);
                }
                Command::Query { canary, call, metric } => {
                    let value = metric.range.min.or(metric.range.max).unwrap_or_default();
                    let reply = Reply::Metric(Ok(value));
                    self.outside_answers(Event::Reply { canary, call, reply }, false);
                }
                // A callee answers in any case: an answer that comes too late must change nothing either.
                Command::EndCalls { .. } | Command::NotifyHook { .. } | Command::Alert { .. } => {}
                Command::Announce(_, event) => self.announced(&event),
            }
        }
    }

    /// A promotion takes its configured time; every other call a moment.
    fn outside_answers(&mut self, answer: Event, is_promotion: bool) {
        let takes = if is_promotion { self.scenario.promotion_takes } else { ANSWERED_WITHIN };
        let at = Micros(self.now.0 + takes.0 * 1000);
        self.schedule.plan(at, Happening::HookAnswers(Box::new(answer)));
    }

    fn leaves(&mut self, entry: &Entry) {
        if let Some(laws) = &mut self.laws {
            laws.leaves(entry);
        }
    }

    fn announced(&mut self, event: &HistoryEvent) {
        let awaits_person = match &event.note {
            Note::Promoting { awaiting: Some(Awaiting::Confirmation { .. }), .. }
            | Note::Waiting { .. }
            | Note::WaitingPromotion { .. } => true,
            Note::Held(hold) => matches!(hold, Hold::Approval { .. } | Hold::Stop),
            _ => false,
        };
        if awaits_person {
            let at = Micros(self.now.0 + self.scenario.promotion_takes.0 * 1000);
            self.schedule.plan(at, Happening::PersonActs);
        }
    }

    /// Requests the release that has not begun, or confirms the one that waits. Without an agent the person tries again, and
    /// looks again after a crash: the agent may have forgotten what was not stored.
    pub(super) fn person_acts(&mut self) {
        if !self.agent.is_up() {
            let again = Micros(self.now.0 + TRY_AGAIN.0 * 1000);
            return self.schedule.plan(again, Happening::PersonActs);
        }
        let verb = self.agent.canary().and_then(person::next_verb);
        if let (Some(canary), Some(verb)) = (self.agent.canary(), verb) {
            self.agent_hears(Event::Requested(canary.plan.id.clone(), verb));
        }
    }
}
