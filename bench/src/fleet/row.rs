//! One row: an agent of its own under so many workers, from its start to its last figure.
//!
//! First the streams are idle, then a release is on and requests come, then releases are aborted again and again, and in
//! one row bad canaries are released. What goes wrong in one stage is said in the row, and those before it still count.

use std::time::{Duration, Instant};

use ::tests::agent::Agent;
use ::tests::case::Case;
use ::tests::manifest::Manifest;
use anyhow::{Context, Result, ensure};
use rollout::release::phase::{Cause, Note};
use rollout::routing::table::Epoch;
use rollout::view::status::{CanaryStatus, EventStatus};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::abort::round::is_abort;
use crate::abort::watch::{AgentClock, Watch};
use crate::agent_api::{ACTOR, CANARY, post};
use crate::fleet::figures::{FaultCost, FaultRound, FleetLoad, FleetRow, Push};
use crate::fleet::options::FleetOptions;
use crate::fleet::seen::Adoption;
use crate::fleet::swarm::Swarm;
use crate::process_usage::Usage;

/// For all streams, or for an entry on its way to all workers. An agent that takes longer is not measured any further.
const WITHIN: Duration = Duration::from_secs(60);
/// With idle streams, so that what connecting took is given back.
const IDLE: Duration = Duration::from_secs(3);
/// Before an abort, so that its release is on everywhere and reports come as usual.
const STEADY: Duration = Duration::from_millis(300);
/// Longer than any answer takes.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// How long a bad canary may stay.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures a row.
///
/// # Errors
/// When the agent does not start.
pub async fn play(workers: u32, options: &FleetOptions) -> Result<FleetRow> {
    let case = Case::new(&format!("bench-fleet-{workers}"))?;
    let manifest = Manifest::steady(&options.weight.to_string())?.guarded()?;
    let clock = AgentClock::read()?;
    let mut agent = Agent::start(case.dir(), &manifest.write(&case)?).await?;
    let pid = agent.process().pid();
    let alone = Usage::of(pid)?;
    let swarm = Swarm::start(agent.grpc(), workers as usize, options);
    let mut play = Play { agent, pid, alone, clock, swarm, workers, options, revisions: 0 };
    let mut row = FleetRow { workers, ..FleetRow::default() };
    if let Err(error) = play.stages(&mut row).await {
        let dead = play.agent.process().ensure_alive().err().map(|end| format!(" ({end})")).unwrap_or_default();
        row.notes.push(format!("not measured any further: {error:#}{dead}"));
    }
    row.set_pushes();
    // Before its folder goes: a running agent would write into it again.
    drop(play);
    case.remove();
    Ok(row)
}

struct Play<'a> {
    agent: Agent,
    pid: u32,
    /// The agent before any stream.
    alone: Usage,
    clock: AgentClock,
    swarm: Swarm,
    workers: u32,
    options: &'a FleetOptions,
    revisions: u32,
}

