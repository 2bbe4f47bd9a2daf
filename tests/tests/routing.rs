//! Who is served by which version: rules, stickiness, weight, and a client that would like to choose for itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use tests::case::Case;
use tests::chance::two_sided;
use tests::envoy::Envoy;
use tests::load::Load;
use tests::manifest::Manifest;
use tests::samples::Samples;
use tests::stage::{Stage, Versions, WITHIN, WORKERS, ensure_all_from};
use tests::wait::until;
use tests::{edit, http};

/// A bound that a right split breaks once in a million runs.
const RARE: f64 = 1e-6;

#[tokio::test]
async fn the_observed_split_is_the_weight() -> Result<()> {
    Case::run("split", async |case| {
        let stage = Stage::start(case, &Manifest::steady("12.5")?).await?;
        stage.released_at(12.5).await?;
        let samples = stage.load().exactly(20_000).await?;
        let on_canary = samples.count_of("v2");
        let chance = two_sided(20_000, on_canary, 0.125);
        assert!(chance >= RARE, "{on_canary} of 20000 at 12.5 %: chance {chance:e}");

        let totals = stage.totals_as_envoy(20_000).await?;
        let started: Vec<u64> = totals.iter().map(|total| total.started).collect();
        assert_eq!(started, [20_000 - on_canary, on_canary]);
        // Both worker threads took part, and each splits for itself.
        let busy = stage.workers().await?.into_iter().flat_map(|worker| worker.canaries);
        let busy: Vec<_> = busy.filter(|it| it.requests > 0).collect();
        assert_eq!(busy.len(), 2, "{busy:?}");
        for worker in busy {
            let hits = (worker.observed_percent.context("no split")? / 100.0 * worker.requests as f64).round() as u64;
            assert!(two_sided(worker.requests, hits, 0.125) >= RARE, "{worker:?}");
        }
        Ok(())
    })
    .await
}

/// Four kinds of users in turn; the first two match a rule.
fn kinds(n: u64) -> Vec<(String, String)> {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    match n % 4 {
        0 => header("x-canary", "always"),
        1 => header("cookie", "theme=dark; tier=beta-7; lang=en"),
        2 => header("x-canary", "never"),
        _ => header("cookie", "theme=tier=beta-7"),
    }
}

/// How many requests of users that match (or not) got `version`.
fn of_kind(samples: &Samples, is_pinned: bool, version: &str) -> u64 {
    samples.of(version).filter(|sample| (sample.index % 4 < 2) == is_pinned).count() as u64
}

#[tokio::test]
async fn header_and_cookie_rules_pin_users_until_the_abort() -> Result<()> {
    Case::run("pinned", async |case| {
        let rules = "[{ headers: { x-canary: { exact: always } } }, { cookies: { tier: { regex: \"beta-[0-9]\" } } }]";
        // So small a weight that users on the canary are there by a rule, but for a few.
        let stage = Stage::start(case, &Manifest::steady("0.1")?.matching(rules)?).await?;
        ensure_all_from(&stage.load().headers(kinds).exactly(200).await?, "v1")?;
        stage.released_at(0.1).await?;

        let load = stage.load().headers(kinds).start(400.0).await?;
        until("1600 answers", WITHIN, async || {
            ensure!(load.samples().count() >= 1_600, "{}", load.samples().count());
            Ok(())
        })
        .await?;
        let released = load.samples();
        assert_eq!((of_kind(&released, true, "v1"), released.bad()), (0, 0), "{:?}", released.by_version());
        let (drawn, strays) = (of_kind(&released, false, "v1"), of_kind(&released, false, "v2"));
        assert!(two_sided(drawn + strays, strays, 0.001) >= RARE, "{strays} of {drawn} without a rule");

        stage.abort().await?;
        stage.in_sync(WORKERS).await?;
        let gone_at = std::time::Instant::now();
        until("200 answers after the abort", WITHIN, async || {
            let after = load.samples().0.iter().filter(|sample| sample.sent > gone_at).count();
            ensure!(after >= 200, "{after}");
            Ok(())
        })
        .await?;
        let samples = load.stop().await?;
        let late = samples.of("v2").filter(|sample| sample.sent > gone_at).count();
        assert_eq!((late, samples.bad()), (0, 0), "{:?}", samples.by_version());
        stage.totals_as_envoy(samples.count() + 200).await?;
        Ok(())
    })
    .await
}

