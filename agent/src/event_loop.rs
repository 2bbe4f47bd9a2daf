//! The agent's one loop: take an event, journal it, let the controller think, perform what follows.
//!
//! While the agent runs, only this loop owns the controller, and only [`EventLoop::handle_event`] changes it: it appends the
//! event to the journal and calls `Recorder::handle`, which calls `Controller::handle` and says what the event adds to the
//! records of releases. (At the start `journal::replay` feeds the stored events through the same call.) Urgent commands
//! are performed at once; the others, and what goes to the records, wait in order until the journal says that their event
//! is on disk. What a person asks for is not even thought about before that, aborts apart: see `requests`.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use proto::wire::encode_to_worker;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::notify::severity;
use rollout::controller::{Command, Controller, Event};
use rollout::record::Recorder;
use rollout::release::integrations::Severity;
use rollout::release::phase::{HistoryEvent, Note};
use rollout::release::text;
use rollout::worker::messages::ToWorker;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep_until;

use crate::archive::Archive;
use crate::clock::Clock;
use crate::dispatcher::Dispatcher;
use crate::handle::{Answer, Handle, LoopInput, LoopInputs, Outbox, StreamEnd};
use crate::journal::{Backlog, Journal, Recovered};

/// What workers said in one moment.
mod batch;

/// What waits until its event is on disk.
mod deferred;

/// What people ask for is stored first.
mod requests;

/// What the loop still does when the agent stops.
mod shutdown;

use deferred::{Deferred, DeferredQueue};

/// Events after which the journal is shortened by a snapshot.
const SNAPSHOT_EVERY: usize = 20_000;
/// What waits in memory for a disk that refuses or hangs; then a snapshot takes its place.
const MAX_BACKLOG: Backlog = Backlog { events: 100_000, bytes: 256 << 20 };

/// The loop, with all that it owns.
pub(crate) struct EventLoop {
    controller: Controller,
    recorder: Recorder,
    archive: Archive,
    journal: Journal,
    clock: Clock,
    dispatcher: Dispatcher,
    handle: Handle,
    inputs: LoopInputs,
    /// What came in while a request was being stored, in the order in which it is taken.
    held: VecDeque<LoopInput>,
    outboxes: HashMap<Conn, Outbox>,
    deferred: DeferredQueue,
    /// [`MAX_BACKLOG`].
    max_backlog: Backlog,
}

impl EventLoop {
    /// A loop on what a journal gave back.
    pub(crate) fn new(recovered: Recovered, journal: Journal, clock: Clock, dispatcher: Dispatcher) -> (Self, Handle) {
        let Recovered { controller, recorder, archive, .. } = recovered;
        let (handle, inputs) = Handle::new(journal.stored());
        let event_loop = Self {
            controller,
            recorder,
            archive,
            journal,
            clock,
            dispatcher,
            handle: handle.clone(),
            inputs,
            held: VecDeque::new(),
            outboxes: HashMap::new(),
            deferred: DeferredQueue::default(),
            max_backlog: MAX_BACKLOG,
        };
        (event_loop, handle)
    }

