//! The agent killed with -9 at any moment: the release goes on where it stood, an aborted one stays aborted, and no request is
//! counted twice or lost.

use anyhow::{Result, ensure};
use hyper::Method;
use rollout::release::phase::Note;
use tests::case::Case;
use tests::chance::dice;
use tests::http;
use tests::load::Running;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN, WORKERS};
use tests::wait::until;

const RPS: f64 = 300.0;

/// Waits until the load has this many more answers.
async fn answers(load: &Running, more: u64) -> Result<()> {
    let wanted = load.samples().count() + more;
    until("answers", WITHIN, async || {
        let count = load.samples().count();
        ensure!(count >= wanted, "{count} of {wanted}");
        Ok(())
    })
    .await
}

/// A share of the answers of both versions is bad, but not enough to abort: so failures are counted, too.
fn some_fail(stage: &Stage) {
    stage.versions.primary.set(|it| it.fail_ratio = 0.05);
    stage.versions.canary.set(|it| it.fail_ratio = 0.1);
}

fn lenient(weights: &str) -> Result<Manifest> {
    Manifest::quick(weights)?.threshold(50)?.edit("{ min: 99 }", "{ min: 50 }")
}

#[tokio::test]
async fn a_release_goes_on_through_kills_and_every_request_counts_once() -> Result<()> {
    let mut dice = dice("kills");
    Case::run("kills", async |case| {
        let mut stage = Stage::start(case, &lenient("10, 20, 30, 40, 50, 60")?).await?;
        some_fail(&stage);
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        // Often, so that some kills fall between a report's arrival and its storing, or that and its ack.
        for _ in 0..30 {
            answers(&load, dice.u64(2..60)).await?;
            stage.agent.kill9()?;
            // For a while nobody takes reports; then all of them come.
            answers(&load, dice.u64(0..40)).await?;
            stage.agent.start_again().await?;
            let status = stage.status().await?;
            assert_eq!((status.release, status.revision.as_deref()), (1, Some("v2")), "{status:?}");
        }
        // The end of the analysis, awaited by a person, survives as well.
        stage.phase("Promoting").await?;
        stage.agent.kill9()?;
        stage.agent.start_again().await?;
        assert_eq!(stage.phase("Promoting").await?.weight_percent, 60.0);
        stage.agent.cli(&["confirm", "web"]).await?.ok()?;
        stage.phase("Succeeded").await?;

        // Each step was taken once and in order, whatever happened between.
        let events = stage.events().await?.into_iter();
        let steps = events.filter(|event| matches!(event.detail, Note::Stepped { .. }));
        let weights: Vec<f64> = steps.map(|event| event.weight_percent).collect();
        assert_eq!(weights, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);

        let samples = load.stop().await?;
        let totals = stage.totals_as_envoy(samples.count()).await?;
        let counted: Vec<(u64, u64)> = totals.iter().map(|total| (total.started, total.failed)).collect();
        let by_client = |version: &str| {
            let count = samples.by_version().get(version).copied().unwrap_or_default();
            (count.responses, count.bad)
        };
        assert_eq!(counted, [by_client("v1"), by_client("v2")], "{:?}", samples.by_version());
        assert!(samples.bad() > 0 && samples.count_of("v2") > 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_paused_release_is_paused_at_the_same_step_afterwards() -> Result<()> {
    Case::run("paused", async |case| {
        let mut stage = Stage::start(case, &lenient("10, 20, 30")?).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        stage.agent.cli(&["pause", "web", "--reason", "lunch"]).await?.ok()?;
        let before = stage.phase("Paused").await?;
        stage.agent.kill9()?;
        stage.agent.start_again().await?;
        let after = stage.status().await?;
        let place =
            |it: &rollout::view::status::CanaryStatus| (it.phase.clone(), it.release, it.step, it.weight_percent);
        assert_eq!(place(&after), place(&before));
        stage.weight(before.weight_percent).await?;
        stage.agent.cli(&["resume", "web"]).await?.ok()?;
        stage.phase("Promoting").await?;
        let samples = load.stop().await?;
        stage.totals_as_envoy(samples.count()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_abort_holds_although_the_agent_dies_as_soon_as_it_has_answered() -> Result<()> {
    let mut dice = dice("abort");
    Case::run("abort", async |case| {
        let mut stage = Stage::start(case, &Manifest::steady("50")?).await?;
        let load = stage.load().start(RPS).await?;
        for release in 1..=6 {
            stage.release(&format!("v2-{release}")).await?;
            stage.weight(50.0).await?;
            answers(&load, dice.u64(1..100)).await?;
            let path = "/api/v1/canaries/default/web/abort";
            let headers = [("content-type", "application/json")];
            let body = r#"{ "actor": "test", "reason": "now" }"#;
            let answer = http::request(stage.agent.http(), Method::POST, path, &headers, body).await?;
            stage.agent.kill9()?;
            ensure!(answer.status == 200, "{answer:?}");

            stage.agent.start_again().await?;
            stage.in_sync(WORKERS).await?;
            let status = stage.status().await?;
            assert_eq!((status.phase.as_str(), status.release, status.weight_percent), ("Failed", release, 0.0));
            let canary = "cluster.web-canary.upstream_rq_total";
            let before = stage.envoy.counter(canary).await?;
            answers(&load, 100).await?;
            assert_eq!(stage.envoy.counter(canary).await?, before, "release {release} was resumed");
        }
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        stage.totals_as_envoy(samples.count()).await?;
        Ok(())
    })
    .await
}
