//! All tasks: those that run, each canary's command once at a time, and the latest of those that have ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::child::{self, Ending, Surroundings};
use crate::job::Job;
use crate::strays;
use crate::tail::Tail;

/// How many ended tasks are remembered.
const MAX_ENDED: usize = 100;
/// Most output of one task in a list or an error, in bytes.
const SHORT_OUTPUT_BYTES: usize = 4 << 10;
/// Most time to bury what was killed.
const BURIED_WITHIN: Duration = Duration::from_secs(10);

/// How much may run, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) max_tasks: usize,
}

/// Why a task does not start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Busy {
    /// Others must end first.
    #[error("{0} tasks are running and --max-tasks allows no more: try again when one has ended (GET /tasks)")]
    Full(usize),
    /// The end.
    #[error("the load tester is stopping")]
    Stopping,
}

/// One task, running or ended.
#[derive(Debug)]
pub(crate) struct Task {
    id: u64,
    job: Job,
    started: SystemTime,
    began: Instant,
    tail: Tail,
    ended: watch::Sender<Option<(Ending, Duration)>>,
}

/// Counts since the start, and what runs now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) running: usize,
}

/// The one table; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    surroundings: Surroundings,
    stop: watch::Sender<bool>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    counts: Counts,
    running: BTreeMap<u64, Arc<Task>>,
    ended: VecDeque<Arc<Task>>,
    /// What carries the running ones; `None` once the load tester stops.
    carriers: Option<JoinSet<()>>,
}

impl Tasks {
    pub(crate) fn new(limits: Limits, surroundings: Surroundings) -> Self {
        let table = Mutex::new(Table { carriers: Some(JoinSet::new()), ..Table::default() });
        Self(Arc::new(Shared { limits, surroundings, stop: watch::Sender::new(false), table }))
    }

    /// Starts a job, or joins the same one of the same canary while it runs; whether it was started comes with it.
    ///
    /// # Errors
    /// When as many run as may, or the load tester stops.
    pub(crate) fn start(&self, job: Job) -> Result<(Arc<Task>, bool), Busy> {
        let mut table = self.table();
        let is_same = |task: &&Arc<Task>| task.job.canary == job.canary && task.job.launch == job.launch;
        if let Some(same) = table.running.values().find(is_same) {
            return Ok((Arc::clone(same), false));
        }
        let Table { counts, running, carriers, .. } = &mut *table;
        let carriers = carriers.as_mut().ok_or(Busy::Stopping)?;
        if running.len() >= self.0.limits.max_tasks {
            return Err(Busy::Full(running.len()));
        }
        counts.started += 1;
        let task = Arc::new(Task {
            id: counts.started,
            job,
            started: SystemTime::now(),
            began: Instant::now(),
            tail: Tail::default(),
            ended: watch::Sender::new(None),
        });
        running.insert(task.id, Arc::clone(&task));
        while carriers.try_join_next().is_some() {}
        carriers.spawn(self.clone().carry(Arc::clone(&task)));
        tracing::info!(task = task.id, canary = %task.job.canary, program = task.job.program(), "task started");
        tracing::debug!(task = task.id, command = ?task.job.command, "its whole command");
        Ok((task, true))
    }

    async fn carry(self, task: Arc<Task>) {
        let Shared { limits, surroundings, stop, .. } = &*self.0;
        let (launch, mark) = (&task.job.launch, strays::mark(task.id));
        let ending = child::run(launch, surroundings, &mark, &task.tail, limits.timeout, stop.subscribe()).await;
        let took = task.began.elapsed();
        {
            let mut table = self.table();
            table.running.remove(&task.id);
            if ending.is_success() {
                table.counts.succeeded += 1;
            } else {
                table.counts.failed += 1;
            }
            if table.ended.len() == MAX_ENDED {
                table.ended.pop_front();
            }
            table.ended.push_back(Arc::clone(&task));
        }
        task.log_end(&ending, took);
        // Last: who waited for it finds it in the table.
        task.ended.send_replace(Some((ending, took)));
    }

    /// The remembered ones and those that run, the latest first.
    pub(crate) fn list(&self) -> Vec<Arc<Task>> {
        let table = self.table();
        let mut all: Vec<_> = table.running.values().chain(&table.ended).cloned().collect();
        all.sort_by_key(|task| std::cmp::Reverse(task.id));
        all
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Task>> {
        let table = self.table();
        table.running.get(&id).or_else(|| table.ended.iter().find(|task| task.id == id)).cloned()
    }

    pub(crate) fn counts(&self) -> Counts {
        let table = self.table();
        Counts { running: table.running.len(), ..table.counts }
    }

    /// Takes no more, kills what runs, and returns when it is dead.
    pub(crate) async fn stop(&self) {
        let carriers = self.table().carriers.take();
        self.0.stop.send_replace(true);
        if let Some(carriers) = carriers {
            let _ = tokio::time::timeout(BURIED_WITHIN, carriers.join_all()).await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// How it ended, once it has.
    pub(crate) async fn ending(&self) -> Ending {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some((ending, _))) => ending.clone(),
            // The sender lives in `self`.
            _ => Ending::Stopped,
        }
    }

    /// All that was kept of what it printed.
    pub(crate) fn output(&self) -> String {
        self.tail.text(usize::MAX)
    }

    /// The end of what it printed.
    pub(crate) fn short_output(&self) -> String {
        self.tail.text(SHORT_OUTPUT_BYTES)
    }

    /// For programs; `is_whole` adds all the output instead of its end.
    pub(crate) fn json(&self, is_whole: bool) -> Value {
        let ended = self.ended.borrow().clone();
        let (ending, took) = ended.map_or((None, self.began.elapsed()), |(ending, took)| (Some(ending), took));
        json!({
            "id": self.id,
            "canary": self.job.canary,
            "command": self.job.command,
            "started": humantime::format_rfc3339_seconds(self.started).to_string(),
            "seconds": took.as_millis() as f64 / 1000.0,
            "state": ending.as_ref().map_or("running", Ending::state),
            "exitCode": ending.as_ref().and_then(Ending::exit_code),
            "message": ending.map(|ending| ending.to_string()),
            "output": if is_whole { self.output() } else { self.short_output() },
        })
    }

    fn log_end(&self, ending: &Ending, took: Duration) {
        let Self { id, job, .. } = self;
        let (canary, program, seconds) = (&job.canary, job.program(), took.as_secs_f64());
        if ending.is_success() {
            tracing::info!(task = id, %canary, program, seconds, "task {ending}");
        } else {
            let output = self.short_output();
            tracing::warn!(task = id, %canary, program, seconds, ?output, "task {ending}");
        }
        if job.log_output {
            tracing::info!(task = id, output = ?self.output(), "task's output");
        }
    }
}
