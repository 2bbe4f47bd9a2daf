//! The journal: every event in order, on disk before anything but an abort's entry follows from it.
//!
//! An event that was not stored in time can be withdrawn: a request whose caller was told so must not come out of a later
//! batch. One thread owns the database (redb: one file, atomic commits) and commits whatever has queued up in one go,
//! so a burst of reports costs one sync. A snapshot of the controller is a shorter journal: with it the events before
//! it go. While the disk refuses, the thread keeps trying and the agent only reduces. redb gives a database up at its
//! first I/O error, so each try opens it anew; a lock file of our own keeps a second agent out meanwhile.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use rollout::base::time::Millis;
use rollout::controller::{Controller, Event};
use rollout::record::Recorder;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::archive::{Archive, Limits};
use crate::stored_format::{FormatError, UNNUMBERED};

/// An event as a row.
mod rows;

/// What the loop hands over to the thread.
mod tasks;

/// The thread that owns the database.
mod writer;

pub use rows::RowError;
pub(crate) use tasks::PendingSnapshot;
use tasks::{Inbox, Task, Writing};
use writer::Writer;

/// The form of what the other tables hold; raise it whenever a serialised name or meaning changes.
const FORMAT: u64 = 5;
/// One row: [`FORMAT`].
const FORMATS: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
/// The key of that row.
const FORMAT_KEY: &str = "journal";
/// Events by number: see [`rows`].
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// At most one row: the number of the last event that it contains, and JSON of [`Snapshot`].
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");
/// Longest wait for the last commit when the agent stops; a disk that hangs must not hang the process.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// A disk that takes longer for one commit counts as one that stores nothing.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(1);
/// What is said of it.
pub(crate) const HANGS: &str = "the disk has not finished its write within 1 s";

/// What is said of a damaged journal.
const DAMAGED: &str = "; the file is damaged: restore a copy of it, or move it away to start without it; then releases in \
    progress, opened gates, the history and, where promotion swaps, which upstream is the primary are lost";

/// How the database is opened, the first time and after each error.
type OpenDatabase = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The directory cannot be made.
    #[error("data directory {path}: {source}; give another with --data")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent is running on it.
    #[error("data directory {path} is in use by another agent: stop that one, or give this one its own with --data")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The database cannot be opened or read.
    #[error("journal {path}: {source}{}", next_step(source))]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// The journal or a record is of another version.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An event or snapshot is not understood.
    #[error("journal {path}: record {number} cannot be read: {source}; move the file aside to start without history")]
    Record {
        /// Which file.
        path: PathBuf,
        /// Which record.
        number: u64,
        /// Why.
        source: RowError,
    },
    /// The thread could not be started.
    #[error("journal thread: {0}")]
    Thread(std::io::Error),
}

/// What to do about a file that is no journal any more.
fn next_step(error: &redb::Error) -> &'static str {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Corrupted(_) => DAMAGED,
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => DAMAGED,
        _ => "",
    }
}

/// The state after an event, with that event's time: a later life must not begin before it.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot<C> {
    at: Millis,
    controller: C,
}

/// What was read back at the start.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The fold of everything stored.
    pub(crate) controller: Controller,
    /// When the last event was handled.
    pub(crate) last_at: Millis,
    /// How many events were replayed on top of the snapshot.
    pub(crate) replayed: usize,
    /// Knows which releases run.
    pub(crate) recorder: Recorder,
    /// Their records.
    pub(crate) archive: Archive,
}

/// How much waits in memory to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Events that are not stored.
    pub(crate) events: u64,
    /// Bytes of those that the thread has not taken.
    pub(crate) bytes: u64,
}

/// The journal's state, as others may watch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// All events up to this number are on disk.
    pub(crate) through: u64,
    /// Why the last commit failed, while it does.
    pub(crate) failing: Option<String>,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Journal {
    tasks: mpsc::Sender<Task>,
    /// The thread's end of it.
    inbox: Inbox,
    /// Events up to this number are in a snapshot that waits to be stored.
    collapsed_through: u64,
    writing: Arc<Writing>,
    /// The disk was given up with this event; it stores again when it is past it.
    last_too_slow: u64,
    stored: watch::Receiver<Stored>,
    last_number: u64,
    last_at: Millis,
    since_snapshot: usize,
}

