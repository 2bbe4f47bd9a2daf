//! Routes that do not follow the filter's decision, on a real Envoy: a canary whose requests go to the primary is never
//! certified on the primary's answers, and the release says where they went.

use anyhow::{Context, Result, ensure};
use rollout::view::status::CanaryStatus;
use tests::case::Case;
use tests::edit::{remove_between, replace_once, with_keys};
use tests::load::Load;
use tests::manifest::Manifest;
use tests::stage::{Stage, Versions, WITHIN, WORKERS};
use tests::wait::until;

const RPS: f64 = 300.0;
/// More than a certificate takes: 372 requests and 10 s.
const ENOUGH: u64 = 900;

/// Where the shipped routes begin.
const ROUTES: &str = "                      routes:\n";
const CANARY: &str = "                        - match:
                            prefix: /
                            headers: [{ name: x-serin-upstream, string_match: { exact: web-canary } }]
                          route: { cluster: web-canary }\n";
const PRIMARY: &str = "                        - match:
                            prefix: /
                            headers: [{ name: x-serin-upstream, string_match: { exact: web-primary } }]";

/// A route in front of all others.
fn in_front(text: &str, of: &str) -> Result<String> {
    let route =
        format!("                        - match: {of}\n                          route: {{ cluster: web-primary }}\n");
    replace_once(text, ROUTES, &format!("{ROUTES}{route}"))
}

fn without_canary_route(text: &str) -> Result<String> {
    remove_between(text, CANARY, PRIMARY)
}

/// A release under load whose routes were edited: it holds, and says why to everybody who asks.
async fn held(
    name: &str,
    edit: impl Fn(&str) -> Result<String> + Send + Sync + 'static,
    load: impl Fn(Load) -> Load,
) -> Result<()> {
    Case::run(name, async |case| {
        let versions = Versions::start().await?;
        let manifest = Manifest::certified("50")?;
        let stage = Stage::start_with(case, versions, &manifest, |setup| setup.edit(edit)).await?;
        let running = load(stage.load()).start(RPS).await?;
        stage.release("v2").await?;
        let status = until("more requests than a certificate takes", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!((status.phase.as_str(), status.step), ("Progressing", 1), "{name}: {}", status.message);
            let canary = status.versions.get(1).context("a canary's counts")?;
            ensure!(canary.started >= ENOUGH && status.on_step_ms >= Some(12_000), "{canary:?}");
            Ok(status)
        })
        .await?;
        says_so(&stage, &status).await?;
        ensure!(stage.versions.canary.counts().requests == 0, "the canary got requests");
        ensure!(running.stop().await?.bad() == 0, "a user met an error");
        Ok(())
    })
    .await
}

async fn says_so(stage: &Stage, status: &CanaryStatus) -> Result<()> {
    for part in ["holds:", "cluster web-primary, where the primary's go", "x-serin-upstream", "sharedClusters"] {
        ensure!(status.message.contains(part), "{part}: {}", status.message);
    }
    let needs = status.needs_person.as_deref().unwrap_or_default();
    ensure!(needs.contains("x-serin-upstream: web-canary"), "{needs}");
    let page = stage.agent.cli(&["explain", "web"]).await?.ok()?;
    ensure!(page.contains("where the primary's go") && page.contains("arrived at"), "{page}");
    ensure!(page.contains("Certificate of step 1: 0% proven"), "{page}");
    let proxies = stage.agent.cli(&["proxies"]).await?.ok()?;
    ensure!(proxies.contains("primary: web-primary; canary: web-primary"), "{proxies}");
    Ok(())
}

#[tokio::test]
async fn a_missing_route_holds_the_release() -> Result<()> {
    held("no-route", without_canary_route, |load| load).await
}

#[tokio::test]
async fn a_longer_path_holds_the_release() -> Result<()> {
    held("longer-path", |text| in_front(text, "{ prefix: /shop }"), |load| load.path("/shop/cart?id=1")).await
}

#[tokio::test]
async fn a_route_by_method_holds_the_release() -> Result<()> {
    let get = r#"{ prefix: /, headers: [{ name: ":method", string_match: { exact: GET } }] }"#;
    held("method", move |text| in_front(text, get), |load| load).await
}

#[tokio::test]
async fn a_route_by_protocol_holds_the_release() -> Result<()> {
    let grpc = |load: Load| load.headers(|_| vec![("content-type".into(), "application/grpc".into())]);
    held("protocol", |text| in_front(text, "{ prefix: /, grpc: {} }"), grpc).await
}

#[tokio::test]
async fn a_route_behind_the_default_one_holds_the_release() -> Result<()> {
    let behind = |text: &str| {
        let default = "                        - match: { prefix: / }\n                          route: { cluster: web-primary }\n";
        replace_once(&without_canary_route(text)?, default, &format!("{default}{CANARY}"))
    };
    held("position", behind, |load| load).await
}

/// One cluster for both, as with subsets or a dynamic forward proxy: declared, it holds nothing.
#[tokio::test]
async fn a_cluster_that_is_shared_on_purpose_holds_nothing() -> Result<()> {
    Case::run("shared", async |case| {
        let versions = Versions::start().await?;
        let declared = |text: &str| with_keys(&without_canary_route(text)?, "\"sharedClusters\": [\"web-primary\"]");
        let manifest = Manifest::certified("50")?;
        let stage = Stage::start_with(case, versions, &manifest, |setup| setup.edit(declared)).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        stage.phase("Promoting").await?;
        let proxies = stage.agent.cli(&["proxies"]).await?.ok()?;
        ensure!(proxies.contains("canary: web-primary (shared)"), "{proxies}");
        drop(load);
        Ok(())
    })
    .await
}

/// The operator mends the route: what went astray counts for nothing, and the step is certified by requests of its own.
#[tokio::test]
async fn a_mended_route_lets_the_step_begin_anew() -> Result<()> {
    Case::run("mended", async |case| {
        let versions = Versions::start().await?;
        let manifest = Manifest::certified("50")?;
        let edit = |text: &str| in_front(text, "{ prefix: / }");
        let mut stage = Stage::start_with(case, versions, &manifest, |setup| setup.edit(edit)).await?;
        stage.release("v2").await?;
        stage.load().exactly(1_000).await?;
        until("the hold", WITHIN, async || {
            // Looks come with reports.
            stage.load().exactly(10).await?;
            let status = stage.status().await?;
            ensure!(status.message.contains("where the primary's go"), "{}", status.message);
            Ok(())
        })
        .await?;
        let config = case.dir().join("edge-1.yaml");
        let text = std::fs::read_to_string(&config)?;
        let broken = "                        - match: { prefix: / }\n                          route: { cluster: web-primary }\n";
        std::fs::write(&config, text.replacen(broken, "", 1))?;
        stage.envoy.restart().await?;
        stage.in_sync(WORKERS).await?;
        let load = stage.load().start(RPS).await?;
        stage.phase("Promoting").await?;
        let events = stage.events().await?;
        ensure!(events.iter().any(|event| event.message.contains("the step begins anew")), "{events:?}");
        ensure!(stage.versions.canary.counts().requests >= 372, "{:?}", stage.versions.canary.counts());
        drop(load);
        Ok(())
    })
    .await
}
