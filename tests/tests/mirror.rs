//! Copies of users' requests: how many the canary gets, that no user ever notices, and what the canary does with them.
#![cfg(test)]

use std::time::Instant;

use anyhow::{Result, ensure};
use rollout::release::phase::Note;
use tests::case::Case;
use tests::chance::two_sided;
use tests::edit;
use tests::manifest::Manifest;
use tests::stage::{Stage, Versions, WITHIN, WORKERS, ensure_all_from};
use tests::wait::until;

/// A bound that a right split breaks once in a million runs.
const RARE: f64 = 1e-6;

/// With a mirrored step before the first weight.
fn mirrored(manifest: Manifest, percent: u32) -> Result<Manifest> {
    let fields = format!("    mirror: true\n    mirrorWeight: {percent}\n    metrics:\n");
    manifest.edit("    metrics:\n", &fields)
}

#[tokio::test]
async fn a_share_of_requests_is_copied_and_users_get_the_primarys_answers_only() -> Result<()> {
    Case::run("mirror-share", async |case| {
        let stage = Stage::start(case, &mirrored(Manifest::steady("50")?, 30)?).await?;
        ensure_all_from(&stage.load().exactly(100).await?, "v1")?;
        assert_eq!(stage.versions.canary.counts().requests, 0, "no release is on");
        stage.versions.canary.set(|it| it.fail_ratio = 0.5);
        stage.released_at(0.0).await?;

        ensure_all_from(&stage.load().exactly(3_000).await?, "v1")?;
        let copies = until("the last copies", WITHIN, async || {
            let (now, known) = (stage.versions.canary.counts().requests, stage.status().await?.totals);
            let counted = known.iter().find(|total| total.version == "canary").map_or(0, |total| total.started);
            ensure!(counted == now, "the agent knows of {counted} of {now}");
            Ok(now)
        })
        .await?;
        let chance = two_sided(3_000, copies, 0.3);
        assert!(chance >= RARE, "{copies} copies of 3000 at 30 %: chance {chance:e}");
        // Started and failed, by the agent's count of copies and by the canary cluster's own.
        stage.totals_as_envoy(3_100 + copies).await?;

        stage.versions.canary.set(|it| it.hang_ratio = 1.0);
        let begun = Instant::now();
        let samples = stage.load().exactly(500).await?;
        ensure_all_from(&samples, "v1")?;
        let hung = stage.versions.canary.counts().hangs;
        assert!(hung > 0 && samples.0.iter().all(|sample| sample.done > begun), "{hung} copies hang");

        stage.abort().await?;
        stage.in_sync(WORKERS).await?;
        let before = stage.versions.canary.counts().requests;
        ensure_all_from(&stage.load().exactly(300).await?, "v1")?;
        assert_eq!(stage.versions.canary.counts().requests, before, "nothing is copied after the abort");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_canary_that_fails_its_copies_is_cut_before_any_user_meets_it() -> Result<()> {
    Case::run("mirror-abort", async |case| {
        let stage = Stage::start(case, &mirrored(Manifest::quick("50")?.guarded()?, 100)?).await?;
        stage.versions.canary.set(|it| it.fail_ratio = 1.0);
        let load = stage.load().start(100.0).await?;
        stage.release("v2").await?;
        let status = stage.phase("Failed").await?;
        let samples = load.stop().await?;
        assert!(stage.versions.canary.counts().failures > 0, "it was tried: {}", status.message);
        ensure_all_from(&samples, "v1")?;
        let events = stage.events().await?;
        assert!(events.iter().all(|event| event.weight_percent == 0.0), "{events:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_healthy_canary_leaves_the_mirrored_step_and_gets_no_more_copies() -> Result<()> {
    Case::run("mirror-good", async |case| {
        let stage = Stage::start(case, &mirrored(Manifest::quick("50, 60, 70")?.guarded()?, 100)?).await?;
        let load = stage.load().start(100.0).await?;
        stage.release("v2").await?;
        until("users on the canary", WITHIN, async || {
            let status = stage.status().await?;
            ensure!(status.weight_percent >= 50.0, "{} %: {}", status.weight_percent, status.message);
            Ok(())
        })
        .await?;
        stage.agent.cli(&["pause", "web"]).await?.ok()?;
        stage.in_sync(WORKERS).await?;
        ensure!(load.stop().await?.bad() == 0, "bad answers");
        let before = stage.versions.canary.counts().requests;
        let samples = stage.load().exactly(400).await?;
        let served = stage.versions.canary.counts().requests - before;
        assert_eq!(served, samples.count_of("v2"), "users' requests only");
        assert!(before > 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn unmeasured_copies_prove_nothing() -> Result<()> {
    Case::run("mirror-unmeasured", async |case| {
        let manifest = mirrored(Manifest::quick("50")?, 100)?;
        let versions = Versions::start().await?;
        let change = |setup: tests::envoy::EnvoySetup| setup.edit(edit::without_copies_filter);
        let stage = Stage::start_with(case, versions, &manifest, change).await?;
        let load = stage.load().start(100.0).await?;
        stage.release("v2").await?;
        until("the reason for standing still", WITHIN, async || {
            let events = stage.events().await?;
            ensure!(events.iter().any(|event| matches!(event.detail, Note::Held(_))), "{events:?}");
            Ok(())
        })
        .await?;
        let status = stage.status().await?;
        assert_eq!(status.weight_percent, 0.0, "{}", status.message);
        assert!(stage.versions.canary.counts().requests > 0, "it gets copies all the same");
        ensure_all_from(&load.stop().await?, "v1")
    })
    .await
}