impl Journal {
    /// Opens or makes the journal in `directory`, with the records of releases beside it, and reads it back.
    ///
    /// # Errors
    /// When the directory or file cannot be used, another agent uses it, or a record is not understood.
    pub(crate) fn open(directory: &Path, records: Limits) -> Result<(Self, Recovered), JournalError> {
        let in_directory = |source| JournalError::Directory { path: directory.into(), source };
        std::fs::create_dir_all(directory).map_err(in_directory)?;
        let lock = File::create(directory.join("lock")).map_err(in_directory)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path: directory.into() }),
            Err(TryLockError::Error(error)) => return Err(in_directory(error)),
        }
        let path = directory.join("journal.redb");
        let archive = || Archive::open(directory.join("records"), records);
        Self::on(&path.clone(), Box::new(move || Database::create(&path)), archive, lock)
    }

    /// A journal on whatever `open` opens; `archive` is opened only beside a journal of this form, and `lock` is held until
    /// the journal's thread has ended.
    fn on(
        path: &Path,
        open: OpenDatabase,
        archive: impl FnOnce() -> Result<Archive, FormatError>,
        lock: impl Send + 'static,
    ) -> Result<(Self, Recovered), JournalError> {
        let in_database = |source| JournalError::Database { path: path.into(), source: Box::new(source) };
        let database = open().map_err(|error| in_database(error.into()))?;
        let found = format(&database).map_err(in_database)?;
        if let Some(found) = found.filter(|found| *found != FORMAT) {
            return Err(FormatError { path: path.into(), found, known: FORMAT }.into());
        }
        let archive = archive()?;
        let stored = read(&database).map_err(in_database)?;
        let (last_number, recovered) = replay(path, stored, archive)?;
        let (tasks, inbox) = mpsc::channel();
        let inbox: Inbox = Arc::new(Mutex::new(inbox));
        let (report, stored) = watch::channel(Stored { through: last_number, failing: None });
        let writing = Arc::new(Writing::default());
        let writer = Writer { open, database: Some(database), writing: Arc::clone(&writing), report };
        let taken = Arc::clone(&inbox);
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                let report = writer.write_all(&taken);
                // A caller that sees the report end may open the journal again.
                drop(lock);
                drop(report);
            })
            .map_err(JournalError::Thread)?;
        let (last_at, since_snapshot) = (recovered.last_at, recovered.replayed);
        let journal = Self {
            tasks,
            inbox,
            collapsed_through: 0,
            writing,
            last_too_slow: 0,
            stored,
            last_number,
            last_at,
            since_snapshot,
        };
        Ok((journal, recovered))
    }

    /// Queues an event; returns its number, which [`Journal::stored`] reaches when it is on disk.
    ///
    /// # Errors
    /// When the event cannot be written as JSON, which no event of ours can.
    pub(crate) fn append(&mut self, at: Millis, event: &Event) -> Result<u64, serde_json::Error> {
        let bytes = rows::encode(at, event)?;
        self.last_number += 1;
        self.last_at = at;
        self.since_snapshot += 1;
        // Before the thread may take it.
        self.writing.queued_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // The thread ends only with this sender, so a failed send cannot be.
        let _ = self.tasks.send(Task::Append { number: self.last_number, bytes });
        Ok(self.last_number)
    }

    /// Why nothing is stored now, as far as that is known before one tries.
    pub(crate) fn hindrance(&self) -> Option<String> {
        let stored = self.stored.borrow();
        let hangs = || (self.last_too_slow > stored.through).then(|| HANGS.to_owned());
        stored.failing.clone().or_else(hangs)
    }

    /// Takes the last appended event back, whether it is on its way to the disk or there already. Nothing may follow from
    /// it: its number stays unused. `hangs` says that the disk was too slow for it, as is then known before the next.
    pub(crate) fn withdraw(&mut self, number: u64, hangs: bool) {
        if hangs {
            self.last_too_slow = number;
        }
        // A batch that is tried again goes without it; one that may have stored it is put right by the task.
        self.writing.withdrawn().insert(number);
        let _ = self.tasks.send(Task::Withdraw { number });
    }

    /// Makes a snapshot of the state after the last appended event.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub(crate) fn snapshot(&mut self, controller: &Controller) -> Result<PendingSnapshot, serde_json::Error> {
        let bytes = serde_json::to_vec(&Snapshot { at: self.last_at, controller })?;
        self.since_snapshot = 0;
        Ok(PendingSnapshot { tasks: self.tasks.clone(), through: self.last_number, bytes })
    }

    /// Replaces the events that still wait to be written by one snapshot: while the disk refuses, they would fill the
    /// memory. `false` where the thread is about to write them.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub(crate) fn collapse(&mut self, controller: &Controller) -> Result<bool, serde_json::Error> {
        let inbox = Arc::clone(&self.inbox);
        // Held only by a thread that waits for events, or takes them.
        let Ok(inbox) = inbox.try_lock() else { return Ok(false) };
        let snapshot = self.snapshot(controller)?;
        let dropped: u64 = inbox.try_iter().map(|task| task.bytes()).sum();
        self.writing.queued_bytes.fetch_sub(dropped, Ordering::Relaxed);
        snapshot.queue();
        self.collapsed_through = self.last_number;
        Ok(true)
    }

    /// What was appended and is not stored, without what a waiting snapshot contains.
    pub(crate) fn backlog(&self) -> Backlog {
        let events = self.last_number - self.stored.borrow().through.max(self.collapsed_through);
        Backlog { events, bytes: self.writing.queued_bytes.load(Ordering::Relaxed) }
    }

    /// The number of the last appended event.
    pub(crate) const fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Events appended since the last snapshot.
    pub(crate) const fn since_snapshot(&self) -> usize {
        self.since_snapshot
    }

    /// Stores what is queued, if the disk takes it, and lets go of the file.
    pub(crate) async fn close(&mut self) {
        self.writing.is_closing.store(true, Ordering::Relaxed);
        // The thread ends with the sender that it listens to.
        self.tasks = mpsc::channel().0;
        let ended = async { while self.stored.changed().await.is_ok() {} };
        if timeout(CLOSE_WITHIN, ended).await.is_err() {
            tracing::error!("journal write timed out: events not stored before the stop are lost");
        }
    }

    /// What is on disk; ends with the journal's thread.
    pub(crate) fn stored(&self) -> watch::Receiver<Stored> {
        self.stored.clone()
    }
}

