//! The fuse on a real Envoy: without an agent it stops a canary that is plainly broken, for good; an agent that comes back
//! learns of it and aborts the release everywhere.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollout::release::phase::Note;
use tests::case::Case;
use tests::edit::with_keys;
use tests::envoy::Envoy;
use tests::load::{Load, Running};
use tests::manifest::Manifest;
use tests::samples::Samples;
use tests::stage::{Stage, Versions, WITHIN, WORKERS};
use tests::upstream::Behaviour;
use tests::wait::until;

const RPS: f64 = 400.0;
/// Bad answers of the canary that both workers together may let through. At half of the traffic a failure tells the versions
/// apart by a factor of two at most, so it takes 14 to 20 on each, and as many again while a busy machine's primary answers.
const FEW: u64 = 100;
/// The same, with those of users whom a rule pins on top: they say nothing to a fuse.
const FEW_WITH_PINNED: u64 = 150;

fn dead() -> Behaviour {
    Behaviour { fail_ratio: 1.0, ..Behaviour::healthy("v2") }
}

fn bad_of_canary(samples: &Samples) -> u64 {
    samples.by_version().get("v2").map_or(0, |count| count.bad)
}

/// Waits until the canary has answered this often.
async fn canary_answers(load: &Running, count: u64) -> Result<()> {
    until("answers of the canary", WITHIN, async || {
        let answered = load.samples().count_of("v2");
        ensure!(answered >= count, "{answered} of {count}");
        Ok(())
    })
    .await
}

/// Waits until the agent knows how much traffic there is, from which follow the slots of the step that follows. Slots as
/// long as for no traffic would mix what the canary did before with how it died.
async fn traffic_known(stage: &Stage) -> Result<()> {
    until("traffic known to the agent", WITHIN, async || {
        let started: u64 = stage.status().await?.totals.iter().map(|total| total.started).sum();
        ensure!(started >= 1_000, "{started} requests");
        Ok(())
    })
    .await
}

/// Waits until there were many answers and none from the canary for this long.
async fn silence_of_canary(load: &Running, span: Duration) -> Result<()> {
    until("no traffic to the canary", WITHIN, async || {
        let recent = load.recent(span);
        let (on_canary, all) = (recent.count_of("v2"), recent.count());
        ensure!(on_canary == 0 && all as f64 > RPS * span.as_secs_f64() / 2.0, "{on_canary} of {all}");
        Ok(())
    })
    .await
}

/// The sum of a statistic of the filter over everything whose name begins so.
async fn filter_stat(envoy: &Envoy, name: &str) -> Result<u64> {
    Ok(envoy.stats(&format!("wasmcustom.serin.{name}")).await?.values().sum())
}

