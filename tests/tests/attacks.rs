//! Attacks on a healthy release behind a real Envoy, those that no other file has: HTTP/2 streams of which only the headers
//! come, and cookies that are invented. None aborts it, and a canary that turns bad meanwhile is aborted.
//!
//! Slow clients are in own_time.rs, poison and chosen requests in whose_fault.rs; twenty rounds of each attack are
//! `cargo xtask bench attacks -- --envoy`.

#![cfg(test)]

use anyhow::{Context, Result, ensure};
use rollout::view::status::{CanaryStatus, VersionStatus};
use tests::attack::LiveAttack;
use tests::case::Case;
use tests::stage::{Stage, WITHIN};
use tests::wait::until;

const RPS: f64 = 100.0;

fn canary(status: &CanaryStatus) -> Result<&VersionStatus> {
    status.versions.iter().find(|version| version.version == "canary").context("no canary")
}

/// Until the attack was felt nothing aborts; then the canary fails everything.
async fn stands(name: &str, attack: LiveAttack, was_felt: impl Fn(&VersionStatus, u64) -> bool) -> Result<()> {
    Case::run(name, async |case| {
        let stage = Stage::start(case, &attack.manifest("50")?).await?;
        let load = attack.users(&stage).start(RPS).await?;
        stage.released_at(50.0).await?;
        let attackers = attack.start(&stage).await?;
        let status = until("the attack at the canary", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{}: {}", attack.name(), status.message);
            let seen = canary(&status)?;
            ensure!(was_felt(seen, load.samples().count_of("v2")), "{seen:?}");
            Ok(status)
        })
        .await?;
        ensure!(load.samples().bad() == 0 && status.workers_tripped == 0, "{:?}", load.samples().by_version());
        let latency = status.guards.iter().find(|guard| guard.guard == "latency").context("no latency guard")?;
        // What failed counts as slow too; beyond that, a busy machine may be slow now and then.
        let slow = latency.canary_events.saturating_sub(canary(&status)?.failed);
        ensure!(slow * 100 <= latency.canary_trials, "{}: {latency:?}", attack.name());
        stage.versions.canary.set(|it| it.fail_ratio = 1.0);
        let status = stage.phase("Failed").await?;
        ensure!(status.message.contains("guard"), "{}", status.message);
        drop((attackers, load));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn streams_of_headers_alone_age_nobody() -> Result<()> {
    // More of them than the users' requests: once 100 of one connection were enough.
    let felt =
        |canary: &VersionStatus, of_users: u64| canary.started - canary.pending >= of_users + 150 && canary.failed == 0;
    stands("headers-alone", LiveAttack::HeaderStreams, felt).await
}

#[tokio::test]
async fn who_invents_cookies_speaks_for_nobody() -> Result<()> {
    stands("invented", LiveAttack::InventedCookies, |canary, _| canary.failed >= 80).await
}