struct StoredRows {
    snapshot: Option<(u64, Vec<u8>)>,
    events: Vec<(u64, Vec<u8>)>,
}

/// The number of the form that a database holds; none where it is new. Writes nothing.
fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let reading = database.begin_read()?;
    let names: Vec<String> = reading.list_tables()?.map(|table| table.name().to_owned()).collect();
    if names.is_empty() {
        return Ok(None);
    }
    if !names.iter().any(|name| name == FORMATS.name()) {
        return Ok(Some(UNNUMBERED));
    }
    Ok(Some(reading.open_table(FORMATS)?.get(FORMAT_KEY)?.map_or(UNNUMBERED, |number| number.value())))
}

fn read(database: &Database) -> Result<StoredRows, redb::Error> {
    let preparing = database.begin_write()?;
    preparing.open_table(FORMATS)?.insert(FORMAT_KEY, FORMAT)?;
    preparing.open_table(EVENTS)?;
    preparing.open_table(SNAPSHOT)?;
    preparing.commit()?;
    let reading = database.begin_read()?;
    let snapshot =
        reading.open_table(SNAPSHOT)?.last()?.map(|(number, bytes)| (number.value(), bytes.value().to_vec()));
    let mut events = Vec::new();
    for row in reading.open_table(EVENTS)?.iter()? {
        let (number, bytes) = row?;
        events.push((number.value(), bytes.value().to_vec()));
    }
    Ok(StoredRows { snapshot, events })
}

/// State = fold of the journal. Its events may be missing from the records, so they are added again.
fn replay(path: &Path, stored: StoredRows, archive: Archive) -> Result<(u64, Recovered), JournalError> {
    let unreadable = |number, source| JournalError::Record { path: path.into(), number, source };
    let (mut last_number, snapshot) = match stored.snapshot {
        Some((number, bytes)) => {
            (number, serde_json::from_slice(&bytes).map_err(|source| unreadable(number, source.into()))?)
        }
        None => (0, Snapshot { at: Millis(0), controller: Controller::default() }),
    };
    let Snapshot { at: mut last_at, mut controller } = snapshot;
    let mut recorder = Recorder::resume(&controller);
    archive.resume(last_number, stored.events.last().map_or(last_number, |(number, _)| *number));
    let mut replayed = 0;
    // A snapshot removes the events that it contains in the same commit, so all that is left comes after it.
    for (number, bytes) in stored.events {
        let (at, event) = rows::decode(&bytes).map_err(|source| unreadable(number, source))?;
        let (_, additions) = recorder.handle(&mut controller, event, at);
        additions.into_iter().for_each(|addition| archive.add_again(number, addition));
        last_at = at;
        replayed += 1;
        last_number = number;
    }
    Ok((last_number, Recovered { controller, last_at, replayed, recorder, archive }))
}

#[cfg(test)]
pub(crate) mod tests;
