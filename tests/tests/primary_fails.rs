//! The primary breaks on a real Envoy after the canary is proven: users stay on the canary, unless a person says otherwise.

#![cfg(test)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollout::view::explanation::Explanation;
use rollout::view::status::CanaryStatus;
use tests::case::Case;
use tests::load::Running;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN, ensure_all_from};
use tests::upstream::Behaviour;
use tests::wait::until;

/// A primary that takes its time keeps half as many connections busy.
const RPS: f64 = 100.0;

/// How a primary breaks.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    Status,
    GrpcStatus,
    /// Every answer is good, and late.
    Latency,
}

impl Breaks {
    fn healthy(self, version: &str) -> Behaviour {
        Behaviour { is_grpc: matches!(self, Self::GrpcStatus), ..Behaviour::healthy(version) }
    }

    fn broken(self) -> Behaviour {
        let healthy = self.healthy("v1");
        match self {
            Self::Status => Behaviour { fail_ratio: 1.0, fail_status: 503, ..healthy },
            Self::GrpcStatus => Behaviour { fail_ratio: 0.5, ..healthy },
            Self::Latency => Behaviour { latency: Duration::from_millis(700), ..healthy },
        }
    }

    fn headers(self) -> Vec<(String, String)> {
        let grpc = || ("content-type".to_owned(), "application/grpc".to_owned());
        matches!(self, Self::GrpcStatus).then(grpc).into_iter().collect()
    }
}

/// A release that waits for `serin confirm` at half of the traffic, under load.
async fn promoting(
    case: &Case,
    breaks: Breaks,
    change: impl FnOnce(Manifest) -> Result<Manifest>,
) -> Result<(Stage, Running)> {
    let manifest = change(Manifest::quick("50")?.threshold(10)?.guarded()?)?;
    let stage = Stage::start(case, &manifest).await?;
    stage.versions.primary.restart_as(breaks.healthy("v1"));
    stage.versions.canary.restart_as(breaks.healthy("v2"));
    let load = stage.load().connections(64).headers(move |_| breaks.headers()).start(RPS).await?;
    stage.release("v2").await?;
    let status = stage.phase("Promoting").await?;
    ensure!(status.weight_percent == 50.0, "{status:?}");
    Ok((stage, load))
}

async fn fails(stage: &Stage) -> Result<CanaryStatus> {
    until("the primary to be found failing", WITHIN, async || {
        let status = stage.status().await?;
        ensure!(status.primary_fails.is_some(), "{}", status.message);
        Ok(status)
    })
    .await
}

/// So many more requests while the canary's share stays what it is.
async fn stays_at(stage: &Stage, phase: &str, percent: f64, requests: u64) -> Result<()> {
    let before: u64 = stage.status().await?.totals.iter().map(|total| total.started).sum();
    until("some seconds of requests", WITHIN, async || {
        let status = stage.status().await?;
        // Not retried: once is too often.
        assert_eq!((status.phase.as_str(), status.weight_percent), (phase, percent), "{}", status.message);
        let now: u64 = status.totals.iter().map(|total| total.started).sum();
        ensure!(now >= before + requests, "{now} of {}", before + requests);
        Ok(())
    })
    .await
}

async fn explained(stage: &Stage) -> Result<(String, Explanation)> {
    let page = stage.agent.cli(&["explain", "web"]).await?.ok()?;
    Ok((page, serde_json::from_str(&stage.agent.cli(&["explain", "web", "-o", "json"]).await?.ok()?)?))
}

