//! One release on a real Envoy, from its begin to the last request that it got.
//!
//! Envoy, agent and upstreams stay for all rounds; each round is a release of its own revision, under a load of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tests::case::Case;
use ::tests::manifest::Manifest;
use ::tests::samples::Samples;
use ::tests::stage::{Stage, Versions};
use ::tests::upstream::{Behaviour, Upstream};
use anyhow::{Context, Result, ensure};
use rollout::release::phase::{Cause, Note};
use rollout::view::status::EventStatus;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::abort::exposure::{Exposure, Received, exposure, received};
use crate::abort::options::{Mode, Options};
use crate::abort::watch::{AgentClock, Watch};
use crate::agent_api::{ACTOR, CANARY, post};

/// Connections of the load, so that both of Envoy's workers get their share.
pub const CONNECTIONS: usize = 64;
/// Before the release, so that connections and caches are warm.
pub const LEAD_IN: Duration = Duration::from_secs(1);
/// How long after the abort the canary must get nothing more.
pub const SETTLE: Duration = Duration::from_millis(500);

/// The least share of the asked-for rate at which a round counts.
const LEAST_RATE: f64 = 0.9;
/// How far the agent's clock may seem to be from ours.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(3);
const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);

/// What is released.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    /// Whether and when it goes bad.
    pub mode: Mode,
    /// Share of its requests that it fails, percent.
    pub fail_percent: f64,
}

impl Kind {
    /// How each round must end.
    #[must_use]
    pub const fn must_end(self) -> Ended {
        match self.mode {
            Mode::Start | Mode::Late => Ended::Guards,
            Mode::Healthy => Ended::NotAborted,
        }
    }

    /// About how long a round takes. A fault near the objective of 1 % needs evidence in inverse proportion to its square.
    #[must_use]
    pub fn estimate(self, options: &Options) -> Duration {
        let canary_rps = options.rps * options.weight / 100.0;
        let until_cut = Duration::from_secs_f64(4_000.0 / self.fail_percent.powi(2) / canary_rps).min(options.patience);
        let span = match self.mode {
            Mode::Start => until_cut,
            Mode::Late => options.health + until_cut,
            Mode::Healthy => options.healthy_for,
        };
        LEAD_IN + span + SETTLE
    }
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// A guard aborted it.
    Guards,
    /// Something else aborted it.
    OtherCause,
    /// It was aborted before it went bad.
    WhileHealthy,
    /// Nothing aborted it while the benchmark waited.
    NotAborted,
}

/// What came of one release.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// How it ended.
    pub ended: Ended,
    /// The agent's words.
    pub verdict: String,
    /// What the client counted.
    #[serde(flatten)]
    pub received: Received,
    /// The split of time; none if it was not aborted or no user saw a bad response.
    #[serde(flatten)]
    pub exposure: Option<Exposure>,
    /// What spoiled the round, if anything did.
    pub flaw: Option<String>,
}

/// Everything that runs.
pub struct Rounds {
    stage: Stage,
    clock: AgentClock,
    options: Options,
    played: u32,
}

/// A release's end, as the agent reports it.
struct End {
    ended: Ended,
    event: EventStatus,
    /// When the agent knew that every worker had weight 0 in force.
    in_force: Instant,
}

