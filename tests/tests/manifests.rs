//! What manifests say and what users get, on a real Envoy: scopes with several prefixes, another provider's match, and a
//! file that is gone for a while.

#![cfg(test)]

use anyhow::{Context, Result, ensure};
use rollout::view::status::CanaryStatus;
use tests::case::Case;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN, WORKERS, ensure_all_from};
use tests::wait::until;

const RPS: f64 = 200.0;
const TARGET: &str = "  targetRef: { apiVersion: apps/v1, kind: Deployment, name: web }\n";

/// A manifest of Flagger's kind in place of the shipped one.
fn flaggers(spec: &str) -> Result<Manifest> {
    let shipped = Manifest::certified("1")?;
    let whole = shipped.text().to_owned();
    let head = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: { name: web, namespace: default }\nspec:\n";
    shipped.edit(&whole, &format!("{head}{TARGET}{spec}"))
}

fn header(name: &'static str, value: &'static str) -> impl Fn(u64) -> Vec<(String, String)> + Send + Sync + 'static {
    move |_| vec![(name.to_owned(), value.to_owned())]
}

#[tokio::test]
async fn a_canary_cookie_of_nginx_reaches_the_canary() -> Result<()> {
    Case::run("nginx-cookie", async |case| {
        let manifest = flaggers(
            "  provider: nginx
  service: { port: 80, hosts: [\"*\"] }
  analysis:
    interval: 1h
    threshold: 10
    iterations: 10
    match:
      - headers: { x-canary: { exact: \"insider\" } }
      - headers: { cookie: { exact: \"canary\" } }
    metrics: [{ name: request-success-rate, thresholdRange: { min: 99 }, interval: 1m }]
",
        )?;
        let stage = Stage::start(case, &manifest).await?;
        stage.release("v2").await?;
        stage.phase("Progressing").await?;
        stage.in_sync(WORKERS).await?;
        for (name, value, version) in [
            ("cookie", "canary=always", "v2"),
            ("cookie", "theme=dark; canary=always", "v2"),
            ("x-canary", "insider", "v2"),
            ("cookie", "canary=never", "v1"),
            ("cookie", "canary", "v1"),
            ("x-canary", "outsider", "v1"),
        ] {
            let samples = stage.load().headers(header(name, value)).exactly(20).await?;
            ensure_all_from(&samples, version).with_context(|| format!("{name}: {value}"))?;
        }
        stage.all_on_primary(50).await
    })
    .await
}

#[tokio::test]
async fn what_no_prefix_names_stays_with_the_primary() -> Result<()> {
    Case::run("prefixes", async |case| {
        let manifest = flaggers(
            "  service:
    port: 80
    hosts: [\"*\"]
    match:
      - uri: { prefix: /api/v1 }
      - uri: { prefix: /api/v2 }
  analysis: { interval: 1h, threshold: 5, maxWeight: 100, stepWeight: 100 }
",
        )?;
        let stage = Stage::start(case, &manifest).await?;
        stage.released_at(100.0).await?;
        for (path, version) in [
            ("/api/v1", "v2"),
            ("/api/v1/cart?x=1", "v2"),
            ("/api/v2/cart", "v2"),
            ("/checkout", "v1"),
            ("/api", "v1"),
            ("/api/v3", "v1"),
            ("/?p=/api/v1", "v1"),
        ] {
            ensure_all_from(&stage.load().path(path).exactly(20).await?, version).context(path)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_manifest_that_is_gone_after_a_swap_moves_no_user() -> Result<()> {
    Case::run("tombstone", async |case| {
        let stage = Stage::start(case, &Manifest::quick("50")?.threshold(10)?.swap()?).await?;
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        stage.phase("Succeeded").await?;
        drop(load);
        stage.in_sync(WORKERS).await?;
        ensure_all_from(&stage.load().exactly(100).await?, "v2")?;
        let file = case.dir().join("canaries/web.yaml");
        let manifest = std::fs::read_to_string(&file)?;
        let load = stage.load().start(RPS).await?;
        std::fs::remove_file(&file)?;
        let gone = async || -> Result<CanaryStatus> {
            until("the manifest to be missed", WITHIN, async || {
                let status = stage.status().await?;
                ensure!(status.manifest_gone, "{}", status.message);
                Ok(status)
            })
            .await
        };
        gone().await?;
        let shown = stage.agent.cli(&["get"]).await?.ok()?;
        ensure!(shown.contains("! default/web: its manifest is gone"), "{shown}");
        let refused = stage.agent.cli(&["forget", "web", "--reason", "gone"]).await?;
        ensure!(refused.status == Some(1) && refused.stderr.contains("web-primary by default"), "{refused:?}");
        std::fs::write(&file, &manifest)?;
        let begun = stage.agent.cli(&["resume", "web"]).await?;
        ensure!(begun.stderr.contains("cannot resume"), "the verb has read the directory: {begun:?}");
        let back = stage.status().await?;
        ensure!(!back.manifest_gone && back.promoted_revision.as_deref() == Some("v2"), "{back:?}");
        ensure_all_from(&load.stop().await?, "v2")?;
        ensure!(stage.agent.log()?.contains("manifest removed: web-canary goes on serving"));
        Ok(())
    })
    .await
}