#[tokio::test]
async fn traffic_does_not_walk_back_onto_a_primary_that_began_to_fail() -> Result<()> {
    for breaks in [Breaks::Status, Breaks::Latency] {
        Case::run(&format!("primary-walk-{breaks:?}"), async |case| {
            let (stage, load) = promoting(case, breaks, |manifest| {
                manifest.edit(
                    "    stepWeights: [50]\n",
                    "    stepWeights: [50]\n    stepWeightPromotion: 20\n    deadlines: { promoting: 10s }\n",
                )
            })
            .await?;
            stage.agent.cli(&["confirm", "web"]).await?.ok()?;
            stage.versions.primary.set(|it| *it = breaks.broken());
            let status = fails(&stage).await?;
            ensure!(status.phase == "Promoting" && status.weight_percent > 0.0, "{breaks:?}: {status:?}");
            // The interval is a second: it would have walked to the end several times over.
            stays_at(&stage, "Promoting", status.weight_percent, 5 * RPS as u64).await?;
            stage.versions.primary.set(|it| *it = breaks.healthy("v1"));
            stage.phase("Succeeded").await?;
            let events = stage.events().await?;
            let said = |words: &str| events.iter().filter(|event| event.message.contains(words)).count();
            ensure!((said("the primary fails"), said("within its limits again")) == (1, 1), "{events:?}");
            drop(load);
            stage.all_on_primary(50).await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn confirming_onto_a_failing_primary_is_refused_and_users_can_be_moved_to_the_canary() -> Result<()> {
    for breaks in [Breaks::Status, Breaks::GrpcStatus, Breaks::Latency] {
        Case::run(&format!("primary-confirm-{breaks:?}"), async |case| {
            let (stage, load) = promoting(case, breaks, |manifest| {
                manifest.edit("    stepWeights: [50]\n", "    stepWeights: [50]\n    deadlines: { promoting: 10s }\n")
            })
            .await?;
            stage.versions.primary.set(|it| *it = breaks.broken());
            let status = fails(&stage).await?;
            ensure!(status.needs_person.as_deref().is_some_and(|how| how.contains("--weight 100")), "{status:?}");
            let refused = stage.agent.cli(&["confirm", "web"]).await?;
            let said = format!("{refused:?}");
            ensure!(said.contains("the primary fails") && said.contains("--force --reason"), "{said}");
            // Longer than the deadline.
            stays_at(&stage, "Promoting", 50.0, 12 * RPS as u64).await?;
            let (page, explanation) = explained(&stage).await?;
            ensure!(page.contains("THE PRIMARY FAILS") && page.contains("The primary fails: nothing but"), "{page}");
            ensure!(explanation.primary.context("no primary")?.fails, "{page}");
            ensure!(stage.agent.cli(&["get", "web"]).await?.ok()?.contains("the primary fails"), "get says nothing");
            stage.agent.cli(&["set-weight", "web", "--weight", "100", "--reason", "v1 is down"]).await?.ok()?;
            stage.weight(100.0).await?;
            ensure_all_from(&stage.load().headers(move |_| breaks.headers()).exactly(100).await?, "v2")?;
            stage.versions.primary.set(|it| *it = breaks.healthy("v1"));
            stage.agent.cli(&["set-weight", "web", "--weight", "50"]).await?.ok()?;
            until("the primary to be well", WITHIN, async || {
                let status = stage.status().await?;
                ensure!(status.primary_fails.is_none(), "{}", status.message);
                Ok(())
            })
            .await?;
            stage.agent.cli(&["confirm", "web"]).await?.ok()?;
            stage.phase("Succeeded").await?;
            drop(load);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_person_may_accept_it_and_the_agent_may_die_meanwhile() -> Result<()> {
    Case::run("primary-forced", async |case| {
        let (mut stage, load) = promoting(case, Breaks::Status, Ok).await?;
        stage.versions.primary.set(|it| *it = Breaks::Status.broken());
        fails(&stage).await?;
        stage.agent.kill9()?;
        stage.agent.start_again().await?;
        let status = stage.status().await?;
        ensure!(status.primary_fails.is_some() && status.phase == "Promoting", "{status:?}");
        let unreasoned = stage.agent.cli(&["confirm", "web", "--force"]).await?;
        ensure!(format!("{unreasoned:?}").contains("says why"), "{unreasoned:?}");
        stage.agent.cli(&["confirm", "web", "--force", "--reason", "the canary has no capacity"]).await?.ok()?;
        stage.phase("Succeeded").await?;
        let events = stage.events().await?;
        let accepted = "sends users to the primary although it fails: the canary has no capacity";
        ensure!(events.iter().any(|event| event.message.contains(accepted)), "{events:?}");
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn users_move_to_the_proven_canary_where_the_manifest_says_so() -> Result<()> {
    Case::run("primary-shift", async |case| {
        let (stage, load) = promoting(case, Breaks::Status, |manifest| {
            manifest.edit("    stepWeights: [50]\n", "    stepWeights: [50]\n    onPrimaryFailure: shift\n")
        })
        .await?;
        stage.versions.primary.set(|it| *it = Breaks::Status.broken());
        stage.weight(100.0).await?;
        ensure_all_from(&stage.load().exactly(100).await?, "v2")?;
        ensure!(stage.status().await?.phase == "Promoting");
        drop(load);
        Ok(())
    })
    .await
}
