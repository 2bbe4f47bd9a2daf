//! Envoy killed and started again, and a filter VM that traps: what users meet, and that nothing is counted twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::Method;
use tests::case::Case;
use tests::edit::replace_once;
use tests::envoy::EnvoySetup;
use tests::load::Load;
use tests::manifest::Manifest;
use tests::samples::{Sample, Samples};
use tests::stage::{Stage, Versions, WITHIN, WORKERS};
use tests::wait::until;
use tests::{http, parts};

/// What a killed Envoy takes with it are requests that its workers had not reported: they report every 100 ms during a
/// release; ten times that allows for a machine that is busy with other things.
const UNREPORTED: Duration = Duration::from_secs(1);

async fn incarnations(stage: &Stage) -> Result<BTreeSet<String>> {
    let workers = stage.workers().await?;
    Ok(workers.into_iter().filter(|worker| worker.connected).map(|worker| worker.incarnation).collect())
}

#[tokio::test]
async fn a_restarted_envoy_is_a_new_incarnation_and_nothing_counts_twice() -> Result<()> {
    Case::run("restart", async |case| {
        let mut stage = Stage::start(case, &Manifest::steady("50")?).await?;
        stage.released_at(50.0).await?;
        let quiet = stage.load().exactly(1_000).await?;
        stage.totals_as_envoy(1_000).await?;
        let first = incarnations(&stage).await?;

        // At rest: not one request is lost, not one counts again.
        stage.envoy.restart().await?;
        stage.in_sync(WORKERS).await?;
        let second = incarnations(&stage).await?;
        assert!(first.is_disjoint(&second) && second.len() == WORKERS, "{first:?}, then {second:?}");
        let after = stage.load().exactly(1_000).await?;
        stage.totals(2_000).await?;
        assert_eq!((quiet.bad(), after.bad()), (0, 0));

        // In full load: at most what was not reported is missing.
        let load = stage.load().start(300.0).await?;
        until("600 answers", WITHIN, async || {
            ensure!(load.samples().count() >= 600);
            Ok(())
        })
        .await?;
        let killed_at = Instant::now();
        stage.envoy.restart().await?;
        stage.in_sync(WORKERS).await?;
        let restarted_at = Instant::now();
        until("300 answers after the restart", WITHIN, async || {
            ensure!(load.samples().0.iter().filter(|sample| sample.sent > restarted_at).count() >= 300);
            Ok(())
        })
        .await?;
        let samples = load.stop().await?;
        // A client that met the dead Envoy has no status. Nobody but the killed Envoy's users may have been lost.
        let answered = samples.0.iter().filter(|sample| sample.status.is_some()).count() as u64;
        let lost = |sample: &&Sample| sample.done > killed_at - UNREPORTED && sample.sent < restarted_at;
        let at_risk = samples.0.iter().filter(lost).count() as u64;
        let seen = until("the totals to stand still", WITHIN, async || {
            let count = || async {
                let totals = stage.status().await?.totals;
                anyhow::Ok(totals.iter().map(|total| total.started).sum::<u64>())
            };
            let counted = count().await?;
            // Two reports of every worker later.
            stage.load().exactly(20).await?;
            until("20 more", Duration::from_secs(5), async || {
                let now = count().await?;
                ensure!(now == counted + 20, "{now} after {counted}");
                Ok(())
            })
            .await?;
            Ok(counted)
        })
        .await?;
        let (most, least) = (2_000 + samples.count(), 2_000 + answered - at_risk.min(answered));
        assert!((least..=most).contains(&seen), "counted {seen}, not within {least} to {most}");
        Ok(())
    })
    .await
}

