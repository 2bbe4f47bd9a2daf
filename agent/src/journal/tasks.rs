//! What the loop hands over to the journal's thread, and what both know of its writing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

/// Tasks that the thread has not taken yet.
pub(super) type Inbox = Arc<Mutex<mpsc::Receiver<Task>>>;

/// Work for the journal's thread.
#[derive(Debug)]
pub(super) enum Task {
    Append {
        number: u64,
        bytes: Vec<u8>,
    },
    /// The event of this number is none: see [`Journal::withdraw`].
    Withdraw {
        number: u64,
    },
    Snapshot {
        through: u64,
        bytes: Vec<u8>,
    },
}

impl Task {
    /// What an event takes of memory.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Append { bytes, .. } => bytes.len() as u64,
            Self::Withdraw { .. } | Self::Snapshot { .. } => 0,
        }
    }

    /// The last event that it stores.
    pub(super) const fn number(&self) -> u64 {
        match self {
            Self::Append { number, .. } | Self::Withdraw { number } | Self::Snapshot { through: number, .. } => *number,
        }
    }
}

/// How the writing goes.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) is_closing: AtomicBool,
    /// Of the events that the thread has not taken.
    pub(super) queued_bytes: AtomicU64,
    /// Events that must not be stored any more, until they are out of the database for certain.
    withdrawn: Mutex<BTreeSet<u64>>,
}

impl Writing {
    /// Numbers of events that must not be stored.
    pub(super) fn withdrawn(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot that is made but not yet stored: the events before it can still be read.
#[derive(Debug)]
pub(crate) struct PendingSnapshot {
    pub(super) tasks: mpsc::Sender<Task>,
    pub(super) through: u64,
    pub(super) bytes: Vec<u8>,
}

impl PendingSnapshot {
    /// Queues it; with it what lies before it is dropped.
    pub(crate) fn queue(self) {
        let Self { tasks, through, bytes } = self;
        let _ = tasks.send(Task::Snapshot { through, bytes });
    }
}
