//! All simulated workers together, on threads of their own, so that asking the agent for something waits for none of them.

use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rollout::routing::table::Epoch;
use tokio::time::sleep;

use crate::fleet::crew::{Crew, Knobs};
use crate::fleet::options::FleetOptions;
use crate::fleet::seen::{Adoption, FleetCounts, Seen};
use crate::fleet::streams::play;
use crate::fleet::traffic::Users;

/// How often the swarm is looked at while something is awaited; moments are taken where they happen.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Workers that run; they end when it is dropped.
pub struct Swarm {
    workers: usize,
    threads: Vec<JoinHandle<Result<()>>>,
    knobs: Arc<Knobs>,
    seen: Arc<Mutex<Seen>>,
}

impl Swarm {
    /// Starts so many workers, which connect to the agent one after the other. No requests come yet.
    #[must_use]
    pub fn start(agent: SocketAddr, workers: usize, options: &FleetOptions) -> Self {
        let (knobs, seen) = (Arc::new(Knobs::default()), Arc::new(Mutex::new(Seen::default())));
        let threads = options.threads as usize;
        let connections = (options.connections as usize).div_ceil(threads);
        let start = |thread: usize| {
            let users = Users::new(options.seed.wrapping_mul(64).wrapping_add(thread as u64), options.rate);
            let share = (workers + thread) / threads;
            let crew = Crew::new(share, users, options.in_step);
            let (knobs, seen) = (Arc::clone(&knobs), Arc::clone(&seen));
            thread::spawn(move || play(crew, agent, connections, &knobs, &seen))
        };
        let threads = (0..threads).map(start).collect();
        Self { workers, threads, knobs, seen }
    }

    /// Requests come from now on.
    pub fn begin_traffic(&self) {
        self.knobs.traffic.store(true, Ordering::Relaxed);
    }

    /// The canary fails this share of its requests from now on, from 0 to 1.
    pub fn set_fault(&self, share: f64) {
        self.knobs.fault.store(share.to_bits(), Ordering::Relaxed);
    }

    /// What was counted since the last call.
    #[must_use]
    pub fn take_counts(&self) -> FleetCounts {
        self.look(|seen| mem::take(&mut seen.counts))
    }

    /// Waits until the agent has welcomed every worker.
    ///
    /// # Errors
    /// When some are not welcomed in time: how many were.
    pub async fn connected(&self, within: Duration) -> Result<()> {
        let all = i64::try_from(self.workers)?;
        self.await_that("is connected", within, |seen| (seen.connected == all).then_some(())).await
    }

    /// Waits until every worker has the newest entry in force, one newer than `above`.
    ///
    /// # Errors
    /// When some have not in time.
    pub async fn adopted(&self, above: Epoch, within: Duration) -> Result<(Epoch, Adoption)> {
        let what = format!("has an entry above {}", above.0);
        self.await_that(&what, within, |seen| seen.adopted_by_all(self.workers, above)).await
    }

    async fn await_that<T>(&self, what: &str, within: Duration, is_so: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = self.look(|seen| is_so(seen)) {
                return Ok(found);
            }
            ensure!(
                Instant::now() < deadline,
                "not every one of {} workers {what} within {within:?}: {}",
                self.workers,
                self.look(|seen| seen.standing())
            );
            sleep(LOOK_EVERY).await;
        }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.knobs.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("bench fleet: a thread of workers: {error:#}"),
                Err(_) => eprintln!("bench fleet: a thread of workers panicked"),
            }
        }
    }
}