/// What a client may try with the filter's headers: plainly, twice, as a list, in odd case, empty beside the real one.
const FORGED: [&[(&str, &str)]; 6] = [
    &[("x-serin-mirror", "web-canary")],
    &[("x-serin-upstream", "web-canary")],
    &[("x-serin-upstream", "web-canary"), ("x-serin-upstream", "web-canary")],
    &[("x-serin-upstream", "web-primary"), ("x-serin-upstream", "web-canary")],
    &[("X-Serin-Upstream", "web-canary")],
    &[("x-serin-upstream", ""), ("x-serin-upstream", "web-canary")],
];

/// Each forgery ten times over, on both worker threads: none is served by the canary, none reaches an upstream.
async fn ensure_forgeries_fail(envoy: &Envoy) -> Result<()> {
    for forged in FORGED {
        for _ in 0..10 {
            let answer = http::request(envoy.addr(), Method::GET, "/", forged, "").await?;
            let seen = (answer.header("x-version"), answer.header("x-decision"));
            ensure!(seen == (Some("v1"), Some("none")), "{forged:?}: (version, decision) is {seen:?}");
        }
    }
    let used = envoy.stats("cluster.web-canary.upstream_rq_total").await?.values().sum::<u64>();
    ensure!(used == 0, "the canary's cluster got {used} requests");
    Ok(())
}

