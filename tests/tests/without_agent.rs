//! An agent that was never started, comes late, falls silent; a filter that lives without one, or with a bad configuration.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::agent::Agent;
use tests::case::Case;
use tests::edit::with_keys;
use tests::envoy::Envoy;
use tests::load::Load;
use tests::manifest::Manifest;
use tests::stage::{Stage, Versions, WITHIN, WORKERS, ensure_all_from};
use tests::wait::until;

#[tokio::test]
async fn without_an_agent_all_goes_to_the_default_upstream_until_one_comes() -> Result<()> {
    Case::run("absent", async |case| {
        let versions = Versions::start().await?;
        // Only to have an address; nothing has connected to it when it ends.
        let mut agent = Agent::start(case.dir(), &Manifest::steady("50")?.write(case)?).await?;
        agent.kill9()?;
        let envoy = Envoy::start(case.dir(), versions.setup().agent(agent.grpc())).await?;
        let alone = Load::new(envoy.addr()).for_duration(300.0, Duration::from_secs(3)).await?;
        ensure_all_from(&alone, "v1")?;
        assert_eq!(envoy.counter("cluster.web-primary.upstream_rq_total").await?, alone.count());
        assert_eq!(envoy.stats("cluster.web-canary.upstream_rq_total").await?.values().sum::<u64>(), 0);
        let said = envoy.log()?.matches("serin: no connection to agent").count();
        assert!((1..=WORKERS).contains(&said), "said {said} times, once for each worker at most");

        agent.start_again().await?;
        let stage = Stage { versions, agent, envoy };
        stage.in_sync(WORKERS).await?;
        stage.released_at(50.0).await?;
        let samples = stage.load().exactly(200).await?;
        assert!(samples.count_of("v2") > 0 && samples.bad() == 0, "{:?}", samples.by_version());
        // What was routed before any entry came belongs to no canary, and is not counted.
        stage.totals(200).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn static_canaries_route_by_header_without_an_agent() -> Result<()> {
    Case::run("static", async |case| {
        let versions = Versions::start().await?;
        let rule = r#"{ "headers": { "x-group": { "exact": "b" } } }"#;
        let canary = format!(r#"{{ "namespace": "default", "name": "web", "hosts": ["*"], "match": [{rule}] }}"#);
        let setup = versions.setup().edit(move |text| with_keys(text, &format!("\"canaries\": [{canary}]")));
        let envoy = Envoy::start(case.dir(), setup).await?;
        let group = |n| vec![("x-group".to_owned(), if n % 3 == 0 { "b" } else { "a" }.to_owned())];
        let samples = Load::new(envoy.addr()).headers(group).exactly(900).await?;
        let right = samples.of("v2").filter(|sample| sample.index % 3 == 0).count();
        assert_eq!((right, samples.count_of("v2"), samples.bad()), (300, 300, 0), "{:?}", samples.by_version());
        assert_eq!(envoy.counter("cluster.web-canary.upstream_rq_total").await?, 300);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_frozen_agent_loses_the_canarys_share_after_the_lease_and_gets_it_back() -> Result<()> {
    Case::run("lease", async |case| {
        let versions = Versions::start().await?;
        let rules = "[{ headers: { x-canary: { present: true } } }]";
        let manifest = Manifest::steady("50")?.matching(rules)?;
        let lease = |setup: tests::envoy::EnvoySetup| setup.edit(|text| with_keys(text, "\"leaseSeconds\": 3"));
        let mut stage = Stage::start_with(case, versions, &manifest, lease).await?;
        stage.released_at(50.0).await?;
        // Half of the users are pinned: the lease ends for them as well.
        let pinned = |n| if n % 2 == 0 { vec![("x-canary".to_owned(), "1".to_owned())] } else { vec![] };
        let load = stage.load().headers(pinned).start(200.0).await?;
        let canary_of_last = |window: Duration| {
            let recent = load.recent(window);
            (recent.count_of("v2"), recent.count())
        };
        until("canary traffic", WITHIN, async || {
            ensure!(canary_of_last(Duration::from_secs(1)).0 > 50);
            Ok(())
        })
        .await?;

        stage.agent.process().freeze()?;
        let frozen_at = std::time::Instant::now();
        until("one second without canary traffic", WITHIN, async || {
            let (on_canary, all) = canary_of_last(Duration::from_secs(1));
            ensure!(on_canary == 0 && all > 100, "{on_canary} of {all}");
            Ok(())
        })
        .await?;
        let frozen = load.samples();
        let last = frozen.last_sent_to("v2").map(|at| at.saturating_duration_since(frozen_at));
        // The lease runs from the last word of the agent, which was at most a second before.
        assert!(
            last > Some(Duration::from_millis(1_500)),
            "the share ended {last:?} after the freeze, before the lease"
        );

        stage.agent.process().thaw()?;
        until("canary traffic again", WITHIN, async || {
            let (on_canary, all) = canary_of_last(Duration::from_secs(1));
            ensure!(on_canary > 50, "{on_canary} of {all}");
            Ok(())
        })
        .await?;
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        stage.in_sync(WORKERS).await?;
        stage.totals_as_envoy(samples.count()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bad_configuration_is_said_once_shown_and_harmless() -> Result<()> {
    Case::run("bad-config", async |case| {
        let versions = Versions::start().await?;
        let setup = versions.setup().edit(|text| with_keys(text, "\"leaseSecond\": 3"));
        let envoy = Envoy::start(case.dir(), setup).await?;
        let samples = Load::new(envoy.addr()).exactly(300).await?;
        ensure_all_from(&samples, "v1")?;
        assert_eq!(envoy.counter("cluster.web-primary.upstream_rq_total").await?, 300);
        assert_eq!(envoy.counter("wasmcustom.serin.bad_config").await?, 1);
        let log = envoy.log()?;
        let said: Vec<&str> = log.lines().filter(|line| line.contains("serin: configuration refused")).collect();
        // Each VM says it for itself: the throw-away one, the main thread's and the two workers'.
        assert!((1..=WORKERS + 1).contains(&said.len()), "{said:?}");
        for part in ["leaseSecond", "every request goes to the primary"] {
            assert!(said.iter().all(|line| line.contains(part)), "{said:?}");
        }
        Ok(())
    })
    .await
}
