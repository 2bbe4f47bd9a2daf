//! The harness itself: what it counts and paces must be right before anything that it says about Serin is believed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::case::Case;
use tests::envoy::{Envoy, EnvoySetup, validate};
use tests::load::Load;
use tests::upstream::{Behaviour, Counts, Upstream};
use tests::wait::until;
use tests::{edit, http};

const SEED: u64 = 7;

#[tokio::test]
async fn upstream_and_load_agree_on_every_count() -> Result<()> {
    let upstream = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
    upstream.set(|it| it.fail_ratio = 0.2);
    let samples = Load::new(upstream.addr()).connections(4).exactly(5_000).await?;

    let counts = upstream.counts();
    assert_eq!(counts.requests, 5_000);
    assert_eq!((samples.count(), samples.count_of("v1")), (5_000, 5_000));
    assert_eq!(samples.bad(), counts.failures);
    // Four standard deviations round 1000; the seed makes it the same number in every run.
    assert!((887..=1113).contains(&counts.failures), "{counts:?}");

    let again = Upstream::start(upstream.behaviour(), SEED).await?;
    Load::new(again.addr()).connections(3).exactly(5_000).await?;
    assert_eq!(again.counts(), counts);
    Ok(())
}

#[tokio::test]
async fn a_paced_load_sends_when_due_even_while_answers_are_slow() -> Result<()> {
    let upstream = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
    upstream.set(|it| it.latency = Duration::from_millis(200));
    // 200 per second at 200 ms each keep 40 connections busy: 2 would hold a closed loop to 10 per second.
    let running = Load::new(upstream.addr()).connections(2).start(200.0).await?;
    until("100 answers", Duration::from_secs(20), async || {
        let done = running.samples().count();
        ensure!(done >= 100, "{done} answers");
        Ok(())
    })
    .await?;
    let samples = running.stop().await?;

    let dues = || samples.0.iter().map(|sample| sample.due);
    let (first, last) = dues().min().zip(dues().max()).context("no samples")?;
    let due_s = last.duration_since(first).as_secs_f64();
    let planned_s = (samples.count() - 1) as f64 / 200.0;
    assert!((due_s - planned_s).abs() < 1e-6, "due within {due_s} s, planned {planned_s} s");
    let in_flight = |at| samples.0.iter().filter(|it| it.sent <= at && at < it.done).count();
    let most = samples.0.iter().map(|sample| in_flight(sample.sent)).max();
    assert!(most > Some(10), "at most {most:?} in flight at once");
    let mut indices: Vec<u64> = samples.0.iter().map(|sample| sample.index).collect();
    indices.sort_unstable();
    assert!(indices.iter().copied().eq(0..samples.count()), "each number once, none missing after stop");
    assert!(samples.latency_ms("v1", 0.5).context("no latencies")? >= 200.0);
    assert_eq!(upstream.counts().requests, samples.count());
    Ok(())
}

#[tokio::test]
async fn faults_appear_to_the_client_as_what_they_are() -> Result<()> {
    let mut upstream = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
    let load = Load::new(upstream.addr()).connections(2);

    upstream.set(|it| (it.fail_ratio, it.fail_status) = (1.0, 503));
    let failed = load.exactly(3).await?;
    assert!(failed.0.iter().all(|sample| sample.status == Some(503)), "{failed:?}");

    upstream.set(|it| (it.fail_ratio, it.reset_ratio) = (0.0, 1.0));
    let reset = load.exactly(3).await?;
    assert!(reset.0.iter().all(|sample| sample.status.is_none()), "{reset:?}");
    assert_eq!(reset.by_version().get("none").context("no count")?.bad, 3);
    assert_eq!(upstream.counts(), Counts { requests: 6, failures: 3, resets: 3, hangs: 0 });

    upstream.set(|it| {
        (it.reset_ratio, it.slow_ratio, it.slow_latency) = (0.0, 1.0, Duration::from_millis(50));
    });
    let slow = load.exactly(3).await?;
    assert!(slow.0.iter().all(|sample| sample.latency_ms() >= 50.0), "{slow:?}");

    upstream.set(|it| it.hang_ratio = 1.0);
    let hung = load.start(50.0).await?;
    until("hanging requests", Duration::from_secs(10), async || {
        ensure!(upstream.counts().hangs >= 2, "{:?}", upstream.counts());
        Ok(())
    })
    .await?;
    assert_eq!(hung.samples().count(), 0);
    upstream.down().await;
    assert!(load.exactly(1).await.is_err(), "nobody listens");
    upstream.up().await?;
    upstream.set(|it| *it = Behaviour::healthy("v2"));
    assert_eq!(load.exactly(1).await?.count_of("v2"), 1);
    Ok(())
}

