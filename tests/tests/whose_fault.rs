//! Whose fault a failure is, on a real Envoy: what both versions suffer aborts nothing and takes no traffic from the canary,
//! nor does what a client chose; what is the canary's own is found, also where no status says so.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollout::view::status::{CanaryStatus, VersionStatus};
use tests::case::Case;
use tests::load::Load;
use tests::manifest::Manifest;
use tests::slow_client::SlowClient;
use tests::stage::{Stage, WITHIN};
use tests::upstream::Behaviour;
use tests::wait::until;
use tokio::task::JoinSet;

const RPS: f64 = 150.0;
/// Failures of the canary with which the guard once aborted, many times over.
const ENOUGH: u64 = 40;

fn canary(status: &CanaryStatus) -> Result<&VersionStatus> {
    status.versions.iter().find(|version| version.version == "canary").context("no canary")
}

/// Failures that both versions have, then such as only the canary has.
async fn shared(name: &str, weight: &str, kind: Behaviour, load: impl Fn(Load) -> Load) -> Result<()> {
    Case::run(name, async |case| {
        let stage = Stage::start(case, &Manifest::steady(weight)?.guarded()?).await?;
        let version = |version: &str| Behaviour { version: version.into(), ..kind.clone() };
        stage.versions.primary.restart_as(version("v1"));
        stage.versions.canary.restart_as(version("v2"));
        let load = load(stage.load().connections(64)).start(RPS).await?;
        stage.release("v2").await?;
        let status = until("failures of the canary that the primary shares", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{name}: {}", status.message);
            ensure!(canary(&status)?.failed >= ENOUGH, "{:?}", canary(&status)?);
            Ok(status)
        })
        .await?;
        let all: u64 = status.versions.iter().map(|version| version.started).sum();
        let due = weight.parse::<f64>()? / 100.0 * all as f64;
        ensure!(canary(&status)?.started as f64 >= 0.7 * due, "its share is not served: {:?}", status.versions);
        let events = stage.events().await?;
        ensure!(!events.iter().any(|event| event.message.contains("fuse")), "{:?}", events.last());
        stage.versions.primary.set(|it| it.fail_ratio = 0.0);
        let status = stage.phase("Failed").await?;
        ensure!(status.message.contains("guard"), "{}", status.message);
        drop(load);
        Ok(())
    })
    .await
}

fn failing(share: f64) -> Behaviour {
    Behaviour { fail_ratio: share, ..Behaviour::healthy("") }
}

#[tokio::test]
async fn what_fails_on_both_versions_is_not_the_canarys() -> Result<()> {
    shared("shared-500", "20", failing(0.3), |load| load).await?;
    shared("shared-half", "50", Behaviour { fail_status: 503, ..failing(0.2) }, |load| load).await
}

#[tokio::test]
async fn calls_that_fail_on_both_versions_are_not_the_canarys() -> Result<()> {
    let kind = |kind: &'static str| {
        move |load: Load| load.headers(move |_| vec![("content-type".to_owned(), kind.to_owned())])
    };
    shared("shared-grpc", "20", Behaviour { is_grpc: true, ..failing(0.3) }, kind("application/grpc")).await?;
    let web = Behaviour { is_grpc_web: true, ..failing(0.3) };
    shared("shared-grpc-web", "20", web, kind("application/grpc-web+proto")).await
}

/// Clients that a rule sends to the canary, with requests that it answers 501, as it would any client's.
#[tokio::test]
async fn what_a_client_chose_beside_the_split_decides_nothing() -> Result<()> {
    Case::run("chosen", async |case| {
        let rule = "[{ headers: { x-canary: { exact: always } } }]";
        let stage = Stage::start(case, &Manifest::steady("20")?.guarded()?.matching(rule)?).await?;
        let load = stage.load().connections(32).start(RPS).await?;
        stage.released_at(20.0).await?;
        let chosen = |_| vec![("x-canary".to_owned(), "always".to_owned())];
        let poison = stage.load().path("/?status=501").headers(chosen).start(50.0).await?;
        let status = until("chosen failures", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{}", status.message);
            ensure!(canary(&status)?.failed >= 2 * ENOUGH, "{:?}", canary(&status)?);
            Ok(status)
        })
        .await?;
        ensure!(load.samples().bad() == 0 && status.workers_tripped == 0, "{:?}", load.samples().by_version());
        drop((load, poison));
        Ok(())
    })
    .await
}

/// Pauses by a guard, with the canary behaving like this under such clients.
async fn pauses(
    name: &str,
    guard: &str,
    behaviour: Behaviour,
    clients: impl Fn(SocketAddr) -> JoinSet<()>,
) -> Result<()> {
    Case::run(name, async |case| {
        let stage = Stage::start(case, &Manifest::steady("50")?.guarded()?).await?;
        stage.versions.canary.restart_as(behaviour);
        let load = stage.load().connections(64).start(RPS / 2.0).await?;
        let clients = clients(stage.envoy.addr());
        stage.release("v2").await?;
        stage.phase("Paused").await?;
        let events = stage.events().await?;
        let tripped = format!("tripped: guard {guard}");
        ensure!(events.iter().any(|event| event.message.contains(&tripped)), "{:?}", events.last());
        drop((clients, load));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_canary_that_answers_404_to_everything_is_no_success() -> Result<()> {
    let lost = Behaviour { fail_ratio: 1.0, fail_status: 404, ..Behaviour::healthy("v2") };
    pauses("not-found", "clientErrors", lost, |_| JoinSet::new()).await
}

#[tokio::test]
async fn a_canary_that_stops_reading_uploads_is_not_invisible() -> Result<()> {
    pauses("unread", "abandonment", Behaviour { leaves_uploads: true, ..Behaviour::healthy("v2") }, |envoy| {
        SlowClient::LeavesLargeUpload(Duration::from_secs(1)).steadily(envoy, 4, |_| String::new())
    })
    .await
}
