//! The way to the event loop, for servers and tasks: what they may send it, and what they may watch.
//!
//! A holder of a handle knows the loop's inputs and nothing of the loop, so servers, metrics and the loop itself form no
//! circle.

use bytes::Bytes;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Done, Event, Refused, Verb, WorkerEvent};
use rollout::release::phase::HistoryEvent;
use rollout::worker::messages::Hello;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::journal::Stored;

/// Inputs that may wait for the loop, and aborts beside them; beyond it the streams wait, one report each.
const MAX_WAITING: usize = 1024;
/// Announcements that a slow watcher may lag behind.
const MAX_LAG: usize = 1024;
/// Messages that may wait for one worker; a slower one is disconnected and starts afresh when it returns.
pub(crate) const MAX_OUTBOX: usize = 2048;

/// Something happened to a canary.
pub(crate) type Announcement = (CanaryId, HistoryEvent);
/// A question about the controller, answered on the loop.
pub(crate) type Question = Box<dyn FnOnce(&Controller, Millis) + Send>;

/// What became of a request.
pub(crate) type Answer = Result<Carried, NotCarried>;

/// A request was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) done: Done,
    /// Why the journal does not have it; of an abort alone, which waits for no disk.
    pub(crate) unstored: Option<String>,
}

/// A request was not carried out, and will not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotCarried {
    /// It makes no sense now.
    Refused(Refused),
    /// The journal did not take it, for this reason.
    Unstored(String),
    /// An abort came while it was being stored.
    Overtaken,
}

/// The loop is gone: the agent is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the agent is shutting down")]
pub(crate) struct Stopped;

/// The writing end of one stream.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// At most [`MAX_OUTBOX`] messages, each a frame: an entry is encoded once for all streams.
    pub(crate) messages: mpsc::Sender<Bytes>,
    /// Ends the stream at once, whatever waits in it, and says why.
    pub(crate) end: oneshot::Sender<StreamEnd>,
}

/// Why the loop ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum StreamEnd {
    #[error("slow consumer: too many messages wait for this worker; it resynchronises when it reconnects")]
    Slow,
    #[error("a newer stream of the same incarnation took this one's place")]
    Replaced,
}

/// What the loop takes in.
pub(crate) enum LoopInput {
    /// Something happened.
    Event(Event),
    /// A worker said something.
    Worker(Conn, WorkerEvent),
    /// A person or pipeline asks for something.
    Request { canary: CanaryId, verb: Verb, answer: oneshot::Sender<Answer> },
    /// A worker said Hello.
    Connected { conn: Conn, hello: Hello, outbox: Outbox },
    /// A worker is alive.
    Beat(Conn),
    /// Somebody looks.
    Question(Question),
}

/// What the loop reads from.
pub(crate) struct LoopInputs {
    /// What people abort: it waits behind nothing else.
    pub(crate) aborts: mpsc::Receiver<LoopInput>,
    /// All else, in order.
    pub(crate) others: mpsc::Receiver<LoopInput>,
}

/// Sends inputs to the loop. Clones lead to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    aborts: mpsc::Sender<LoopInput>,
    others: mpsc::Sender<LoopInput>,
    announcements: broadcast::Sender<Announcement>,
    stored: watch::Receiver<Stored>,
}

impl Handle {
    /// A handle, and the end from which the loop reads; `stored` is the journal's state.
    pub(crate) fn new(stored: watch::Receiver<Stored>) -> (Self, LoopInputs) {
        let ((aborts, taken_aborts), (others, taken)) = (mpsc::channel(MAX_WAITING), mpsc::channel(MAX_WAITING));
        let (announcements, _) = broadcast::channel(MAX_LAG);
        (Self { aborts, others, announcements, stored }, LoopInputs { aborts: taken_aborts, others: taken })
    }

    /// Something happened.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn event(&self, event: Event) -> Result<(), Stopped> {
        self.send(LoopInput::Event(event)).await
    }

    /// A worker said Hello on a stream that can be written to from now on. One input, so that Welcome comes first there.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn connected(&self, conn: Conn, hello: Hello, outbox: Outbox) -> Result<(), Stopped> {
        self.send(LoopInput::Connected { conn, hello, outbox }).await
    }

    /// A worker said something.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn worker(&self, conn: Conn, event: WorkerEvent) -> Result<(), Stopped> {
        self.send(LoopInput::Worker(conn, event)).await
    }

    /// A worker says that it lives.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn beat(&self, conn: Conn) -> Result<(), Stopped> {
        self.send(LoopInput::Beat(conn)).await
    }

    /// A person or pipeline asks; the answer comes when it may be relied on.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(crate) async fn ask(&self, canary: CanaryId, verb: Verb) -> Result<Answer, Stopped> {
        let (answer, answered) = oneshot::channel();
        let inputs = if matches!(verb, Verb::Abort { .. }) { &self.aborts } else { &self.others };
        inputs.send(LoopInput::Request { canary, verb, answer }).await.map_err(|_| Stopped)?;
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
        self.send(LoopInput::Question(question)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Returns when all that was on disk at the call has been handed on, to the records too: a client that was answered reads
    /// what it caused.
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

    /// Something happened to a canary: for those who watch.
    pub(crate) fn announce(&self, announcement: Announcement) {
        // There may be no watcher.
        let _ = self.announcements.send(announcement);
    }

    /// How many inputs may be sent before one waits.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.others.capacity()
    }

    /// Changes of what the journal has stored.
    #[cfg(test)]
    pub(crate) fn watch_stored(&self) -> watch::Receiver<Stored> {
        self.stored.clone()
    }

    async fn send(&self, input: LoopInput) -> Result<(), Stopped> {
        self.others.send(input).await.map_err(|_| Stopped)
    }
}
