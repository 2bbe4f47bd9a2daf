//! Watches the directory of manifests and sends changes to the event loop; problems are logged once and shown.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manifest::Directory;
use rollout::controller::Event;
use rollout::release::plan::Plan;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::handle::{Handle, Stopped};

/// How often the directory is read. By content and by polling: notifications miss the symlinks that Kubernetes swaps.
const EVERY: Duration = Duration::from_secs(1);

/// The problems of the last reading, for the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifests(Arc<Mutex<Vec<String>>>);

impl Manifests {
    /// Problems as they stand now, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs problems when the list changes, not at each reading.
    fn set(&self, problems: Vec<String>) {
        if self.problems() == problems {
            return;
        }
        problems.iter().for_each(|problem| tracing::error!("{problem}"));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }
}

/// The watching task's state.
pub(crate) struct Watcher {
    directory: Directory,
    handle: Handle,
    manifests: Manifests,
}

impl Watcher {
    /// `known` are the plans that the journal holds: they stay in force while their files are wrong.
    pub(crate) fn new(path: PathBuf, handle: Handle, manifests: Manifests, known: Vec<Plan>) -> Self {
        Self { directory: Directory::new(path).holding(known), handle, manifests }
    }

    /// Reads the directory now.
    pub(crate) async fn read(mut self) -> Result<Self, Stopped> {
        let (directory, scan) = spawn_blocking(move || {
            let scan = self.directory.scan();
            (self.directory, scan)
        })
        .await
        .map_err(|_| Stopped)?;
        self.directory = directory;
        if scan.news {
            scan.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        // A problem can also end without a changed file, when a canary that stood in the way has gone.
        self.manifests.set(scan.problems.iter().map(ToString::to_string).collect());
        for plan in scan.changed {
            self.handle.event(Event::Declared(Box::new(plan))).await?;
        }
        for id in scan.removed {
            self.handle.event(Event::Withdrawn(id)).await?;
        }
        Ok(self)
    }

    /// Reads it again at intervals.
    pub(crate) async fn watch(mut self) -> Result<(), Stopped> {
        loop {
            sleep(EVERY).await;
            self = self.read().await?;
        }
    }
}
