//! Strategies and approvals on a real Envoy: who is sent where, counted by the client, and what a release waits for.

#![cfg(test)]

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::case::Case;
use tests::hook::HookServer;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN, WORKERS, ensure_all_from};
use tests::upstream::Behaviour;
use tests::wait::until;

const RPS: f64 = 200.0;

/// Checks at each second with patience for a machine that stalls, and without the guards of the shipped file.
fn quick(weights: &str) -> Result<Manifest> {
    Manifest::quick(weights)?.threshold(10)
}

fn insiders(n: u64) -> Vec<(String, String)> {
    let kind = if n.is_multiple_of(4) { "insider" } else { "public" };
    vec![("cookie".into(), format!("theme=dark; type={kind}"))]
}

#[tokio::test]
async fn a_b_by_cookie() -> Result<()> {
    Case::run("ab", async |case| {
        let manifest = quick("20")?
            .strategy("20", "iterations: 3")?
            .matching(r#"[{ headers: { cookie: { regex: "^(.*?; )?(type=insider)(;.*)?$" } } }]"#)?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().headers(insiders).start(RPS).await?;
        stage.release("v2").await?;
        let status = stage.phase("Promoting").await?;
        assert_eq!((status.weight_percent, status.step, status.steps), (0.0, 3, 3));
        let samples = load.stop().await?;
        // The rules placed every insider from the moment that both workers had the table, and nobody else ever.
        let by_kind = stage.load().headers(insiders).exactly(400).await?;
        assert_eq!((by_kind.count_of("v2"), by_kind.count_of("v1")), (100, 300));
        assert!(samples.count_of("v2") <= samples.count() / 4 + 1, "{:?}", samples.by_version());
        stage.agent.cli(&["confirm", "web"]).await?.ok()?;
        stage.phase("Succeeded").await?;
        stage.all_on_primary(100).await
    })
    .await
}

#[tokio::test]
async fn blue_green_switches_all_at_once_after_its_iterations() -> Result<()> {
    Case::run("bluegreen", async |case| {
        let hook = HookServer::start(|_| 200).await?;
        let manifest = quick("20")?
            .strategy("20", "iterations: 2")?
            .webhooks(&format!("[{{ name: load, type: rollout, url: {:?} }}]", hook.url()))?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        let status = stage.phase("Promoting").await?;
        assert_eq!((status.weight_percent, status.step, status.steps), (100.0, 3, 3));
        ensure_all_from(&stage.load().exactly(200).await?, "v2")?;
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        let weights: Vec<f64> = stage.events().await?.iter().map(|event| event.weight_percent).collect();
        assert!(weights.iter().all(|weight| *weight == 0.0 || *weight == 100.0), "{weights:?}");
        // Once for each iteration and once more under live traffic.
        let calls = hook.calls();
        assert!(calls.len() >= 3 && calls.iter().all(|call| call["phase"] == "Progressing"), "{calls:?}");
        stage.agent.cli(&["confirm", "web"]).await?.ok()?;
        stage.phase("Succeeded").await?;
        stage.all_on_primary(100).await
    })
    .await
}

#[tokio::test]
async fn gates_are_closed_until_opened_by_hand_and_survive_the_agent() -> Result<()> {
    Case::run("stored-gates", async |case| {
        let manifest = quick("50")?.webhooks(
            "[{ name: board, type: confirm-rollout, gate: true }, { name: owner, type: confirm-promotion, gate: true }]",
        )?;
        let mut stage = Stage::start(case, &manifest).await?;
        let load = stage.load().start(RPS).await?;
        let open = async |stage: &Stage, gate: &str| {
            stage.agent.cli(&["gate", "open", "web", gate, "--as", "ann", "--reason", "looks fine"]).await?.ok()
        };
        stage.release("v2").await?;
        let status = stage.phase("Waiting").await?;
        assert!(status.message.contains("gate board is closed"), "{}", status.message);
        // Killed while it waits, it waits on.
        stage.agent.kill9()?;
        stage.agent.start_again().await?;
        stage.in_sync(WORKERS).await?;
        assert_eq!(stage.status().await?.phase, "Waiting");
        assert_eq!(load.samples().count_of("v2"), 0);
        open(&stage, "board").await?;
        let status = stage.phase("WaitingPromotion").await?;
        assert!(status.message.contains("gate owner is closed"), "{}", status.message);
        assert_eq!(status.weight_percent, 50.0);
        stage.agent.kill9()?;
        stage.agent.start_again().await?;
        stage.in_sync(WORKERS).await?;
        assert_eq!(stage.status().await?.phase, "WaitingPromotion");
        let listed = stage.agent.cli(&["gate", "list", "web"]).await?.ok()?;
        assert!(listed.contains("board") && listed.contains("ann") && listed.contains("v2"), "{listed}");
        open(&stage, "owner").await?;
        stage.phase("Promoting").await?;
        let page = stage.agent.cli(&["describe", "web"]).await?.ok()?;
        assert!(page.contains("gate owner opened for v2 by ann: looks fine"), "{page}");
        stage.abort().await?;
        // The next revision needs an approval of its own.
        stage.release("v3").await?;
        stage.phase("Waiting").await?;
        drop(load);
        stage.all_on_primary(100).await
    })
    .await
}

#[tokio::test]
async fn a_promotion_hook_that_says_no_is_asked_again() -> Result<()> {
    Case::run("confirm-hook", async |case| {
        let answer = Arc::new(AtomicU16::new(403));
        let said = Arc::clone(&answer);
        let hook = HookServer::start(move |_| said.load(Ordering::SeqCst)).await?;
        let manifest =
            quick("50")?.webhooks(&format!("[{{ name: qa, type: confirm-promotion, url: {:?} }}]", hook.url()))?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        let status = stage.phase("WaitingPromotion").await?;
        assert!(status.message.contains("hook qa") && status.message.contains("403"), "{}", status.message);
        assert_eq!(status.weight_percent, 50.0, "it keeps its traffic, and shows it");
        answer.store(204, Ordering::SeqCst);
        stage.phase("Promoting").await?;
        let call = hook.calls().pop().context("a call")?;
        let known = ["name", "namespace", "checksum"].map(|key| call[key].as_str().unwrap_or_default().to_owned());
        assert_eq!(known, ["web", "default", "v2"]);
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rollback_hook_cuts() -> Result<()> {
    Case::run("rollback-hook", async |case| {
        let answer = Arc::new(AtomicU16::new(403));
        let said = Arc::clone(&answer);
        let hook = HookServer::start(move |_| said.load(Ordering::SeqCst)).await?;
        let ended: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = Arc::clone(&ended);
        let post = HookServer::start(move |body| {
            seen.lock().unwrap().push(body.clone());
            200
        })
        .await?;
        let manifest = quick("10, 20, 30, 40, 50, 60, 70, 80, 90")?.webhooks(&format!(
            "[{{ name: undo, type: rollback, url: {:?} }}, {{ name: after, type: post-rollout, url: {:?} }}]",
            hook.url(),
            post.url()
        ))?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        until("some canary traffic", WITHIN, async || {
            ensure!(load.samples().count_of("v2") > 10, "{:?}", load.samples().by_version());
            Ok(())
        })
        .await?;
        answer.store(200, Ordering::SeqCst);
        let status = stage.phase("Failed").await?;
        assert!(status.message.contains("undo requested a rollback"), "{}", status.message);
        until("the hook after the end", WITHIN, async || {
            let seen = ended.lock().unwrap().clone();
            ensure!(seen.len() == 1 && seen[0]["phase"] == "Failed", "{seen:?}");
            Ok(())
        })
        .await?;
        drop(load);
        stage.all_on_primary(100).await
    })
    .await
}

#[tokio::test]
async fn a_new_revision_in_mid_release_starts_over() -> Result<()> {
    Case::run("new-revision", async |case| {
        let stage = Stage::start(case, &quick("20, 50, 60, 70, 80, 90")?).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        until("its second step", WITHIN, async || {
            let status = stage.status().await?;
            ensure!(status.step >= 2, "step {}", status.step);
            Ok(())
        })
        .await?;
        stage.versions.canary.restart_as(Behaviour::healthy("v3"));
        stage.release("v3").await?;
        let status = stage.status().await?;
        assert_eq!((status.release, status.revision.as_deref(), status.failed_checks), (2, Some("v3"), 0));
        assert!(status.weight_percent <= 50.0, "{}", status.weight_percent);
        let page = stage.agent.cli(&["describe", "web"]).await?.ok()?;
        assert!(page.contains("release of v2 superseded by a newer revision"), "{page}");
        stage.phase("Promoting").await?;
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn traffic_returns_to_the_primary_in_steps() -> Result<()> {
    Case::run("step-back", async |case| {
        let manifest = quick("60")?.edit("    metrics:\n", "    stepWeightPromotion: 20\n    metrics:\n")?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        stage.phase("Promoting").await?;
        stage.versions.primary.restart_as(Behaviour::healthy("v2"));
        stage.agent.cli(&["confirm", "web", "--reason", "deployed"]).await?.ok()?;
        stage.phase("Succeeded").await?;
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        let weights: Vec<f64> = stage.events().await?.iter().map(|event| event.weight_percent).collect();
        let falling: Vec<f64> = weights.iter().copied().skip_while(|weight| *weight < 60.0).collect();
        for step in [[60.0, 40.0], [40.0, 20.0], [20.0, 0.0]] {
            assert!(falling.windows(2).any(|pair| pair == step), "{step:?} in {falling:?}");
        }
        stage.all_on_primary(100).await
    })
    .await
}

#[tokio::test]
async fn driven_by_hand_at_any_weight() -> Result<()> {
    Case::run("by-hand", async |case| {
        let stage = Stage::start(case, &Manifest::steady("10")?).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        stage.agent.cli(&["set-weight", "web", "--weight", "37.5", "--reason", "half of the west"]).await?.ok()?;
        stage.weight(37.5).await?;
        let before = stage.load().exactly(1_000).await?;
        // Five standard deviations of 1000 draws at 37.5 %.
        assert!((375 - 77..=375 + 77).contains(&before.count_of("v2")), "{:?}", before.by_version());
        assert_eq!(stage.status().await?.phase, "Paused");
        stage.agent.cli(&["resume", "web"]).await?.ok()?;
        stage.agent.cli(&["skip", "web", "--reason", "enough"]).await?.ok()?;
        stage.phase("Promoting").await?;
        stage.abort().await?;
        stage.agent.cli(&["retry", "web", "--reason", "once more"]).await?.ok()?;
        assert_eq!(stage.status().await?.release, 2);
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_dead_hook_delays_no_abort() -> Result<()> {
    Case::run("dead-hook", async |case| {
        // Nobody answers there: the connection is taken and nothing is ever said. The first traffic waits for the rollback
        // hook, or for its time-out.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", silent.local_addr()?);
        let manifest = Manifest::quick("20, 50")?.threshold(2)?.webhooks(&format!(
            "[{{ name: load, type: rollout, url: {url:?}, timeout: 1h }}, \
              {{ name: undo, type: rollback, url: {url:?}, timeout: 1s }}]"
        ))?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        stage.versions.canary.restart_as(Behaviour { fail_ratio: 1.0, ..Behaviour::healthy("v2") });
        let status = stage.phase("Failed").await?;
        assert!(status.message.contains("request-success-rate"), "{}", status.message);
        load.stop().await?;
        stage.all_on_primary(100).await
    })
    .await
}