#[tokio::test]
async fn a_restart_as_another_version_loses_no_request() -> Result<()> {
    let upstream = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
    let running = Load::new(upstream.addr()).connections(8).start(500.0).await?;
    for version in ["v2", "v3", "v4"] {
        let now = upstream.behaviour().version;
        until("50 answers of each version", Duration::from_secs(10), async || {
            ensure!(running.samples().count_of(&now) >= 50, "{:?}", running.samples().by_version());
            Ok(())
        })
        .await?;
        upstream.restart_as(Behaviour::healthy(version));
    }
    let samples = running.stop().await?;
    assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
    assert_eq!(samples.count(), upstream.counts().requests);
    Ok(())
}

#[tokio::test]
async fn the_shipped_configuration_is_valid_with_and_without_the_filter() -> Result<()> {
    Case::run("validate", async |case| {
        let upstream = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
        let setup = || EnvoySetup::new(upstream.addr(), upstream.addr());
        validate(case.dir(), &setup().edit(edit::without_filter))?;
        validate(case.dir(), &setup().edit(edit::without_header_guard))?;
        validate(case.dir(), &setup())?;
        let broken = setup().edit(|text| edit::replace_once(text, "name: web-primary\n      type: STATIC", "nome: x"));
        assert!(validate(case.dir(), &broken).is_err());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn envoy_without_the_filter_serves_the_default_route_and_ignores_the_clients_header() -> Result<()> {
    Case::run("bypassed", async |case| {
        let primary = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
        let canary = Upstream::start(Behaviour::healthy("v2"), SEED).await?;
        let setup = EnvoySetup::new(primary.addr(), canary.addr()).edit(edit::without_filter);
        let mut envoy = Envoy::start(case.dir(), setup).await?;

        let load = Load::new(envoy.addr()).headers(|_| vec![("x-serin-upstream".into(), "web-canary".into())]);
        let samples = load.exactly(400).await?;
        assert_eq!((samples.count_of("v1"), samples.bad()), (400, 0), "{:?}", samples.by_version());
        assert_eq!(envoy.counter("cluster.web-primary.upstream_rq_total").await?, 400);
        assert_eq!(envoy.stats("cluster.web-canary.upstream_rq_total").await?.values().sum::<u64>(), 0);
        assert!(envoy.counter("cluster.web-primary.upstream_rq_totl").await.is_err());

        let before = envoy.addr();
        envoy.restart().await?;
        assert_eq!(envoy.addr(), before);
        assert_eq!(envoy.counter("cluster.web-primary.upstream_rq_total").await?, 0);
        assert_eq!(load.exactly(10).await?.count_of("v1"), 10);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_decision_header_chooses_the_upstream() -> Result<()> {
    Case::run("routes", async |case| {
        let primary = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
        let canary = Upstream::start(Behaviour::healthy("v2"), SEED).await?;
        // Without filter and guard the client stands in for the filter.
        let setup = EnvoySetup::new(primary.addr(), canary.addr()).edit(edit::without_filter);
        let envoy = Envoy::start(case.dir(), setup.edit(edit::without_header_guard)).await?;
        for (decision, version) in [("web-canary", "v2"), ("web-primary", "v1"), ("web-other", "v1")] {
            let headers = [("x-serin-upstream", decision)];
            let answer = http::request(envoy.addr(), hyper::Method::GET, "/", &headers, "").await?;
            assert_eq!((answer.header("x-version"), answer.header("x-decision")), (Some(version), Some(decision)));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_envoy_that_cannot_start_is_reported_with_its_log() -> Result<()> {
    Case::run("refused", async |case| {
        let upstream = Upstream::start(Behaviour::healthy("v1"), SEED).await?;
        let setup = EnvoySetup::new(upstream.addr(), upstream.addr()).edit(edit::without_filter);
        let setup = setup.edit(|text| edit::replace_once(text, "domains: [\"*\"]", "domains: []"));
        let Err(error) = Envoy::start(case.dir(), setup).await else { anyhow::bail!("it started") };
        assert!(format!("{error:#}").contains("Domains"), "{error:#}");
        Ok(())
    })
    .await
}
