//! Whole releases on a real Envoy: what is promoted, what is aborted, and what a pipeline gets to know.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::agent::CliOutput;
use tests::case::Case;
use tests::hook::HookServer;
use tests::load::Running;
use tests::manifest::Manifest;
use tests::stage::{Stage, Versions, WITHIN, WORKERS, ensure_all_from};
use tests::upstream::Behaviour;
use tests::wait::until;

const RPS: f64 = 300.0;

/// `serin release web --revision v2 --wait`, as a pipeline would.
async fn release_and_wait(stage: &Stage, timeout: &str) -> Result<CliOutput> {
    stage.agent.cli(&["release", "web", "--revision", "v2", "--wait", "--timeout", timeout]).await
}

#[tokio::test]
async fn a_good_release_is_promoted_by_its_hook() -> Result<()> {
    Case::run("hook", async |case| {
        let versions = Versions::start().await?;
        let deployed = Arc::clone(&versions.primary);
        let hook = HookServer::start(move |_| {
            deployed.restart_as(Behaviour::healthy("v2"));
            200
        })
        .await?;
        // A shared machine may stall a check or two; a good release must survive that.
        let manifest = Manifest::quick("20, 50")?.threshold(10)?.hook(&hook.url())?;
        let stage = Stage::start_with(case, versions, &manifest, |setup| setup).await?;
        let load = stage.load().start(RPS).await?;

        let said = release_and_wait(&stage, "60s").await?;
        ensure!(said.status == Some(0) && said.stdout.contains("promoted"), "{said:?}");
        let status = stage.phase("Succeeded").await?;
        assert_eq!((status.weight_percent, status.promoted_revision.as_deref()), (0.0, Some("v2")));
        let weights: Vec<f64> = stage.events().await?.iter().map(|event| event.weight_percent).collect();
        assert!(weights.windows(2).all(|pair| pair != [0.0, 50.0]), "20 comes before 50: {weights:?}");
        let calls = hook.calls();
        let call = calls.first().context("the hook was not called")?;
        assert_eq!((calls.len(), call.pointer("/metadata/revision").and_then(|it| it.as_str())), (1, Some("v2")));

        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        stage.totals_as_envoy(samples.count()).await?;
        stage.all_on_primary(200).await?;
        ensure_all_from(&stage.load().exactly(100).await?, "v2")
    })
    .await
}

#[tokio::test]
async fn without_a_hook_a_person_confirms_and_the_canary_serves_until_then() -> Result<()> {
    Case::run("confirm", async |case| {
        let stage = Stage::start(case, &Manifest::quick("50")?.threshold(10)?).await?;
        let load = stage.load().start(RPS).await?;
        // The pipeline's wait ends where a person must act, and goes on afterwards.
        let said = release_and_wait(&stage, "90s").await?;
        ensure!(
            said.status == Some(2) && said.stdout.contains("web: held: promotion waits for `serin confirm`"),
            "{said:?}"
        );
        ensure!(said.stderr.contains("next: bring the primary to v2, then `serin confirm default/web`"), "{said:?}");
        confirm(&stage, &load).await?;
        let said = release_and_wait(&stage, "90s").await?;
        ensure!(said.status == Some(0) && said.stdout.contains("promoted"), "{said:?}");
        stage.phase("Succeeded").await?;
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        stage.totals_as_envoy(samples.count()).await?;
        stage.all_on_primary(200).await
    })
    .await
}

