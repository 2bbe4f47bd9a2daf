//! How requests end on a real Envoy, and as what they are counted: by the agent and in Envoy's own statistics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::case::Case;
use tests::edit::replace_once;
use tests::grpc::GrpcUpstream;
use tests::manifest::Manifest;
use tests::ports::Reserved;
use tests::samples::Samples;
use tests::stage::{Stage, Versions, WITHIN};
use tests::wait::until;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Requests of each kind.
const EACH: u64 = 20;

/// Routes and clusters on which requests end in every way; the filter's decision is the same on all of them.
fn every_end(text: &str, refused: SocketAddr, grpc: SocketAddr) -> Result<String> {
    let routes = r#"routes:
                        - match: { prefix: /direct }
                          direct_response: { status: 503 }
                        - match: { prefix: /redirect }
                          redirect: { path_redirect: / }
                        - match: { prefix: /timeout }
                          route: { cluster: web-canary, timeout: 0.2s }
                        - match: { prefix: /retry }
                          route: { cluster: web-canary, retry_policy: { retry_on: 5xx, num_retries: 9 } }
                        - match: { prefix: /refused }
                          route: { cluster: refused }
                        - match: { prefix: /nobody }
                          route: { cluster: nobody }
                        - match: { prefix: /grpc }
                          route: { cluster: grpc }
"#;
    let text = replace_once(text, "routes:\n", routes)?;
    let http2 = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
                 { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                 explicit_http_config: { http2_protocol_options: {} } } }";
    let mut clusters = "    - { name: nobody, type: STATIC, connect_timeout: 1s }\n".to_owned();
    for (name, addr, options) in [("refused", refused, None), ("grpc", grpc, Some(http2))] {
        let (ip, port) = (addr.ip(), addr.port());
        clusters.push_str(&format!(
            "    - name: {name}\n      type: STATIC\n      connect_timeout: 1s\n      load_assignment: {{ cluster_name: {name}, \
             endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, \
             port_value: {port} }} }} }} }}] }}] }}\n"
        ));
        clusters.extend(options.map(|options| format!("      {options}\n")));
    }
    Ok(format!("{text}{clusters}"))
}

/// `EACH` requests of a user whom a rule pins to the canary.
async fn send(stage: &Stage, path: &str) -> Result<Samples> {
    let is_grpc = path.starts_with("/grpc");
    let pinned = move |_| {
        let kind = is_grpc.then(|| ("content-type".to_owned(), "application/grpc".to_owned()));
        [("x-canary".to_owned(), "always".to_owned())].into_iter().chain(kind).collect()
    };
    // One after the other: Envoy refuses to retry more than three requests at once, which would be another end.
    stage.load().path(path).headers(pinned).connections(1).exactly(EACH).await
}

fn ensure_status(samples: &Samples, status: u16) -> Result<()> {
    ensure!(samples.0.iter().all(|sample| sample.status == Some(status)), "not all {status}: {samples:?}");
    Ok(())
}