impl Play<'_> {
    async fn stages(&mut self, row: &mut FleetRow) -> Result<()> {
        self.say("connecting");
        self.swarm.connected(WITHIN).await?;
        let before = Usage::of(self.pid)?;
        sleep(IDLE).await;
        let idle = Usage::of(self.pid)?;
        row.kib_per_idle_stream = Some(self.kib_per_stream(idle));
        row.idle_agent_cores = Some((idle.cpu - before.cpu).as_secs_f64() / IDLE.as_secs_f64());
        if self.options.rate <= 0.0 {
            return Ok(());
        }
        self.swarm.begin_traffic();
        let mut release = self.release().await?;
        self.everywhere().await?;
        let load = self.load().await?;
        row.set_load(&load, self.options.threads);
        row.kib_per_stream = Some(self.kib_per_stream(Usage::of(self.pid)?));
        self.still_on().await?;
        let deadline = Instant::now() + Duration::from_secs(6 * self.options.seconds);
        self.say(&format!("aborting {} releases", self.options.aborts));
        for aborts in 0..self.options.aborts {
            if Instant::now() > deadline {
                row.notes.push(format!("{aborts} of {} aborts in the time there was", self.options.aborts));
                break;
            }
            if aborts > 0 {
                release = self.release().await?;
                self.everywhere().await?;
            }
            row.pushes.push(self.abort(release).await?);
        }
        if self.workers == self.options.fault_workers && self.options.fault_rounds > 0 {
            for fault in &self.options.faults {
                row.faults.push(self.fault(*fault).await?);
            }
        }
        Ok(())
    }

    /// What the agent does with reports while one release is on.
    async fn load(&self) -> Result<FleetLoad> {
        let span = Duration::from_secs(self.options.seconds);
        sleep(span.min(Duration::from_secs(3))).await;
        self.say(&format!("measuring for {} s", span.as_secs()));
        let [agent, client] = self.usages()?;
        drop(self.swarm.take_counts());
        let started = Instant::now();
        sleep(span).await;
        let counts = self.swarm.take_counts();
        let elapsed = started.elapsed();
        let [agent_after, client_after] = self.usages()?;
        Ok(FleetLoad {
            elapsed,
            counts,
            agent_cpu: agent_after.cpu - agent.cpu,
            client_cpu: client_after.cpu - client.cpu,
            written_bytes: agent_after.written_bytes - agent.written_bytes,
        })
    }

    /// From an abort that is asked for to the last worker that has it.
    async fn abort(&self, release: u64) -> Result<Push> {
        sleep(STEADY).await;
        let mut watch = Watch::open(self.agent.http(), CANARY).await?;
        let asked = Instant::now();
        post(self.agent.http(), "abort", &json!({ "actor": ACTOR, "reason": "the bench says so" })).await?;
        let event = timeout(WITHIN, watch.next(|event| is_abort(event, release))).await.context("no abort")??;
        let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
        let verdict = self.clock.instant(event.at_ms);
        let Adoption { first, last, .. } = self.everywhere().await?;
        Ok(Push { asked_ms: ms(asked, last), verdict_ms: ms(verdict, last), spread_ms: ms(first, last) })
    }

    /// What a canary costs that fails from its first request on.
    async fn fault(&mut self, percent: f64) -> Result<FaultCost> {
        let mut rounds = Vec::new();
        for round in 1..=self.options.fault_rounds {
            self.say(&format!("a canary that fails {percent} %, round {round} of {}", self.options.fault_rounds));
            sleep(LAST_ANSWERS).await;
            drop(self.swarm.take_counts());
            self.swarm.set_fault(percent / 100.0);
            let mut watch = Watch::open(self.agent.http(), CANARY).await?;
            let asked = Instant::now();
            let release = self.release().await?;
            let aborted = timeout(PATIENCE, watch.next(|event| is_abort(event, release))).await;
            let by_guard = matches!(&aborted, Ok(Ok(EventStatus { detail: Note::Aborted(Cause::Guards(_)), .. })));
            if aborted.is_err() {
                post(self.agent.http(), "abort", &json!({ "actor": ACTOR, "reason": "enough" })).await?;
            }
            let Adoption { last, .. } = self.everywhere().await?;
            sleep(LAST_ANSWERS).await;
            self.swarm.set_fault(0.0);
            let counts = self.swarm.take_counts();
            rounds.push(FaultRound {
                bad_responses: counts.bad_responses,
                canary_responses: counts.canary_responses,
                until_everywhere_ms: last.saturating_duration_since(asked).as_secs_f64() * 1e3,
                by_guard,
            });
        }
        Ok(FaultCost::new(percent, rounds))
    }

    /// Begins a release of its own revision; returns its number.
    async fn release(&mut self) -> Result<u64> {
        self.revisions += 1;
        let revision = format!("r{}", self.revisions);
        let begun = post(self.agent.http(), "releases", &json!({ "revision": revision, "actor": ACTOR })).await?;
        begun.get("release").and_then(Value::as_u64).context("the agent gave the release no number")
    }

    /// Waits until every worker has what the agent means now.
    async fn everywhere(&self) -> Result<Adoption> {
        let meant = self.status().await?.epoch;
        let (_, adoption) = self.swarm.adopted(Epoch(meant.saturating_sub(1)), WITHIN).await?;
        Ok(adoption)
    }

    /// Figures of a release that ended meanwhile would be figures of an idle fleet.
    async fn still_on(&self) -> Result<()> {
        let status = self.status().await?;
        ensure!(status.phase == "Progressing", "the release did not stay on: {}: {}", status.phase, status.message);
        Ok(())
    }

    async fn status(&self) -> Result<CanaryStatus> {
        Ok(serde_json::from_value(self.agent.api(CANARY).await?)?)
    }

    fn usages(&self) -> Result<[Usage; 2]> {
        Ok([Usage::of(self.pid)?, Usage::of(std::process::id())?])
    }

    fn kib_per_stream(&self, usage: Usage) -> f64 {
        (usage.resident_kib as f64 - self.alone.resident_kib as f64) / f64::from(self.workers)
    }

    fn say(&self, what: &str) {
        eprintln!("{:>6} workers: {what}", self.workers);
    }
}
