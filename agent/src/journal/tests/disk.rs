//! A disk in memory that can refuse, hang, or lose power at any write.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use tokio::sync::Notify;

use super::*;

/// A disk that outlives the database on it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    bytes: Arc<InMemoryBackend>,
    /// Writes and syncs that still succeed.
    left: Arc<AtomicU64>,
    /// Whether writes and syncs wait.
    hangs: Arc<(Mutex<bool>, Condvar)>,
    /// Told when one has begun to wait.
    waits: Arc<Notify>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Arc::new(InMemoryBackend::new()),
            left: Arc::new(AtomicU64::new(u64::MAX)),
            hangs: Arc::default(),
            waits: Arc::default(),
        }
    }

    /// From now on every write and sync waits until it is told otherwise.
    pub(crate) fn hang(&self, hangs: bool) {
        *self.hangs.0.lock().unwrap() = hangs;
        self.hangs.1.notify_all();
    }

    /// Until one waits.
    pub(crate) async fn is_writing(&self) {
        self.waits.notified().await;
    }

    /// After so many more writes and syncs every one fails.
    pub(crate) fn fail_after(&self, writes: u64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.fail_after(u64::MAX);
    }

    pub(crate) fn journal(&self) -> Result<(Journal, Recovered), JournalError> {
        self.journal_with(Archive::off())
    }

    pub(crate) fn journal_with(&self, archive: Archive) -> Result<(Journal, Recovered), JournalError> {
        let disk = self.clone();
        let open: OpenDatabase = Box::new(move || Database::builder().create_with_backend(disk.clone()));
        Journal::on(Path::new("memory"), open, || Ok(archive), ())
    }

    fn spend(&self) -> io::Result<()> {
        let wait = |hangs: &mut bool| {
            if *hangs {
                self.waits.notify_one();
            }
            *hangs
        };
        drop(self.hangs.1.wait_while(self.hangs.0.lock().unwrap(), wait).unwrap());
        let spent = self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        spent.map(drop).map_err(|_| io::Error::other("no space left on this disk"))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spend()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.spend()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.spend()?;
        self.bytes.write(offset, data)
    }
}