/// A client that goes away while the upstream is silent.
async fn cancel(stage: &Stage) -> Result<()> {
    let mut client = TcpStream::connect(stage.envoy.addr()).await?;
    let hangs = stage.versions.canary.counts().hangs;
    client.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nx-canary: always\r\n\r\n").await?;
    until("the upstream to have the request", WITHIN, async || {
        ensure!(stage.versions.canary.counts().hangs > hangs);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_end_of_a_request_is_counted_as_what_it_is() -> Result<()> {
    Case::run("outcomes", async |case| {
        let (refused, grpc) = (Reserved::new()?, GrpcUpstream::start().await?);
        let addrs = (refused.addr(), grpc.addr());
        let manifest = Manifest::steady("0.1")?.matching("[{ headers: { x-canary: { exact: always } } }]")?;
        let change = |setup: tests::envoy::EnvoySetup| setup.edit(move |text| every_end(text, addrs.0, addrs.1));
        let stage = Stage::start_with(case, Versions::start().await?, &manifest, change).await?;
        stage.released_at(0.1).await?;
        let canary = &stage.versions.canary;

        // No upstream was tried: nothing is said about the version.
        ensure_status(&send(&stage, "/direct").await?, 503)?;
        ensure_status(&send(&stage, "/redirect").await?, 301)?;
        ensure_status(&send(&stage, "/").await?, 200)?;
        ensure_status(&send(&stage, "/refused").await?, 503)?;
        ensure_status(&send(&stage, "/nobody").await?, 503)?;
        ensure_status(&send(&stage, "/grpc/5").await?, 200)?;
        ensure_status(&send(&stage, "/grpc/13").await?, 200)?;
        canary.set(|it| it.fail_ratio = 1.0);
        ensure_status(&send(&stage, "/").await?, 500)?;
        canary.set(|it| (it.fail_ratio, it.reset_ratio) = (0.0, 1.0));
        ensure_status(&send(&stage, "/").await?, 503)?;
        canary.set(|it| (it.reset_ratio, it.hang_ratio) = (0.0, 1.0));
        ensure_status(&send(&stage, "/timeout").await?, 504)?;
        for _ in 0..EACH {
            cancel(&stage).await?;
        }
        canary.set(|it| (it.hang_ratio, it.fail_ratio) = (0.0, 0.5));
        let retries = send(&stage, "/retry").await?;
        let saved = stage.envoy.counter("cluster.web-canary.upstream_rq_retry_success").await?;
        assert!(saved > 0 && saved < EACH, "{saved} of {EACH} saved by a retry");

        let sent = 12 * EACH;
        let totals = stage.totals(sent).await?;
        let total = totals.last().filter(|total| total.version == "canary").cloned();
        let total = total.ok_or_else(|| anyhow::anyhow!("no canary in {totals:?}"))?;
        let failed = [
            ("5xx", EACH + retries.bad()),
            ("grpc", EACH),
            ("reset", EACH),
            ("timeout", EACH),
            ("unavailable", 2 * EACH),
            ("retried", saved),
        ];
        let failed: BTreeMap<String, u64> =
            failed.into_iter().map(|(class, count)| (class.to_owned(), count)).collect();
        assert_eq!(total.failed_by_class, failed);
        let succeeded = 2 * EACH + (EACH - saved - retries.bad());
        // The clients that went away are neither good nor bad, but were tried.
        assert_eq!((total.void, total.succeeded, total.started), (2 * EACH, succeeded, sent));
        in_envoys_statistics(&stage, &failed, succeeded).await
    })
    .await
}

/// The filter's own statistics in Envoy say the same.
async fn in_envoys_statistics(stage: &Stage, failed: &BTreeMap<String, u64>, succeeded: u64) -> Result<()> {
    let of = ";canary=default/web;version=canary";
    let stats = stage.envoy.stats("wasmcustom.serin.").await?;
    let read = |name: &str| stats.get(&format!("wasmcustom.serin.{name}")).copied();
    for (class, count) in failed {
        ensure!(read(&format!("failures{of};class={class}")) == Some(*count), "{class} is not {count} in {stats:?}");
    }
    let answered = succeeded + failed.values().sum::<u64>();
    assert_eq!((read(&format!("requests{of}")), read(&format!("void{of}"))), (Some(answered), Some(3 * EACH)));
    Ok(())
}

#[tokio::test]
async fn who_scrapes_envoy_sees_what_envoy_counts() -> Result<()> {
    Case::run("scrape", async |case| {
        // The tags are those that the filter's documentation gives.
        let tags = "stats_config:\n  stats_tags:\n    - { tag_name: canary, regex: \"(;canary=([^;]+))\" }\n    \
                    - { tag_name: version, regex: \"(;version=([^;]+))\" }\n    - { tag_name: class, regex: \"(;class=([^;]+))\" }\n\
                    stats_flush_interval: 0.2s\n";
        let change = |setup: tests::envoy::EnvoySetup| setup.edit(move |text| Ok(format!("{text}\n{tags}")));
        let versions = Versions::start().await?;
        let stage = Stage::start_with(case, versions, &Manifest::steady("50")?, change).await?;
        stage.released_at(50.0).await?;
        stage.versions.canary.set(|it| (it.fail_ratio, it.latency) = (0.2, Duration::from_millis(2)));
        stage.load().exactly(600).await?;
        stage.totals_as_envoy(600).await?;

        until("the histogram of the last requests", WITHIN, async || {
            let page = tests::http::get(stage.envoy.admin(), "/stats/prometheus").await?.body;
            let read = |name: &str| -> Result<u64> {
                let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                let line = line.ok_or_else(|| anyhow::anyhow!("no {name} in {:?}", lines_with(&page, "serin")))?;
                Ok(line.trim().parse::<f64>()? as u64)
            };
            for version in ["primary", "canary"] {
                let of = format!("{{canary=\"default/web\",version=\"{version}\"}}");
                let total = read(&format!("envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"web-{version}\"}}"))?;
                ensure!(read(&format!("serin_requests{of}"))? == total, "{version}: {page}");
                ensure!(read(&format!("serin_latency_ms_count{of}"))? == total, "{version}: no histogram yet");
            }
            let of = "{canary=\"default/web\",version=\"canary\",class=\"5xx\"}";
            let bad = "{envoy_response_code_class=\"5\",envoy_cluster_name=\"web-canary\"}";
            let (failures, bad) = (read(&format!("serin_failures{of}"))?, read(&format!("envoy_cluster_upstream_rq_xx{bad}"))?);
            ensure!(failures == bad && bad > 0, "{failures} failures, Envoy has {bad}");
            ensure!(read("serin_weight_ppm{canary=\"default/web\"}")? == 500_000);
            ensure!(read("serin_connected{}")? == 3 && read("serin_bad_config{}")? == 0);
            Ok(())
        })
        .await
    })
    .await
}

fn lines_with<'a>(page: &'a str, word: &str) -> Vec<&'a str> {
    page.lines().filter(|line| line.contains(word) && !line.contains("_bucket")).collect()
}
