//! The agent's one loop: take an event, journal it, let the controller think, perform what follows.
//!
//! Only this file mutates the controller. Urgent commands are performed at once; the others, and what the event adds to
//! the records of releases, wait in order until the journal says that their event is on disk.

use std::collections::HashMap;
use std::time::Duration;

use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Done, Event, Refused, Verb};
use rollout::record::Recorder;
use rollout::release::phase::HistoryEvent;
use rollout::worker::messages::{Hello, ToWorker};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use crate::archive::Archive;
use crate::clock::Clock;
use crate::dispatcher::Outside;
use crate::journal::{Behind, Journal, Recovered, Stored};

mod deferred;
mod shutdown;

use deferred::{Deferred, Waiting};

/// Inputs that may wait for the loop; beyond it the streams wait, one report each.
const MAX_WAITING: usize = 1024;
/// Messages that may wait for one worker; one that reads no faster is cut off and starts afresh when it returns.
pub(crate) const MAX_OUTBOX: usize = 2048;
/// Events after which the journal is shortened by a snapshot.
const SNAPSHOT_EVERY: usize = 20_000;
/// What waits in memory for a disk that refuses or hangs; then a snapshot takes its place.
const MAX_BEHIND: Behind = Behind { events: 100_000, bytes: 256 << 20 };
/// How long the answer to an abort waits for a disk that neither stores nor refuses.
const ABORT_ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Announcements that a slow watcher may lag behind.
const MAX_LAG: usize = 1024;

/// Something happened to a canary.
pub(crate) type Announcement = (CanaryId, HistoryEvent);
/// A question about the controller, answered on the loop.
type Question = Box<dyn FnOnce(&Controller, Millis) + Send>;

/// The loop is gone: the agent is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the agent is shutting down")]
pub(crate) struct Stopped;

/// The writing end of one stream.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// At most [`MAX_OUTBOX`] messages.
    pub(crate) messages: mpsc::Sender<ToWorker>,
    /// Ends the stream at once, whatever waits in it, and says why.
    pub(crate) cut: oneshot::Sender<Cut>,
}

/// Why the loop ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Cut {
    #[error("this worker does not read what the agent sends; it gets everything when it connects again")]
    Slow,
    #[error("a newer stream of the same incarnation took this one's place")]
    Replaced,
}

enum Input {
    Event(Event),
    Ask { canary: CanaryId, verb: Verb, answer: oneshot::Sender<Result<Done, Refused>> },
    Connected { conn: Conn, hello: Hello, outbox: Outbox },
    Beat(Conn),
    Question(Question),
}

/// The way to the loop, for servers and tasks.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    inputs: mpsc::Sender<Input>,
    announcements: broadcast::Sender<Announcement>,
    stored: watch::Receiver<Stored>,
}

impl Handle {
    /// Something happened.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn event(&self, event: Event) -> Result<(), Stopped> {
        self.send(Input::Event(event)).await
    }

    /// A worker said Hello on a stream that can be written to from now on. One input, so that Welcome comes first there.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn connected(&self, conn: Conn, hello: Hello, outbox: Outbox) -> Result<(), Stopped> {
        self.send(Input::Connected { conn, hello, outbox }).await
    }

    /// A worker says that it lives.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn beat(&self, conn: Conn) -> Result<(), Stopped> {
        self.send(Input::Beat(conn)).await
    }

    /// A person or pipeline asks; the answer comes when it may be relied on.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn ask(&self, canary: CanaryId, verb: Verb) -> Result<Result<Done, Refused>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Ask { canary, verb, answer }).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Looks at the controller.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Controller, Millis) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |controller, now| {
            let _ = answer.send(look(controller, now));
        });
        self.send(Input::Question(question)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Returns when all that was on disk at the call has been handed on, to the records too: whoever was answered reads
    /// what he caused.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn handed_on(&self) -> Result<(), Stopped> {
        self.read(|_, _| ()).await
    }

    /// What happens to canaries from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Announcement> {
        self.announcements.subscribe()
    }

    /// What the journal has stored.
    pub(crate) fn stored(&self) -> Stored {
        let mut stored = self.stored.borrow().clone();
        if self.stored.has_changed().is_err() {
            stored.failing.get_or_insert_with(|| "its thread has ended; restart the agent".into());
        }
        stored
    }

    async fn send(&self, input: Input) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }
}

