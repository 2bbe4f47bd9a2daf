//! The records of releases, beside the journal: what `serin replay` reads after the journal has been shortened.
//!
//! A thread of its own compresses and writes, so nothing waits for it but the journal's snapshots: the journal drops events
//! only when they are here. The thread gets an event once it is on disk in the journal, and gets what the journal still
//! has again when the agent starts; so after a crash at any moment a record has each event once.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rollout::base::names::CanaryId;
use rollout::record::Addition;
use rollout::release::phase::ReleaseId;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Events that the thread could not take.
mod gap;

/// The files.
mod store;

/// Refuses files of another format.
mod format;

use crate::stored_format::FormatError;
use gap::Gap;
use store::Store;
pub(crate) use store::{Info, Limits};

/// Additions that may wait for the thread; beyond it, records are truncated.
const MAX_WAITING: usize = 4096;
/// Longest wait for the thread when the agent stops.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Work for the thread.
enum ArchiveTask {
    Resume { first: u64, last: u64 },
    Add { number: u64, addition: Box<Addition> },
    Through { number: u64, then: Box<dyn FnOnce() + Send> },
    List { canary: CanaryId, answer: oneshot::Sender<Vec<Info>> },
    Read { canary: CanaryId, release: ReleaseId, answer: oneshot::Sender<std::io::Result<Option<Record>>> },
    Stop,
}

/// A record to be read: a file of which so many bytes are whole gzip members.
#[derive(Debug)]
pub(crate) struct Record {
    /// Compressed JSON lines.
    pub(crate) file: File,
    /// What of it counts.
    pub(crate) bytes: u64,
}

/// The way to the records.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    /// None where nothing is recorded.
    tasks: Option<mpsc::SyncSender<ArchiveTask>>,
    /// What could not be taken.
    gap: Arc<Gap>,
    ended: watch::Receiver<()>,
}

impl Archive {
    /// Opens or makes the archive in a folder. If it cannot be used, the log says so and nothing is recorded: records are
    /// worth less than a running agent.
    ///
    /// # Errors
    /// When a record is of another format; then nothing was written or removed.
    pub(crate) fn open(folder: PathBuf, limits: Limits) -> Result<Self, FormatError> {
        format::check(&folder)?;
        Ok(Self::start(folder, limits))
    }

    fn start(folder: PathBuf, limits: Limits) -> Self {
        let gap = Arc::new(Gap::default());
        let (end, ended) = watch::channel(());
        let (tasks, inbox) = mpsc::sync_channel(MAX_WAITING);
        let shown = folder.display().to_string();
        let store = match Store::open(folder, limits) {
            Ok(store) => store,
            Err(error) => {
                tracing::error!(%error, folder = shown, "releases are not recorded");
                return Self::off();
            }
        };
        if limits.is_none() {
            return Self::off();
        }
        let missing = Arc::clone(&gap);
        let started = thread::Builder::new().name("archive".into()).spawn(move || {
            work(store, &inbox, &missing);
            drop(end);
        });
        if let Err(error) = started {
            tracing::error!(%error, "releases are not recorded");
            return Self::off();
        }
        Self { tasks: Some(tasks), gap, ended }
    }

    /// One that keeps nothing.
    pub(crate) fn off() -> Self {
        Self { tasks: None, gap: Arc::default(), ended: watch::channel(()).1 }
    }

    /// The agent starts: what follows are the events of the journal after its snapshot's number, up to its last.
    pub(crate) fn resume(&self, first: u64, last: u64) {
        self.wait_and_send(ArchiveTask::Resume { first, last });
    }

    /// An event that the journal still had at the start adds this.
    pub(crate) fn add_again(&self, number: u64, addition: Addition) {
        self.wait_and_send(ArchiveTask::Add { number, addition: Box::new(addition) });
    }

    /// A stored event of this number adds this. Never waits.
    pub(crate) fn add(&self, number: u64, addition: Addition) {
        if let Some(tasks) = &self.tasks
            && tasks.try_send(ArchiveTask::Add { number, addition: Box::new(addition) }).is_err()
        {
            self.gap.note(number, number);
        }
    }

    /// What these events add is lost: the records that they belong to are truncated.
    pub(crate) fn lacks(&self, from: u64, to: u64) {
        self.gap.note(from, to);
    }

    /// Does `then` when all that was added up to this number is on disk, or given up. Never waits.
    pub(crate) fn through(&self, number: u64, then: impl FnOnce() + Send + 'static) {
        let task = ArchiveTask::Through { number, then: Box::new(then) };
        let refused = match &self.tasks {
            Some(tasks) => tasks.try_send(task).err().map(|error| match error {
                mpsc::TrySendError::Full(task) | mpsc::TrySendError::Disconnected(task) => task,
            }),
            None => Some(task),
        };
        if let Some(ArchiveTask::Through { then, .. }) = refused {
            // The journal must not grow because records cannot be written.
            self.gap.note(number, number);
            then();
        }
    }

    /// A canary's recorded releases, oldest first.
    pub(crate) async fn list(&self, canary: CanaryId) -> Vec<Info> {
        let (answer, answered) = oneshot::channel();
        self.ask(ArchiveTask::List { canary, answer }).await;
        answered.await.unwrap_or_default()
    }

    /// One record as it is now; `None` if there is none.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub(crate) async fn read(&self, canary: CanaryId, release: ReleaseId) -> std::io::Result<Option<Record>> {
        let (answer, answered) = oneshot::channel();
        self.ask(ArchiveTask::Read { canary, release, answer }).await;
        answered.await.unwrap_or(Ok(None))
    }

    /// Ends the thread after its queued work.
    pub(crate) async fn close(&self) {
        self.ask(ArchiveTask::Stop).await;
        let mut ended = self.ended.clone();
        let all = async { while ended.changed().await.is_ok() {} };
        if timeout(CLOSE_WITHIN, all).await.is_err() {
            tracing::error!(
                "record write timed out: records may lack events that the journal still has, until the next start"
            );
        }
    }

    fn wait_and_send(&self, task: ArchiveTask) {
        if let Some(tasks) = &self.tasks {
            let _ = tasks.send(task);
        }
    }

    /// A full queue would block, so the wait happens outside the runtime's workers.
    async fn ask(&self, task: ArchiveTask) {
        if let Some(tasks) = self.tasks.clone() {
            let _ = tokio::task::spawn_blocking(move || tasks.send(task)).await;
        }
    }
}

fn work(mut store: Store, inbox: &mpsc::Receiver<ArchiveTask>, gap: &Gap) {
    while let Ok(task) = inbox.recv() {
        let reached = match &task {
            // Several additions may have one number; those before it are all there.
            ArchiveTask::Add { number, .. } => gap.reaches(*number),
            // All with its number are.
            ArchiveTask::Through { number, .. } => gap.reaches(number + 1),
            _ => false,
        };
        if reached {
            store.truncate("the disk is too slow");
        }
        match task {
            ArchiveTask::Resume { first, last } => store.resume(first, last),
            ArchiveTask::Add { number, addition } => store.add(number, *addition),
            ArchiveTask::Through { number, then } => {
                store.sync(number);
                then();
            }
            ArchiveTask::List { canary, answer } => drop(answer.send(store.list(&canary))),
            ArchiveTask::Read { canary, release, answer } => drop(answer.send(store.read(&canary, release))),
            ArchiveTask::Stop => break,
        }
    }
}

#[cfg(test)]
mod tests;
