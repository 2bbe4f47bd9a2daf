//! Watches the directory of manifests and sends changes to the event loop; problems are logged once and shown.
//!
//! Whoever asks for what depends on a manifest has the directory read first, so that `release` right after a file was
//! written follows that file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manifest::{Directory, Scan};
use rollout::base::names::CanaryId;
use rollout::controller::Event;
use rollout::release::plan::Plan;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use crate::handle::{Handle, Stopped};

/// How often the directory is read. By content and by polling: notifications miss the symlinks that Kubernetes swaps.
const EVERY: Duration = Duration::from_secs(1);
/// Longest that a request waits for a missing file to be back or gone.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// Requests that may wait to have it read; beyond it they wait to wait.
const MAX_WAITING: usize = 64;

/// Where a reading that was asked for is answered.
type Refresh = oneshot::Sender<()>;

/// What the last reading found, for the API.
#[derive(Clone, Debug)]
pub(crate) struct Manifests {
    found: Arc<Mutex<Found>>,
    /// Told when all that a reading found has been handed on.
    read: Arc<Notify>,
    refresh: mpsc::Sender<Refresh>,
}

#[derive(Debug, Default)]
struct Found {
    problems: Vec<String>,
    stale: BTreeMap<CanaryId, String>,
    missing: BTreeSet<CanaryId>,
    blind: Option<String>,
}

impl Manifests {
    /// Problems as they stand now, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.found().problems.clone()
    }

    /// Has the directory read now; `false` when that takes too long. What it says is in force when this returns.
    pub(crate) async fn refresh(&self, patience: Duration) -> bool {
        let (answer, answered) = oneshot::channel();
        let read = async { self.refresh.send(answer).await.is_ok() && answered.await.is_ok() };
        timeout(patience, read).await.unwrap_or(false)
    }

    /// Why the plan in force of a canary, or of all versions of a service, is not what the directory says now.
    pub(crate) fn stale(&self, id: &CanaryId) -> Option<String> {
        let found = self.found();
        let of_service = || found.stale.iter().find(|(stale, _)| stale.is_under(id) || id.is_under(stale));
        found.blind.clone().or_else(|| found.stale.get(id).or_else(|| Some(of_service()?.1)).cloned())
    }

    /// Whether a canary's file was not there just now, which does not say yet that it is gone: many editors remove a file
    /// before they write it.
    pub(crate) fn is_missing(&self, id: &CanaryId) -> bool {
        self.found().missing.iter().any(|missing| missing == id || id.is_under(missing))
    }

    /// Waits until a missing file is back or gone; `false` when that takes too long.
    pub(crate) async fn settle(&self, id: &CanaryId) -> bool {
        let settled = async {
            loop {
                let read = self.read.notified();
                tokio::pin!(read);
                // From here on no reading is overlooked.
                read.as_mut().enable();
                if !self.is_missing(id) {
                    return;
                }
                read.await;
            }
        };
        timeout(SETTLES_WITHIN, settled).await.is_ok()
    }

    /// Of a directory that nobody reads.
    #[cfg(test)]
    pub(crate) fn unread() -> (Self, mpsc::Receiver<Refresh>) {
        let (refresh, asked) = mpsc::channel(MAX_WAITING);
        (Self { found: Arc::default(), read: Arc::default(), refresh }, asked)
    }

    /// Logs problems when the list changes, not at each reading.
    fn set(&self, scan: &Scan) {
        let problems: Vec<String> = scan.problems.iter().map(ToString::to_string).collect();
        let mut found = self.found();
        if found.problems != problems {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
        }
        (found.problems, found.stale, found.blind) = (problems, scan.stale.clone(), scan.blind.clone());
    }

    /// What a reading found has been handed on.
    fn handed_on(&self, missing: BTreeSet<CanaryId>) {
        self.found().missing = missing;
        self.read.notify_waiters();
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watching task's state.
pub(crate) struct Watcher {
    directory: Directory,
    handle: Handle,
    manifests: Manifests,
    asked: mpsc::Receiver<Refresh>,
}

impl Watcher {
    /// `known` are the plans that the journal holds: they stay in force while their files are wrong.
    pub(crate) fn new(path: PathBuf, handle: Handle, known: Vec<Plan>) -> (Self, Manifests) {
        let (refresh, asked) = mpsc::channel(MAX_WAITING);
        let manifests = Manifests { found: Arc::default(), read: Arc::default(), refresh };
        let directory = Directory::new(path).holding(known);
        (Self { directory, handle, manifests: manifests.clone(), asked }, manifests)
    }

    /// Reads the directory now.
    pub(crate) async fn read(self) -> Result<Self, Stopped> {
        self.read_by(Directory::scan).await
    }

    async fn read_by(mut self, way: fn(&mut Directory) -> Scan) -> Result<Self, Stopped> {
        let (directory, scan) = spawn_blocking(move || {
            let scan = way(&mut self.directory);
            (self.directory, scan)
        })
        .await
        .map_err(|_| Stopped)?;
        self.directory = directory;
        if scan.news {
            scan.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        // A problem can also end without a changed file, when a canary that stood in the way has gone.
        self.manifests.set(&scan);
        // First what is gone: a canary that takes its place under another name finds what was kept of it.
        for id in scan.removed {
            self.handle.event(Event::Withdrawn(id)).await?;
        }
        for plan in scan.changed {
            self.handle.event(Event::Declared(Box::new(plan))).await?;
        }
        self.manifests.handed_on(scan.missing);
        Ok(self)
    }

    /// Reads it again at intervals, and whenever somebody asks.
    pub(crate) async fn watch(mut self) -> Result<(), Stopped> {
        let mut next = Instant::now() + EVERY;
        loop {
            let asked = tokio::select! {
                () = sleep_until(next) => None,
                asked = self.asked.recv() => asked,
            };
            let Some(first) = asked else {
                self = self.read().await?;
                next = Instant::now() + EVERY;
                continue;
            };
            // All that asked before the reading began are answered by it.
            let mut waiting = vec![first];
            while let Ok(more) = self.asked.try_recv() {
                waiting.push(more);
            }
            self = self.read_by(Directory::refresh).await?;
            // One that waits no longer needs no answer.
            waiting.into_iter().for_each(|answer| {
                let _ = answer.send(());
            });
        }
    }
}