/// The loop's state.
pub(crate) struct Engine {
    controller: Controller,
    recorder: Recorder,
    archive: Archive,
    journal: Journal,
    clock: Clock,
    outside: Outside,
    handle: Handle,
    inputs: mpsc::Receiver<Input>,
    outboxes: HashMap<Conn, Outbox>,
    waiting: Waiting,
    /// [`MAX_BEHIND`].
    max_behind: Behind,
}

impl Engine {
    /// A loop on what a journal gave back.
    pub(crate) fn new(recovered: Recovered, journal: Journal, clock: Clock, outside: Outside) -> (Self, Handle) {
        let Recovered { controller, recorder, archive, .. } = recovered;
        let (sender, inputs) = mpsc::channel(MAX_WAITING);
        let (announcements, _) = broadcast::channel(MAX_LAG);
        let handle = Handle { inputs: sender, announcements, stored: journal.stored() };
        let outboxes = HashMap::new();
        let waiting = Waiting::default();
        let own = handle.clone();
        let engine = Self {
            controller,
            recorder,
            archive,
            journal,
            clock,
            outside,
            handle: own,
            inputs,
            outboxes,
            waiting,
            max_behind: MAX_BEHIND,
        };
        (engine, handle)
    }

    /// Runs until `stop` says so; then what is queued is still stored.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stored = self.journal.stored();
        self.happened(self.controller.restarted(self.clock.now()), None);
        loop {
            let due = self.controller.deadline().map(|at| self.clock.deadline(at));
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => break,
                },
                Ok(()) = stored.changed() => self.release(),
                () = async { match due { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {
                    self.happened(Event::Timer, None);
                }
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.shorten();
        self.record_stored().await;
        self.outside.drain().await;
        self.archive.close().await;
        self.journal.close().await;
        self.answer_stored();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                if let Event::Disconnected(conn) = &event {
                    self.outboxes.remove(conn);
                    self.waiting.forget(*conn);
                }
                self.happened(event, None);
            }
            Input::Ask { canary, verb, answer } => self.happened(Event::Requested(canary, verb), Some(answer)),
            Input::Connected { conn, hello, outbox } => {
                self.outboxes.insert(conn, outbox);
                self.happened(Event::Connected(conn, hello), None);
            }
            Input::Beat(conn) => self.perform(Command::Send(conn, ToWorker::Beat)),
            Input::Question(question) => {
                self.release();
                question(&self.controller, self.clock.now());
            }
        }
    }

    fn happened(&mut self, event: Event, answer: Option<oneshot::Sender<Result<Done, Refused>>>) {
        let now = self.clock.now();
        let number = match self.journal.append(now, &event) {
            Ok(number) => number,
            Err(error) => {
                tracing::error!(%error, ?event, "an event could not be written as JSON and was dropped");
                return;
            }
        };
        let (output, additions) = self.recorder.handle(&mut self.controller, event, now);
        output.urgent.into_iter().for_each(|command| self.perform(command));
        for command in output.stored {
            self.waiting.push(number, Deferred::Command(Box::new(command)));
        }
        if let (Some(answer), Some(reply)) = (answer, output.reply) {
            if output.reply_at_once {
                tokio::spawn(answer_soon(answer, reply, number, self.journal.stored()));
            } else {
                self.waiting.push(number, Deferred::Answer(answer, reply));
            }
        }
        for addition in additions {
            self.waiting.push(number, Deferred::Record(Box::new(addition)));
        }
        let (behind, most) = (self.journal.behind(), self.max_behind);
        if behind.events >= most.events || behind.bytes >= most.bytes {
            self.abridge();
        } else if self.journal.since_snapshot() >= SNAPSHOT_EVERY && !self.waiting.shortens() {
            self.shorten();
        }
    }

    /// Performs what waited for events that are on disk now.
    fn release(&mut self) {
        let through = self.handle.stored.borrow().through;
        while let Some((number, deferred)) = self.waiting.next(through) {
            match deferred {
                Deferred::Command(command) => self.perform(*command),
                Deferred::Answer(answer, reply) => {
                    let _ = answer.send(reply);
                }
                Deferred::Record(addition) => self.archive.add(number, *addition),
                Deferred::Shorten(shortening) => self.archive.through(number, || shortening.queue()),
            }
        }
    }

    fn perform(&mut self, command: Command) {
        match command {
            Command::Send(conn, message) => self.send(conn, message),
            Command::Push(entry) => {
                let conns: Vec<Conn> = self.outboxes.keys().copied().collect();
                conns.into_iter().for_each(|conn| self.send(conn, ToWorker::Entry(entry.clone())));
            }
            Command::Close(conn) => self.cut(conn, Cut::Replaced),
            Command::EndCalls { canary, calls } => {
                // Those first that wait for the disk: performed later, they would never be ended.
                self.waiting.end_calls(&canary, &calls);
                self.outside.perform(Command::EndCalls { canary, calls }, &self.handle);
            }
            Command::CallHook { .. } | Command::Query { .. } | Command::NotifyHook { .. } | Command::Alert { .. } => {
                self.outside.perform(command, &self.handle);
            }
            Command::Announce(canary, event) => {
                let message = rollout::release::text::note(&event.note);
                tracing::info!(%canary, release = event.release.0, weight = event.weight.percent(), "{message}");
                let _ = self.handle.announcements.send((canary, *event));
            }
        }
    }

    fn send(&mut self, conn: Conn, message: ToWorker) {
        // A full outbox means a peer that does not read: closing it costs nothing, it will come back for all entries.
        if self.outboxes.get(&conn).is_some_and(|outbox| outbox.messages.try_send(message).is_err()) {
            self.cut(conn, Cut::Slow);
        }
    }

    fn cut(&mut self, conn: Conn, why: Cut) {
        if let Some(outbox) = self.outboxes.remove(&conn) {
            self.waiting.forget(conn);
            // The stream's own end may have come first.
            let _ = outbox.cut.send(why);
        }
    }

    /// The disk refuses for long: what it would have to hold is kept as one snapshot, so that memory does not run out.
    fn abridge(&mut self) {
        self.release();
        match self.journal.abridge(&self.controller) {
            Ok(true) => {
                let lacking = self.waiting.abridge();
                tracing::warn!(?lacking, "too much is not stored: a snapshot takes its place in memory");
                lacking.into_iter().for_each(|(from, to)| self.archive.lacks(from, to));
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "no snapshot could be made; what is not stored goes on growing"),
        }
    }

    fn shorten(&mut self) {
        match self.journal.snapshot(&self.controller) {
            Ok(shortening) => self.waiting.push(self.journal.last_number(), Deferred::Shorten(shortening)),
            Err(error) => tracing::error!(%error, "no snapshot could be made; the journal goes on growing"),
        }
    }
}

#[cfg(test)]
mod tests;

/// The answer to what waits for no disk: a refusal, or an abort, whose cut has left. To be told of an abort means more:
/// that no restart takes it back. An agent killed in this very moment, with the cut in no socket and in no journal, would
/// resume the release; so the answer waits until the abort is stored, or cannot be.
async fn answer_soon(
    answer: oneshot::Sender<Result<Done, Refused>>,
    reply: Result<Done, Refused>,
    number: u64,
    mut stored: watch::Receiver<Stored>,
) {
    if reply.is_ok() {
        let settled = stored.wait_for(|stored| stored.through >= number || stored.failing.is_some());
        // A disk that hangs, and a journal that has ended, are no reason to keep quiet about a cut that is made.
        let _ = timeout(ABORT_ANSWERED_WITHIN, settled).await;
    }
    let _ = answer.send(reply);
}