/// Waits until the agent has recorded a trip: guards may abort on what workers reported just before.
async fn trip_reported(stage: &Stage) -> Result<()> {
    until("a reported trip", WITHIN, async || {
        let events = stage.events().await?;
        ensure!(events.iter().any(|event| matches!(event.detail, Note::FuseTripped { .. })), "{events:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_canary_that_dies_while_the_agent_is_dead_is_cut_by_the_workers_and_everywhere_once_it_is_back() -> Result<()>
{
    Case::run("fuse-alone", async |case| {
        let rules = "[{ headers: { x-canary: { present: true } } }]";
        let manifest = Manifest::steady("50")?.guarded()?.matching(rules)?;
        let mut stage = Stage::start(case, &manifest).await?;
        // Some users are pinned to the canary: they get the primary as well.
        let pinned = |n| if n % 4 == 0 { vec![("x-canary".to_owned(), "1".to_owned())] } else { vec![] };
        let load = stage.load().headers(pinned).start(RPS).await?;
        traffic_known(&stage).await?;
        stage.released_at(50.0).await?;
        canary_answers(&load, 600).await?;
        stage.agent.kill9()?;
        canary_answers(&load, 1_000).await?;

        stage.versions.canary.set(|it| *it = dead());
        silence_of_canary(&load, Duration::from_secs(2)).await?;
        let bad = bad_of_canary(&load.samples());
        ensure!((1..=FEW_WITH_PINNED).contains(&bad), "{bad} bad answers");
        assert_eq!(filter_stat(&stage.envoy, "tripped").await?, 2, "both workers that serve traffic");
        assert_eq!(filter_stat(&stage.envoy, "weight_ppm").await?, 0);

        // It is well again, but there is nobody who could say so.
        stage.versions.canary.set(|it| *it = Behaviour::healthy("v2"));
        silence_of_canary(&load, Duration::from_secs(4)).await?;
        assert_eq!(bad_of_canary(&load.samples()), bad);

        // The few bad answers may be too few for the guards: then the agent arms the fuses again, and a canary that is
        // still dead is stopped by what follows.
        stage.versions.canary.set(|it| *it = dead());
        stage.agent.start_again().await?;
        let status = stage.phase("Failed").await?;
        ensure!(status.message.contains("guard"), "{}", status.message);
        stage.in_sync(WORKERS).await?;
        trip_reported(&stage).await?;
        let samples = load.stop().await?;
        let bad = bad_of_canary(&samples);
        ensure!((1..=2 * FEW_WITH_PINNED).contains(&bad), "{bad} bad answers");
        stage.totals_as_envoy(samples.count()).await?;
        stage.all_on_primary(50).await
    })
    .await
}

#[tokio::test]
async fn a_trip_is_told_at_once_and_leads_to_a_cut_everywhere() -> Result<()> {
    Case::run("fuse-reported", async |case| {
        let mut stage = Stage::start(case, &Manifest::steady("50")?.guarded()?).await?;
        let load = stage.load().start(RPS).await?;
        traffic_known(&stage).await?;
        stage.released_at(50.0).await?;
        canary_answers(&load, 600).await?;
        // Frozen, so that it is the fuse that acts, and the guards follow.
        stage.agent.process().freeze()?;
        stage.versions.canary.set(|it| *it = dead());
        silence_of_canary(&load, Duration::from_secs(1)).await?;
        stage.agent.process().thaw()?;
        let status = stage.phase("Failed").await?;
        ensure!(status.message.contains("guard"), "{}", status.message);
        trip_reported(&stage).await?;
        let bad = bad_of_canary(&load.stop().await?);
        ensure!((1..=FEW).contains(&bad), "{bad} bad answers");
        assert_eq!(filter_stat(&stage.envoy, "faults").await?, 0, "the host let a request's event speak to the agent");
        until("fuses armed by the entry of the abort", WITHIN, async || {
            let tripped = filter_stat(&stage.envoy, "tripped").await?;
            ensure!(tripped == 0, "{tripped}");
            Ok(())
        })
        .await
    })
    .await
}

/// Two proxies: at one only the canary fails, so its fuses trip; at the other, with far more requests, both versions do. Of
/// all together the canary has hardly more failures than the primary, which no guard holds against it.
#[tokio::test]
async fn a_trip_that_the_guards_forgive_is_rearmed_and_the_release_goes_on() -> Result<()> {
    Case::run("fuse-forgiven", async |case| {
        let stage = Stage::start(case, &Manifest::steady("50")?.guarded()?).await?;
        let ill = stage.versions.setup().node("ill").concurrency(1).agent(stage.agent.grpc());
        let ill = Envoy::start(case.dir(), ill).await?;
        let load = stage.load().start(RPS / 4.0).await?;
        let poison = Load::new(ill.addr()).path("/?status=500").start(2.0 * RPS).await?;
        stage.in_sync(WORKERS + 2).await?;
        traffic_known(&stage).await?;
        stage.release("v2").await?;
        canary_answers(&load, 100).await?;
        canary_answers(&poison, 600).await?;

        stage.versions.canary.set(|it| *it = dead());
        trip_reported(&stage).await?;
        stage.versions.canary.set(|it| *it = Behaviour::healthy("v2"));
        until("fuses that are armed again", WITHIN, async || {
            let (status, events) = (stage.status().await?, stage.events().await?);
            assert_eq!(status.phase, "Progressing", "{}", status.message);
            let is_rearmed = events.iter().any(|event| event.detail == Note::Rearmed);
            ensure!(is_rearmed && status.workers_tripped == 0, "{} tripped, {events:?}", status.workers_tripped);
            Ok(())
        })
        .await?;
        let tripped: Vec<String> = stage.workers().await?.into_iter().flat_map(|worker| worker.tripped).collect();
        assert_eq!(tripped, Vec::<String>::new());
        canary_answers(&load, load.samples().count_of("v2") + 100).await?;
        let status = stage.status().await?;
        assert_eq!((status.phase.as_str(), status.weight_percent), ("Progressing", 50.0), "{}", status.message);
        drop((load, poison));
        Ok(())
    })
    .await
}

/// An Envoy without an agent, half of its traffic to a healthy canary with a fuse, and the load on it.
async fn static_stage(case: &Case) -> Result<(Versions, Envoy, Running)> {
    let versions = Versions::start().await?;
    let fuse = r#"{ "minSuccessRate": 99, "maxLatencyMs": 500 }"#;
    let canary = format!(
        r#""canaries": [{{ "namespace": "default", "name": "web", "hosts": ["*"], "weight": 50, "fuse": {fuse} }}]"#
    );
    let setup = versions.setup().edit(move |text| with_keys(text, &canary));
    let envoy = Envoy::start(case.dir(), setup).await?;
    let load = Load::new(envoy.addr()).connections(64).start(RPS).await?;
    canary_answers(&load, 300).await?;
    Ok((versions, envoy, load))
}

/// Waits until both workers that serve traffic have tripped; then nothing more may go to the canary.
async fn stays_cut(envoy: &Envoy, load: &Running) -> Result<()> {
    until("both fuses tripped", WITHIN, async || {
        let tripped = filter_stat(envoy, "tripped").await?;
        ensure!(tripped == 2, "{tripped}");
        Ok(())
    })
    .await?;
    let name = "cluster.web-canary.upstream_rq_total";
    let before = envoy.counter(name).await?;
    silence_of_canary(load, Duration::from_secs(2)).await?;
    assert_eq!(envoy.counter(name).await?, before, "not one request more");
    assert_eq!(filter_stat(envoy, "trips").await?, 2);
    let said = envoy.log()?.matches("serin: the fuse of default/web has tripped").count();
    assert_eq!(said, 2, "once for each worker");
    Ok(())
}

#[tokio::test]
async fn a_static_canary_that_hangs_is_cut_by_its_fuse() -> Result<()> {
    Case::run("fuse-hang", async |case| {
        let (versions, envoy, load) = static_stage(case).await?;
        versions.canary.set(|it| it.hang_ratio = 1.0);
        stays_cut(&envoy, &load).await?;
        // Half a second of hangs, and the time to see them.
        let hung = versions.canary.counts().hangs;
        ensure!((1..RPS as u64).contains(&hung), "{hung} requests hung");
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_static_canary_that_refuses_connections_is_cut_by_its_fuse() -> Result<()> {
    Case::run("fuse-refused", async |case| {
        let (mut versions, envoy, load) = static_stage(case).await?;
        Arc::get_mut(&mut versions.canary).context("the canary's upstream is held elsewhere")?.down().await;
        stays_cut(&envoy, &load).await?;
        let bad = load.stop().await?.bad();
        ensure!((1..=FEW).contains(&bad), "{bad} bad answers");
        Ok(())
    })
    .await
}