/// Waits for Promoting, sees that traffic stays where it is meanwhile, deploys and confirms.
async fn confirm(stage: &Stage, load: &Running) -> Result<()> {
    let status = stage.phase("Promoting").await?;
    assert_eq!(status.weight_percent, 50.0);
    let before = load.samples().count_of("v2");
    until("more answers of the canary", WITHIN, async || {
        ensure!(load.samples().count_of("v2") > before + 50, "{:?}", load.samples().by_version());
        Ok(())
    })
    .await?;
    stage.versions.primary.restart_as(Behaviour::healthy("v2"));
    stage.agent.cli(&["confirm", "web"]).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn a_swap_moves_traffic_and_refuses_the_next_release_onto_the_default_upstream() -> Result<()> {
    Case::run("swap", async |case| {
        let stage = Stage::start(case, &Manifest::quick("50")?.threshold(10)?.swap()?).await?;
        let load = stage.load().start(RPS).await?;
        let said = release_and_wait(&stage, "60s").await?;
        ensure!(said.status == Some(0), "{said:?}");
        let count = load.stop().await?.count();

        // The other upstream serves everybody now, by the client's count and by Envoy's.
        let primary = "cluster.web-primary.upstream_rq_total";
        let before = stage.envoy.counter(primary).await?;
        ensure_all_from(&stage.load().exactly(200).await?, "v2")?;
        assert_eq!(stage.envoy.counter(primary).await?, before);
        // The totals are the roles' and not the upstreams': their sum is Envoy's.
        let started: u64 = stage.totals(count + 200).await?.iter().map(|total| total.started).sum();
        let by_envoy = before + stage.envoy.counter("cluster.web-canary.upstream_rq_total").await?;
        assert_eq!(started, by_envoy);

        let status = stage.status().await?;
        assert!(status.without_agent.starts_with("web-primary (the former primary"), "{}", status.without_agent);
        let shown = stage.agent.cli(&["describe", "web"]).await?.ok()?;
        assert!(shown.contains("web-primary (the former primary"), "{shown}");
        let refused = stage.agent.cli(&["release", "web", "--revision", "v3"]).await?;
        assert_eq!(refused.status, Some(1), "{refused:?}");
        for part in ["web-primary by default", "defaultUpstreams", "web-canary"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
        ensure_all_from(&stage.load().exactly(100).await?, "v2")
    })
    .await
}

/// Plays a release whose canary is bad; the exit code says so and no request follows the abort.
async fn aborted(case: &Case, bad: Behaviour, reason: &str) -> Result<()> {
    let stage = Stage::start(case, &Manifest::quick("20, 50")?.threshold(2)?).await?;
    stage.versions.canary.restart_as(bad);
    let load = stage.load().start(RPS).await?;
    let said = release_and_wait(&stage, "60s").await?;
    ensure!(said.status == Some(1) && said.stdout.contains(reason), "{said:?}");
    let status = stage.phase("Failed").await?;
    assert!(status.message.contains(reason) && status.failed_checks == 0, "{status:?}");
    stage.in_sync(WORKERS).await?;
    let samples = load.stop().await?;
    let totals = stage.totals_as_envoy(samples.count()).await?;
    let failed: u64 = totals.iter().map(|total| total.failed).sum();
    assert_eq!((failed, samples.count_of("v2") > 0), (samples.bad(), true), "{:?}", samples.by_version());
    stage.all_on_primary(300).await
}

#[tokio::test]
async fn a_canary_that_fails_one_in_five_is_cut() -> Result<()> {
    Case::run("errors", async |case| {
        let failing = Behaviour { fail_ratio: 0.2, ..Behaviour::healthy("v2") };
        aborted(case, failing, "request-success-rate").await
    })
    .await
}

#[tokio::test]
async fn a_slow_canary_is_cut_on_its_p95() -> Result<()> {
    Case::run("slow", async |case| {
        let slow_latency = Duration::from_millis(800);
        let slow = Behaviour { slow_ratio: 0.3, slow_latency, ..Behaviour::healthy("v2") };
        aborted(case, slow, "request-duration p95").await
    })
    .await
}

#[tokio::test]
async fn without_traffic_a_release_holds_and_a_pipeline_is_told() -> Result<()> {
    Case::run("holds", async |case| {
        let stage = Stage::start(case, &Manifest::quick("50")?.threshold(1)?).await?;
        let said = release_and_wait(&stage, "4s").await?;
        ensure!(said.status == Some(2), "{said:?}");
        let status = stage.status().await?;
        assert_eq!((status.phase.as_str(), status.failed_checks, status.step), ("Progressing", 0, 1));
        assert!(status.message.contains("no canary traffic"), "{}", status.message);
        stage.abort().await
    })
    .await
}

#[tokio::test]
async fn what_this_build_cannot_honour_holds_until_a_person_accepts_it() -> Result<()> {
    Case::run("unsupported", async |case| {
        let metric = "    metrics:\n      - { name: unheard-of, thresholdRange: { max: 1 } }\n";
        let manifest = Manifest::steady("50")?.edit("    metrics:\n", metric)?;
        let stage = Stage::start(case, &manifest).await?;
        let said = release_and_wait(&stage, "60s").await?;
        ensure!(said.status == Some(2) && said.stdout.contains("--accept-unsupported"), "{said:?}");
        assert_eq!(stage.status().await?.weight_percent, 0.0);
        stage.all_on_primary(200).await?;
        let accepted = ["release", "web", "--revision", "v2", "--accept-unsupported", "--as", "ana"];
        stage.agent.cli(&accepted).await?.ok()?;
        stage.weight(50.0).await?;
        let story = stage.agent.cli(&["describe", "web"]).await?.ok()?;
        assert!(story.contains("ana accepted 1 check"), "{story}");
        Ok(())
    })
    .await
}
