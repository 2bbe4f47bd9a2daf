//! Envoy killed in the middle of a release, on a real Envoy: what its workers had open does not hold the release up for ever.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollout::judgement::certificate::CertificateVerdict;
use rollout::release::phase::{Note, Proof};
use rollout::view::explanation::Explanation;
use tests::case::Case;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN, WORKERS};
use tests::wait::until;

const RPS: f64 = 40.0;
/// Within the latency limit of 500 ms, so that what is open is left out.
const SLOW: Duration = Duration::from_millis(300);

/// What the first step was left on.
async fn proof(stage: &Stage) -> Result<CertificateVerdict> {
    let events = stage.events().await?;
    let proven = events.into_iter().find_map(|event| match event.detail {
        Note::Stepped { proof: Some(Proof::Certificate(verdict)), .. } => Some(verdict),
        _ => None,
    });
    proven.context("no step was left on a certificate")
}

#[tokio::test]
async fn a_killed_envoy_does_not_hold_up_the_certificate() -> Result<()> {
    Case::run("killed", async |case| {
        let mut stage = Stage::start(case, &Manifest::certified("50, 60")?).await?;
        let versions = [&stage.versions.primary, &stage.versions.canary];
        versions.iter().for_each(|version| version.set(|it| it.latency = SLOW));
        let load = stage.load().start(RPS).await?;
        // The slots of a step are as long as the traffic before it asks for.
        until("traffic that is known", WITHIN, async || {
            ensure!(load.samples().count() as f64 >= RPS * 12.0, "{}", load.samples().count());
            Ok(())
        })
        .await?;
        stage.release("v2").await?;
        until("open requests of the canary", WITHIN, async || {
            let canary = &stage.status().await?.versions[1];
            ensure!(canary.started >= 100 && canary.pending >= 4, "{canary:?}");
            Ok(())
        })
        .await?;
        stage.envoy.restart().await?;
        for version in [&stage.versions.primary, &stage.versions.canary] {
            version.set(|it| it.latency = Duration::ZERO);
        }
        stage.in_sync(WORKERS).await?;
        let lost = until("what is missing to be named", WITHIN, async || {
            let shown: Explanation =
                serde_json::from_str(&stage.agent.cli(&["explain", "web", "-o", "json"]).await?.ok()?)?;
            let certificate = shown.certificate.context("no certificate")?;
            ensure!(certificate.left_out > 0, "{certificate:?}");
            Ok(certificate)
        })
        .await?;
        ensure!((1..=2).contains(&lost.gone_workers), "{lost:?}");
        until("the next step", WITHIN, async || {
            let status = stage.status().await?;
            ensure!(status.step == 2, "{}", status.message);
            Ok(())
        })
        .await?;
        let proof = proof(&stage).await?;
        let trials = proof.findings[0].canary.trials;
        ensure!((372..700).contains(&trials), "{trials} requests for 372: {proof:?}");
        ensure!(proof.left_out.requests > 0 && !proof.left_out.is_too_much(), "{proof:?}");
        drop(load);
        Ok(())
    })
    .await
}
