//! The journal's thread: commits the tasks that have queued up, and tries again while the disk refuses.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use redb::Database;
use rollout::base::time::Millis;
use tokio::sync::watch;

use super::tasks::{Inbox, Task, Writing};
use super::{EVENTS, OpenDatabase, SNAPSHOT, Stored};

/// First wait after a failed commit; doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Millis = Millis(50);
const LAST_RETRY: Millis = Millis::from_secs(2);
/// Most records in one commit.
const MAX_BATCH: usize = 4096;

/// The journal's thread.
pub(super) struct Writer {
    pub(super) open: OpenDatabase,
    /// None since an error, until it could be opened again.
    pub(super) database: Option<Database>,
    pub(super) writing: Arc<Writing>,
    pub(super) report: watch::Sender<Stored>,
}

impl Writer {
    /// Commits until the last sender is gone, then returns the report.
    pub(super) fn write_all(mut self, inbox: &Inbox) -> watch::Sender<Stored> {
        // Held while it takes or waits for tasks, not while it writes: see `Journal::collapse`.
        let inbox = || inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = inbox().recv().ok();
        // After a failure, everything that queued up meanwhile is committed before the journal counts as writable again:
        // who sees it writable may rely on all that was answered while it was not.
        let mut catches_up = false;
        while let Some(first) = next.take() {
            let most = if catches_up { usize::MAX } else { MAX_BATCH };
            let batch: Vec<Task> = std::iter::once(first).chain(inbox().try_iter().take(most - 1)).collect();
            self.writing.queued_bytes.fetch_sub(batch.iter().map(Task::bytes).sum(), Ordering::Relaxed);
            let mut failures = 0_u32;
            while let Err(error) = self.try_commit(&batch) {
                let error = error.to_string();
                tracing::error!(%error, "journal cannot be written; until it can, this agent only reduces canary traffic");
                self.report.send_modify(|stored| stored.failing = Some(error));
                if self.writing.is_closing.load(Ordering::Relaxed) {
                    return self.report;
                }
                thread::sleep(Duration::from_millis(FIRST_RETRY.doubled(failures, LAST_RETRY).0));
                failures = failures.saturating_add(1);
            }
            next = inbox().try_recv().ok();
            catches_up = failures > 0 && next.is_some();
            let through = batch.iter().map(Task::number).max().unwrap_or_default();
            self.report.send_modify(|stored| {
                // A snapshot that shortens the journal is one of long ago.
                stored.through = stored.through.max(through);
                stored.failing.take_if(|_| !catches_up);
            });
            next = next.or_else(|| inbox().recv().ok());
        }
        self.report
    }

    /// A commit may have reached the disk although it failed; doing it again changes nothing then.
    fn try_commit(&mut self, batch: &[Task]) -> Result<(), redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)()?,
        };
        let withdrawn = self.writing.withdrawn().clone();
        commit(&database, batch, &withdrawn)?;
        self.database = Some(database);
        // What is withdrawn from here on has a task of its own behind this batch.
        let mut withdrawn = self.writing.withdrawn();
        for task in batch {
            match task {
                Task::Withdraw { number } => withdrawn.retain(|other| other != number),
                Task::Snapshot { through, .. } => withdrawn.retain(|other| other > through),
                Task::Append { .. } => {}
            }
        }
        Ok(())
    }
}

fn commit(database: &Database, batch: &[Task], withdrawn: &BTreeSet<u64>) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    {
        let mut events = writing.open_table(EVENTS)?;
        let mut snapshots = writing.open_table(SNAPSHOT)?;
        for task in batch {
            match task {
                // A try that failed may have stored it all the same.
                Task::Append { number, .. } | Task::Withdraw { number } if withdrawn.contains(number) => {
                    events.remove(number)?;
                }
                Task::Withdraw { .. } => {}
                Task::Append { number, bytes } => {
                    events.insert(number, bytes.as_slice())?;
                }
                Task::Snapshot { through, bytes } => {
                    snapshots.retain(|_, _| false)?;
                    snapshots.insert(through, bytes.as_slice())?;
                    events.retain_in(..=*through, |_, _| false)?;
                }
            }
        }
    }
    writing.commit()?;
    Ok(())
}