/// Both workers busy on the canary at 50 %, 64 requests open; then one worker's VM traps. Returns how the open ones ended
/// and what new ones met in the two seconds after the trap.
async fn trap_with_open_requests(stage: &Stage) -> Result<(Samples, Samples)> {
    stage.released_at(50.0).await?;
    let versions = [&stage.versions.primary, &stage.versions.canary];
    let reached = || versions.iter().map(|version| version.counts().requests).sum::<u64>();
    let before = reached();
    versions.iter().for_each(|version| version.set(|it| it.latency = Duration::from_secs(3)));
    // 64 connections: the kernel spreads them over both worker threads.
    let open = stage.load().connections(64);
    let (open, after) = tokio::join!(open.exactly(64), async {
        until("64 open requests", WITHIN, async || {
            ensure!(reached() == before + 64, "{}", reached() - before);
            Ok(())
        })
        .await?;
        versions.iter().for_each(|version| version.set(|it| it.latency = Duration::ZERO));
        let asks = [("x-serin-test-trap", "1")];
        // Broken off, or a 5xx: the request in which the VM trapped is lost.
        let trapped = http::request(stage.envoy.addr(), Method::GET, "/", &asks, "").await;
        ensure!(trapped.as_ref().map_or(true, |answer| answer.status >= 500), "{trapped:?}");
        stage.load().for_duration(200.0, Duration::from_secs(2)).await
    });
    Ok((open?, after?))
}

async fn stage_that_traps(case: &Case, change: impl FnOnce(EnvoySetup) -> EnvoySetup) -> Result<Stage> {
    let module = parts::trap_module()?;
    let versions = Versions::start().await?;
    Stage::start_with(case, versions, &Manifest::steady("50")?, |setup| change(setup.module(module))).await
}

/// Which versions 40 requests on one connection got: one connection stays on one worker thread.
async fn on_one_thread(addr: std::net::SocketAddr) -> Result<Samples> {
    Load::new(addr).connections(1).exactly(40).await
}

#[tokio::test]
async fn a_trapped_vm_is_bypassed_as_shipped() -> Result<()> {
    Case::run("fail-open", async |case| {
        let stage = stage_that_traps(case, |setup| setup).await?;
        let (open, after) = trap_with_open_requests(&stage).await?;
        assert!(
            open.bad() > 0 && open.bad() < 64,
            "of the open requests one thread's must fail: {:?}",
            open.by_version()
        );
        assert_eq!(after.bad(), 0, "{:?}", after.by_version());

        // The worker's stream is gone: the agent no longer counts on it.
        stage.in_sync(WORKERS - 1).await?;
        assert_eq!(stage.status().await?.workers_lost, 1, "its evidence is marked as missing");
        // Nobody is refused. One thread sends nothing to the canary, and the other goes on splitting.
        let (mut bypassed, mut splitting) = (0, 0);
        for _ in 0..40 {
            let samples = on_one_thread(stage.envoy.addr()).await?;
            assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
            // 40 draws at 50 % that all miss: once in 10^12.
            if samples.count_of("v2") == 0 { bypassed += 1 } else { splitting += 1 }
        }
        assert!(bypassed > 0 && splitting > 0, "{bypassed} connections bypassed, {splitting} split");
        let log = stage.envoy.log()?;
        assert!(log.contains("trapped on purpose"), "Envoy's log must say why");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_trapped_vm_is_replaced_under_fail_reload() -> Result<()> {
    Case::run("fail-reload", async |case| {
        let policy = |text: &str| {
            let of_router = |policy| format!("failure_policy: {policy}\n                        vm_config: &serin_vm");
            replace_once(text, &of_router("FAIL_OPEN"), &of_router("FAIL_RELOAD"))
        };
        let stage = stage_that_traps(case, |setup| setup.edit(policy)).await?;
        let first = incarnations(&stage).await?;
        let (open, after) = trap_with_open_requests(&stage).await?;
        assert!(
            open.bad() > 0 && open.bad() < 64,
            "of the open requests one thread's must fail: {:?}",
            open.by_version()
        );
        // The thread refused everything during the back-off, as the shipped file says, and nothing else went wrong.
        let refused =
            after.0.iter().filter(|sample| sample.status == Some(503) && sample.version.is_none()).count() as u64;
        assert!(refused > 0 && refused == after.bad() && refused < after.count(), "{:?}", after.by_version());

        stage.in_sync(WORKERS).await?;
        let second = incarnations(&stage).await?;
        assert_eq!(first.intersection(&second).count(), WORKERS - 1, "one new life: {first:?}, {second:?}");
        // From now on nobody is refused, and both threads split again.
        until("40 good requests on each of 10 connections", WITHIN, async || {
            for _ in 0..10 {
                let samples = on_one_thread(stage.envoy.addr()).await?;
                ensure!(samples.bad() == 0 && samples.count_of("v2") > 0, "{:?}", samples.by_version());
            }
            Ok(())
        })
        .await?;
        Ok(())
    })
    .await
}