    /// Runs until `stop` says so; then what is queued is still stored.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stored = self.journal.stored();
        self.handle_event(self.controller.restarted(self.clock.now()), None);
        loop {
            let due = self.controller.deadline().map(|at| self.clock.deadline(at));
            tokio::select! {
                input = next(&mut self.held, &mut self.inputs) => match input {
                    Some(input) => self.take(input).await,
                    None => break,
                },
                Ok(()) = stored.changed() => self.perform_stored(),
                () = async { match due { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {
                    self.handle_event(Event::Timer, None);
                }
                // What it returns must not live while an input is taken.
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            }
        }
        self.take_snapshot();
        self.record_stored().await;
        self.dispatcher.drain().await;
        self.archive.close().await;
        self.journal.close().await;
        self.answer_stored();
    }

    async fn take(&mut self, input: LoopInput) {
        match input {
            LoopInput::Event(event) => {
                if let Event::Disconnected(conn) = &event {
                    self.outboxes.remove(conn);
                    self.deferred.forget(*conn);
                }
                self.handle_event(event, None);
            }
            LoopInput::Worker(conn, event) => self.workers((conn, event)),
            LoopInput::Request { canary, verb, answer } => self.request(canary, verb, answer).await,
            LoopInput::Connected { conn, hello, outbox } => {
                self.outboxes.insert(conn, outbox);
                self.handle_event(Event::Connected(conn, hello), None);
            }
            LoopInput::Beat(conn) => self.perform(Command::Send(conn, ToWorker::Beat)),
            LoopInput::Question(question) => {
                self.perform_stored();
                question(&self.controller, self.clock.now());
            }
        }
    }

    fn handle_event(&mut self, event: Event, answer: Option<oneshot::Sender<Answer>>) {
        let now = self.clock.now();
        if let Some(number) = self.append(&event, now) {
            self.think(number, event, answer, now);
        }
    }

    fn append(&mut self, event: &Event, now: Millis) -> Option<u64> {
        let appended = self.journal.append(now, event);
        // Not the event: a plan in it holds addresses with what may be secret in them.
        let report = |error: &_| {
            tracing::error!(%error, canary = ?event.canary(), "an event could not be written as JSON and was dropped");
        };
        appended.inspect_err(report).ok()
    }

    /// What follows from an event with its number in the journal.
    fn think(&mut self, number: u64, event: Event, answer: Option<oneshot::Sender<Answer>>, now: Millis) {
        let (output, additions) = self.recorder.handle(&mut self.controller, event, now);
        output.urgent.into_iter().for_each(|command| self.perform(command));
        for command in output.stored {
            self.deferred.push(number, Deferred::Command(Box::new(command)));
        }
        if let (Some(answer), Some(reply)) = (answer, output.reply) {
            if output.reply_at_once {
                tokio::spawn(requests::answer_soon(answer, reply, number, self.journal.stored()));
            } else {
                self.deferred.push(number, Deferred::Answer(answer, reply));
            }
        }
        for addition in additions {
            self.deferred.push(number, Deferred::Record(Box::new(addition)));
        }
        let (backlog, most) = (self.journal.backlog(), self.max_backlog);
        if backlog.events >= most.events || backlog.bytes >= most.bytes {
            self.collapse_backlog();
        } else if self.journal.since_snapshot() >= SNAPSHOT_EVERY && !self.deferred.has_snapshot() {
            self.take_snapshot();
        }
    }

    /// Performs what waited for events that are on disk now.
    fn perform_stored(&mut self) {
        let through = self.journal.stored().borrow().through;
        while let Some((number, deferred)) = self.deferred.next(through) {
            match deferred {
                Deferred::Command(command) => self.perform(*command),
                Deferred::Answer(answer, reply) => {
                    let _ = answer.send(requests::stored(reply));
                }
                Deferred::Record(addition) => self.archive.add(number, *addition),
                Deferred::Snapshot(snapshot) => self.archive.through(number, || snapshot.queue()),
            }
        }
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::Send(conn, message) => self.send(conn, encode_to_worker(&message).into()),
            Command::Push(entry) => {
                let frame = Bytes::from(encode_to_worker(&ToWorker::Entry(entry)));
                let conns: Vec<Conn> = self.outboxes.keys().copied().collect();
                conns.into_iter().for_each(|conn| self.send(conn, frame.clone()));
            }
            Command::Close(conn) => self.disconnect(conn, StreamEnd::Replaced),
            Command::EndCalls { canary, calls } => {
                // Those first that wait for the disk: performed later, they would never be ended.
                self.deferred.end_calls(&canary, &calls);
                self.dispatcher.perform(Command::EndCalls { canary, calls }, &self.handle);
            }
            Command::CallHook { .. } | Command::Query { .. } | Command::NotifyHook { .. } | Command::Alert { .. } => {
                self.dispatcher.perform(command, &self.handle);
            }
            Command::Announce(canary, event) => {
                log(&canary, &event);
                self.handle.announce((canary, *event));
            }
        }
    }

    fn send(&mut self, conn: Conn, frame: Bytes) {
        // A full outbox means a slow consumer: closing it costs nothing, it gets all entries when it reconnects.
        if self.outboxes.get(&conn).is_some_and(|outbox| outbox.messages.try_send(frame).is_err()) {
            self.disconnect(conn, StreamEnd::Slow);
        }
    }

    fn disconnect(&mut self, conn: Conn, why: StreamEnd) {
        if let Some(outbox) = self.outboxes.remove(&conn) {
            self.deferred.forget(conn);
            // The stream's own end may have come first.
            let _ = outbox.end.send(why);
        }
    }

    /// The disk has refused for long: one snapshot replaces the events that wait for it, so that memory does not run out.
    fn collapse_backlog(&mut self) {
        self.perform_stored();
        match self.journal.collapse(&self.controller) {
            Ok(true) => {
                let lacking = self.deferred.collapse();
                tracing::warn!(?lacking, "journal backlog limit reached: collapsed to a snapshot");
                lacking.into_iter().for_each(|(from, to)| self.archive.lacks(from, to));
            }
            // The thread writes again: it takes what waits.
            Ok(false) => {}
            // Only serialisation can fail, and no state of the controller makes it fail: in JSON that takes a map whose
            // keys are no text, and those are written as pairs (`serde_pairs` in the core). Even then no event is
            // dropped, and the next one tries again.
            Err(error) => {
                tracing::error!(%error, "journal backlog limit reached, but no snapshot could be made: the backlog keeps growing");
            }
        }
    }

    fn take_snapshot(&mut self) {
        match self.journal.snapshot(&self.controller) {
            Ok(snapshot) => self.deferred.push(self.journal.last_number(), Deferred::Snapshot(snapshot)),
            Err(error) => tracing::error!(%error, "no snapshot could be made: the journal keeps growing"),
        }
    }
}

#[cfg(test)]
mod tests;

fn log(canary: &CanaryId, event: &HistoryEvent) {
    let (release, weight, message) = (event.release.0, event.weight.percent(), text::note(&event.note));
    if is_warning(&event.note) {
        tracing::warn!(%canary, release, weight, "{message}");
    } else {
        tracing::info!(%canary, release, weight, "{message}");
    }
}

/// Aborts, failed checks and whatever else may need a person's attention.
const fn is_warning(note: &Note) -> bool {
    !matches!(severity(note), Severity::Info)
}

/// Aborts first, then what was held.
async fn next(held: &mut VecDeque<LoopInput>, inputs: &mut LoopInputs) -> Option<LoopInput> {
    if let Some(input) = inputs.aborts.try_recv().ok().or_else(|| held.pop_front()) {
        return Some(input);
    }
    tokio::select! {
        biased;
        Some(abort) = inputs.aborts.recv() => Some(abort),
        input = inputs.others.recv() => input,
    }
}
