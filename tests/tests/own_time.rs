//! Whose time a request takes, on a real Envoy: a client that sends, reads or leaves slowly takes its own, and no healthy
//! version is aborted for it; and what is measured is what Envoy itself measures.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rollout::view::status::{CanaryStatus, VersionStatus};
use tests::case::Case;
use tests::manifest::Manifest;
use tests::slow_client::SlowClient;
use tests::stage::{Stage, WITHIN};
use tests::upstream::Behaviour;
use tests::wait::until;
use tokio::task::JoinSet;

const RPS: f64 = 100.0;
/// Beyond the latency limit of the shipped manifest, 500 ms.
const TOO_LONG: Duration = Duration::from_millis(800);
/// So many slow clients a second.
const SLOW_RPS: u64 = 40;
/// Slow requests on the canary with which the guard once aborted in a few seconds, many times over.
const ENOUGH: u64 = 60;

/// A healthy canary at 50 % under slow clients of one kind: nothing aborts, pauses or looks slow.
async fn left_alone(name: &str, client: SlowClient, manifest: Manifest) -> Result<()> {
    Case::run(name, async |case| {
        let stage = Stage::start(case, &manifest).await?;
        stage.released_at(50.0).await?;
        let load = stage.load().start(RPS).await?;
        let slow = client.steadily(stage.envoy.addr(), SLOW_RPS, |_| String::new());
        let status = until("enough slow clients on the canary", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{client:?}: {}", status.message);
            let ended = canary(&status)?.started - canary(&status)?.pending;
            let by_load = load.samples().count_of("v2");
            ensure!(ended >= by_load + ENOUGH, "{ended} ended, {by_load} of them fast");
            Ok(status)
        })
        .await?;
        drop(slow);
        let latency = status.guards.iter().find(|guard| guard.guard == "latency").context("no latency guard")?;
        // A busy machine may be slow now and then.
        ensure!(latency.canary_events * 100 <= latency.canary_trials, "{client:?}: {latency:?}");
        ensure!(canary(&status)?.failed == 0 && load.samples().bad() == 0, "{client:?}: {:?}", status.versions);
        Ok(())
    })
    .await
}

fn canary(status: &CanaryStatus) -> Result<&VersionStatus> {
    status.versions.last().filter(|version| version.version == "canary").context("no canary")
}

fn steady() -> Result<Manifest> {
    Manifest::steady("50")?.guarded()
}

#[tokio::test]
async fn slow_uploads_age_nobody() -> Result<()> {
    left_alone("slow-upload", SlowClient::Upload(TOO_LONG), steady()?).await?;
    left_alone("slow-chunks", SlowClient::ChunkedUpload(TOO_LONG), steady()?).await
}

#[tokio::test]
async fn uploads_that_are_never_finished_age_nobody() -> Result<()> {
    left_alone("left-upload", SlowClient::LeavesUpload(TOO_LONG), steady()?).await?;
    left_alone("reset-streams", SlowClient::ResetsStreams(TOO_LONG), steady()?).await
}

#[tokio::test]
async fn slow_downloads_age_nobody() -> Result<()> {
    left_alone("slow-download", SlowClient::Download(TOO_LONG), steady()?).await?;
    left_alone("left-download", SlowClient::LeavesDownload(TOO_LONG), steady()?).await
}

/// With nothing but a success rate to keep, no time is a verdict: a service may take as long as it likes.
#[tokio::test]
async fn without_a_limit_what_lasts_long_is_not_slow() -> Result<()> {
    Case::run("long-polls", async |case| {
        let metric = "      # The 95th percentile of latency in milliseconds; `quantile: 0.99` would choose another.\n      \
                      - name: request-duration\n        interval: 1s\n        thresholdRange: { max: 500 }\n";
        let manifest = steady()?.edit(metric, "")?;
        let stage = Stage::start(case, &manifest).await?;
        for version in [&stage.versions.primary, &stage.versions.canary] {
            version.set(|it| it.latency = Duration::from_secs(3));
        }
        stage.released_at(50.0).await?;
        let load = stage.load().start(20.0).await?;
        let status = until("long answers of the canary", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{}", status.message);
            ensure!(status.versions[1].succeeded >= ENOUGH, "{}", status.versions[1].succeeded);
            Ok(status)
        })
        .await?;
        let guards: Vec<&str> = status.guards.iter().map(|guard| guard.guard.as_str()).collect();
        ensure!(guards == ["slo", "regression", "clientErrors", "abandonment"], "{guards:?}");
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cold_start_is_forgiven_and_lasting_slowness_is_not() -> Result<()> {
    Case::run("warm-up", async |case| {
        let manifest = steady()?.edit("    warmUp: off\n", "    warmUp: { time: 4s }\n")?;
        let stage = Stage::start(case, &manifest).await?;
        stage.versions.canary.restart_as(Behaviour { latency: TOO_LONG, ..Behaviour::healthy("v2") });
        let load = stage.load().connections(64).start(RPS).await?;
        stage.released_at(50.0).await?;
        let before = until("slow answers in the warm-up", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{}", status.message);
            ensure!(status.versions[1].succeeded >= ENOUGH, "{}", status.versions[1].succeeded);
            Ok(status)
        })
        .await?;
        let latency = before.guards.iter().find(|guard| guard.guard == "latency").context("no latency guard")?;
        ensure!(latency.canary_trials == 0, "{latency:?}");
        let status = stage.phase("Failed").await?;
        ensure!(status.message.contains("guard latency"), "{}", status.message);
        drop(load);
        Ok(())
    })
    .await
}

/// Our clock beside Envoy's, for a client that sends slowly, and an upstream that claims another time.
#[tokio::test]
async fn our_clock_says_what_envoys_says_and_believes_no_upstream() -> Result<()> {
    Case::run("envoys-clock", async |case| {
        let stage = Stage::start(case, &steady()?).await?;
        stage.versions.canary.set(|it| {
            it.latency = Duration::from_millis(200);
            it.service_time_header = Some("9".to_owned());
        });
        stage.released_at(50.0).await?;
        let mut clients = JoinSet::new();
        for _ in 0..60 {
            let envoy = stage.envoy.addr();
            clients.spawn(async move {
                let began = Instant::now();
                let answer = SlowClient::Upload(TOO_LONG).run(envoy, "").await;
                answer.map(|answer| answer.map(|answer| (answer, began.elapsed().as_millis())))
            });
        }
        let answers: Result<Vec<_>> = clients.join_all().await.into_iter().collect();
        let answers: Vec<_> = answers?.into_iter().flatten().collect();
        ensure!(answers.iter().all(|(answer, _)| answer.status == 200), "{answers:?}");
        let totals = stage.totals(60).await?;
        let canary = totals.last().context("no canary")?;
        let ours = canary.p50_ms.context("no latency")?;
        // The primary answers at once, so these are the canary's.
        let mut of_canary: Vec<_> = answers.iter().map(|(answer, client_ms)| (answer.service_time_ms, *client_ms)).collect();
        of_canary.retain(|(envoys_ms, _)| *envoys_ms >= 100);
        of_canary.sort_unstable();
        let (envoys, client) = *of_canary.get(of_canary.len() / 2).context("no answer of the canary")?;
        println!("200 ms of work, 800 ms of upload: ours {ours} ms, Envoy's service time {envoys} ms, the client's {client} ms");
        let envoys = envoys as f64;
        ensure!((ours - envoys).abs() <= 0.1 * envoys, "ours {ours} ms, Envoy's {envoys} ms");
        ensure!(client as f64 >= envoys + 790.0, "the client waited {client} ms");
        Ok(())
    })
    .await
}