impl Rounds {
    /// Starts two versions of a service, the agent, and Envoy with two worker threads.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(case: &Case, options: &Options) -> Result<Self> {
        let upstream = async |version: &str, seed| Upstream::start(Behaviour::healthy(version), seed).await;
        let primary = Arc::new(upstream("v1", options.seed.wrapping_mul(2)).await?);
        let canary = Arc::new(upstream("v2", options.seed.wrapping_mul(2).wrapping_add(1)).await?);
        // The next check is an hour away, so only a guard can abort.
        let steady = Manifest::steady(&options.weight.to_string())?;
        let manifest = if options.without_guards { steady } else { steady.guarded()? };
        let clock = AgentClock::read()?;
        let stage = Stage::start_with(case, Versions { primary, canary }, &manifest, |setup| setup).await?;
        Ok(Self { stage, clock, options: options.clone(), played: 0 })
    }

    /// Envoy's workers as the agent knows them: one for each worker thread, and one for the main thread, which gets no
    /// requests.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn workers(&self) -> Result<usize> {
        Ok(self.stage.workers().await?.len())
    }

    /// What `serin --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn agent_version(&self) -> Result<String> {
        Ok(self.stage.agent.cli(&["--version"]).await?.ok()?.trim().to_owned())
    }

    /// One release of its own revision.
    ///
    /// # Errors
    /// When anything does not do what it must, so that a figure would mean nothing: client and Envoy count differently, a
    /// release leaves its step, a request reaches the canary after every worker has confirmed the abort.
    pub async fn play(&mut self, kind: Kind) -> Result<Round> {
        self.played += 1;
        let revision = format!("r{}", self.played);
        self.deploy(kind, &revision);
        let before = self.envoys_count().await?;
        let load = self.stage.load().connections(CONNECTIONS).start(self.options.rps).await?;
        sleep(LEAD_IN).await;
        let end = self.release(kind, &revision).await.with_context(|| format!("{revision} of {kind:?}"))?;
        sleep(SETTLE).await;
        let samples = load.stop().await?;
        let after = self.envoys_count().await?;
        let received = received(&samples, &revision);
        let by_envoy = (after.0 - before.0, after.1 - before.1);
        let by_client = (received.canary_responses, received.bad_responses);
        let flaw = flaw(kind, &received, self.options.rps);
        // A response that no version claims may have been the canary's.
        ensure!(
            flaw.is_some() || by_envoy == by_client,
            "(all, bad) canary responses: client {by_client:?}, Envoy {by_envoy:?}"
        );
        self.nothing_after(&samples, &revision, &end)?;
        let is_cut = matches!(end.ended, Ended::Guards | Ended::OtherCause);
        let verdict = self.clock.instant(end.event.at_ms);
        let exposure = is_cut.then(|| exposure(&samples, &revision, verdict, end.in_force)).flatten();
        Ok(Round { ended: end.ended, verdict: end.event.message, received, exposure, flaw })
    }

    fn deploy(&self, kind: Kind, revision: &str) {
        let healthy = kind.mode == Mode::Healthy;
        let primary_percent = if healthy { kind.fail_percent } else { 0.0 };
        let canary_percent = if kind.mode == Mode::Late { 0.0 } else { kind.fail_percent };
        self.stage.versions.primary.set(|it| {
            (it.fail_ratio, it.latency) = (primary_percent / 100.0, self.options.primary_latency);
        });
        let canary = Behaviour { fail_ratio: canary_percent / 100.0, ..Behaviour::healthy(revision) };
        self.stage.versions.canary.restart_as(canary);
    }

    /// All requests to the canary's cluster so far, and those that ended in 5xx.
    async fn envoys_count(&self) -> Result<(u64, u64)> {
        let counters = self.stage.envoy.stats("cluster.web-canary.upstream_rq_").await?;
        // Envoy makes the second one with the first failure.
        let read = |name: &str| counters.get(&format!("cluster.web-canary.upstream_rq_{name}")).copied();
        Ok((read("total").context("Envoy does not count the canary's requests")?, read("5xx").unwrap_or(0)))
    }

    async fn release(&self, kind: Kind, revision: &str) -> Result<End> {
        let mut watch = Watch::open(self.stage.agent.http(), CANARY).await?;
        let asked = Instant::now();
        let started =
            post(self.stage.agent.http(), "releases", &json!({ "revision": revision, "actor": ACTOR })).await?;
        let answered = Instant::now();
        let release = started.get("release").and_then(Value::as_u64).context("the agent gave the release no number")?;
        let started =
            watch.next(|event| event.release == release && matches!(event.detail, Note::Started { .. })).await?;
        self.same_clock(asked, self.clock.instant(started.at_ms), answered)?;

        let mut aborted =
            async |within| timeout(within, watch.next(|event| is_abort(event, release))).await.ok().transpose();
        let is_bad_from_start = kind.mode == Mode::Start;
        if !is_bad_from_start {
            let span = if kind.mode == Mode::Late { self.options.health } else { self.options.healthy_for };
            if let Some(event) = aborted(span).await? {
                return Ok(End { ended: Ended::WhileHealthy, event, in_force: self.in_force().await? });
            }
            self.still_there().await?;
        }
        let bad = if kind.mode == Mode::Healthy {
            None
        } else {
            self.stage.versions.canary.set(|it| it.fail_ratio = kind.fail_percent / 100.0);
            aborted(self.options.patience).await?
        };
        if let Some(event) = bad {
            let ended = match event.detail {
                Note::Aborted(Cause::Guards(_)) => Ended::Guards,
                _ => Ended::OtherCause,
            };
            return Ok(End { ended, event, in_force: self.in_force().await? });
        }
        post(self.stage.agent.http(), "abort", &json!({ "actor": ACTOR, "reason": "the round is over" })).await?;
        let event = aborted(IN_FORCE_WITHIN).await?.context("the agent did not abort when asked")?;
        Ok(End { ended: Ended::NotAborted, event, in_force: self.in_force().await? })
    }

    /// A release that was advanced or held meanwhile would not be measured at its weight.
    async fn still_there(&self) -> Result<()> {
        let status = self.stage.status().await?;
        let (phase, weight, message) = (status.phase, status.weight_percent, status.message);
        let is_there = phase == "Progressing" && (weight - self.options.weight).abs() < 1e-9;
        ensure!(is_there, "a healthy release did not stay at its step: {phase}, {weight} %: {message}");
        Ok(())
    }

    fn same_clock(&self, asked: Instant, started: Instant, answered: Instant) -> Result<()> {
        let is_between = started + CLOCK_TOLERANCE >= asked && started <= answered + CLOCK_TOLERANCE;
        ensure!(is_between, "the agent's clock is not ours: wall time was set while both started; run again");
        Ok(())
    }

    /// Waits until the agent knows that every worker has its newest entry in force. Asked in short turns: this is measured.
    async fn in_force(&self) -> Result<Instant> {
        let started = Instant::now();
        loop {
            let status = self.stage.status().await?;
            if status.workers_live > 0 && status.workers_in_sync == status.workers_live {
                return Ok(Instant::now());
            }
            let (behind, live) = (status.workers_live - status.workers_in_sync, status.workers_live);
            ensure!(started.elapsed() < IN_FORCE_WITHIN, "{behind} of {live} workers have not confirmed the abort");
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn nothing_after(&self, samples: &Samples, revision: &str, end: &End) -> Result<()> {
        let after = samples.of(revision).filter(|sample| sample.sent > end.in_force).count();
        ensure!(after == 0, "{revision} got {after} requests after every worker had confirmed the abort");
        Ok(())
    }
}

/// Whether this is the abort of a release.
#[must_use]
pub fn is_abort(event: &EventStatus, release: u64) -> bool {
    event.release == release && matches!(event.detail, Note::Aborted(_))
}

/// What the machine or the benchmark, not Serin, did to a round.
fn flaw(kind: Kind, received: &Received, rps: f64) -> Option<String> {
    let Received { bad_of_nobody, bad_of_primary, .. } = *received;
    if received.rps < LEAST_RATE * rps {
        return Some(format!("the load reached {:.0} of {rps:.0} requests a second", received.rps));
    }
    if bad_of_nobody > 0 {
        return Some(format!("{bad_of_nobody} requests were answered by no version"));
    }
    if bad_of_primary > 0 && kind.mode != Mode::Healthy {
        return Some(format!("{bad_of_primary} requests failed that were not the canary's"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_the_machine_spoiled_does_not_count() {
        let good = Received { rps: 990.0, ..Received::default() };
        let kind = |mode| Kind { mode, fail_percent: 0.5 };
        let flaw = |mode, received: Received| flaw(kind(mode), &received, 1000.0);
        assert_eq!(flaw(Mode::Start, good), None);
        assert_eq!(flaw(Mode::Start, Received { rps: 900.0, ..good }), None);
        let slow = flaw(Mode::Healthy, Received { rps: 899.0, ..good }).unwrap();
        assert!(slow.contains("899 of 1000"), "{slow}");
        assert!(flaw(Mode::Late, Received { bad_of_nobody: 1, ..good }).is_some());
        assert!(flaw(Mode::Late, Received { bad_of_primary: 1, ..good }).is_some());
        assert_eq!(flaw(Mode::Healthy, Received { bad_of_primary: 9, ..good }), None);
    }
}