#[tokio::test]
async fn a_client_cannot_choose_by_the_decision_header() -> Result<()> {
    Case::run("forged", async |case| {
        let guarded = Stage::start(case, &Manifest::steady("50")?).await?;
        ensure_forgeries_fail(&guarded.envoy).await?;

        // The filter alone, with an entry, for another host than any entry names, and without any entry at all.
        let setup = |node: &str| guarded.versions.setup().node(node).edit(edit::without_header_guard);
        let alone = Envoy::start(case.dir(), setup("alone").agent(guarded.agent.grpc())).await?;
        guarded.in_sync(2 * WORKERS).await?;
        ensure_forgeries_fail(&alone).await?;
        let untold = Envoy::start(case.dir(), setup("untold")).await?;
        ensure_forgeries_fail(&untold).await?;

        // During a release the client's wish still makes no difference, in either direction.
        guarded.release("v2").await?;
        guarded.in_sync(2 * WORKERS).await?;
        for wish in ["web-canary", "web-primary"] {
            let load = Load::new(alone.addr()).headers(move |_| vec![("x-serin-upstream".into(), wish.into())]);
            let samples = load.exactly(2_000).await?;
            let on_canary = samples.count_of("v2");
            assert!(two_sided(2_000, on_canary, 0.5) >= RARE, "{on_canary} of 2000 with {wish}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn requests_out_of_scope_are_none_of_its_business() -> Result<()> {
    Case::run("scope", async |case| {
        let manifest = Manifest::steady("100")?.edit("hosts: [\"*\"]", "pathPrefix: /shop")?;
        let versions = Versions::start().await?;
        let change = |setup: tests::envoy::EnvoySetup| setup.edit(edit::without_header_guard);
        let stage = Stage::start_with(case, versions, &manifest, change).await?;
        stage.released_at(100.0).await?;
        ensure_all_from(&stage.load().host("web.default").path("/shop/cart?x=1").exactly(50).await?, "v2")?;
        let forge = |_| vec![("x-serin-upstream".to_owned(), "web-canary".to_owned())];
        for (host, path) in [("web", "/sho"), ("web", "/?x=/shop"), ("other", "/shop"), ("web.other", "/shop")] {
            let samples = stage.load().host(host).path(path).headers(forge).exactly(20).await?;
            ensure_all_from(&samples, "v1").with_context(|| format!("{host}{path}"))?;
        }
        stage.totals(50).await?;
        Ok(())
    })
    .await
}

const USERS: u64 = 400;

/// Which version each user got; an error if one got both.
fn sides(samples: &Samples) -> Result<BTreeMap<u64, String>> {
    let mut sides: BTreeMap<u64, String> = BTreeMap::new();
    for sample in &samples.0 {
        let version = sample.version.clone().context("no version")?;
        let user = sample.index % USERS;
        let side = sides.entry(user).or_insert_with(|| version.clone());
        ensure!(*side == version, "user {user} got {side} and {version}");
    }
    Ok(sides)
}

/// Grows the weight step by step; at each, every user asks five times over 16 connections to both worker threads.
async fn stay(case: &Case, sticky: &str, key: fn(u64) -> Vec<(String, String)>) -> Result<()> {
    let manifest = Manifest::quick("10, 30, 60, 90")?.threshold(20)?.sticky(sticky)?;
    let stage = Stage::start(case, &manifest).await?;
    // Without a key: only so that each step's check has something to judge.
    let other = stage.load().start(100.0).await?;
    stage.release("v2").await?;
    let mut before: BTreeMap<u64, String> = BTreeMap::new();
    let mut weight = 0.0;
    while weight < 60.0 {
        until("the next step", WITHIN, async || {
            let status = stage.status().await?;
            ensure!(status.weight_percent > weight, "{}: {}", status.phase, status.message);
            Ok(())
        })
        .await?;
        stage.agent.cli(&["pause", "web"]).await?.ok()?;
        stage.in_sync(WORKERS).await?;
        weight = stage.status().await?.weight_percent;
        let now = sides(&stage.load().headers(key).exactly(5 * USERS).await?)?;
        let on_canary = now.values().filter(|version| *version == "v2").count() as u64;
        assert!(two_sided(USERS, on_canary, weight / 100.0) >= RARE, "{on_canary} of {USERS} users at {weight} %");
        let left: Vec<_> = before.iter().filter(|(user, was)| *was == "v2" && now.get(user) != Some(was)).collect();
        assert!(left.is_empty(), "users who left the canary although it grew to {weight} %: {left:?}");
        before = now;
        stage.agent.cli(&["resume", "web"]).await?.ok()?;
    }
    stage.abort().await?;
    stage.in_sync(WORKERS).await?;
    ensure_all_from(&stage.load().headers(key).exactly(USERS).await?, "v1")?;
    ensure!(other.stop().await?.bad() == 0, "bad answers");
    Ok(())
}

#[tokio::test]
async fn sticky_users_stay_when_the_weight_grows() -> Result<()> {
    Case::run("sticky-header", async |case| {
        stay(case, "{ header: X-User }", |n| vec![("x-user".into(), format!("user-{}", n % USERS))]).await
    })
    .await
}

#[tokio::test]
async fn users_with_a_cookie_stay_too() -> Result<()> {
    Case::run("sticky-cookie", async |case| {
        stay(case, "{ cookie: session }", |n| vec![("cookie".into(), format!("a=b; session={}; c=d", n % USERS))]).await
    })
    .await
}

#[tokio::test]
async fn one_client_address_is_one_user() -> Result<()> {
    Case::run("sticky-address", async |case| {
        let stage = Stage::start(case, &Manifest::steady("50")?.sticky("{ clientAddress: true }")?).await?;
        stage.released_at(50.0).await?;
        // Another port with each connection, and a forged forwarded address: still the same user.
        let forge = |n| vec![("x-forwarded-for".to_owned(), format!("10.0.{}.{}", n / 250, n % 250))];
        let samples = stage.load().connections(64).headers(forge).exactly(500).await?;
        let counts = samples.by_version();
        assert!(counts.len() == 1 && samples.bad() == 0, "{counts:?}");
        Ok(())
    })
    .await
}
