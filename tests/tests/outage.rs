//! The agent away for longer than the proxy's own gRPC channel likes to wait: its proxies are back within 5 s all the same.
#![cfg(test)]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::agent::Agent;
use tests::case::Case;
use tests::edit::replace_once;
use tests::envoy::Envoy;
use tests::manifest::Manifest;
use tests::stage::{Stage, Versions, WITHIN, WORKERS};
use tests::wait::until;
use tokio::net::TcpListener;

/// What docs/filter-config.md promises, from the moment at which the agent listens.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// After this long the channel's default waits last 8 s at least.
const OUTAGE: Duration = Duration::from_secs(10);
/// Connections a second that one proxy may try while nobody answers: its channel's, whatever its workers do.
const MOST_TRIES_A_SECOND: f64 = 3.0;

/// How the proxy reaches the agent.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As shipped: by its own client, with an address.
    Address,
    /// Through one of its clusters.
    Cluster,
}

impl Way {
    async fn start(self, case: &Case) -> Result<Stage> {
        let versions = Versions::start().await?;
        let agent = Agent::start(case.dir(), &Manifest::steady("50")?.write(case)?).await?;
        let setup = versions.setup().agent(agent.grpc());
        let port = agent.grpc().port();
        let setup = match self {
            Self::Address => setup,
            Self::Cluster => setup.edit(move |text| through_cluster(text, port)),
        };
        let envoy = Envoy::start(case.dir(), setup).await?;
        let stage = Stage { versions, agent, envoy };
        stage.in_sync(WORKERS).await?;
        Ok(stage)
    }
}

fn through_cluster(text: &str, port: u16) -> Result<String> {
    let text = replace_once(text, "\"agent\": \"127.0.0.1:7070\"", "\"agent\": { \"cluster\": \"agent\" }")?;
    // Behind this edit the agent's address is filled in where the shipped one stands, which is a comment now.
    let cluster = format!(
        "  clusters:
    # 127.0.0.1:7070
    - name: agent
      type: STATIC
      connect_timeout: 1s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{ http2_protocol_options: {{}} }}
      load_assignment:
        cluster_name: agent
        endpoints:
          - lb_endpoints:
              - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}
"
    );
    replace_once(&text, "  clusters:\n", &cluster)
}

/// From the moment at which the agent listens again until every worker is back.
async fn time_to_return(stage: &mut Stage) -> Result<Duration> {
    stage.agent.start_again().await?;
    let listens_at = Instant::now();
    stage.in_sync(WORKERS).await?;
    Ok(listens_at.elapsed())
}

/// Somebody listens in the agent's place and hangs up: each connection is a try. The agent is back just after the first one
/// that comes when the outage has lasted long enough, so the channel has its longest wait before it.
async fn after_a_failed_try(case: &str, way: Way) -> Result<()> {
    Case::run(case, async |case| {
        let mut stage = way.start(case).await?;
        stage.agent.kill9()?;
        let away_since = Instant::now();
        let addr = stage.agent.grpc();
        let listener = TcpListener::bind(addr).await.context("the agent's port")?;
        let mut tries = 0_u32;
        while away_since.elapsed() < OUTAGE {
            let tried = tokio::time::timeout(WITHIN, listener.accept()).await.context("no try within a minute")?;
            drop(tried?);
            tries += 1;
        }
        let rate = f64::from(tries) / away_since.elapsed().as_secs_f64();
        drop(listener);
        let took = time_to_return(&mut stage).await?;
        println!("{way:?}: {tries} tries, {rate:.1} a second; back after {took:.1?}");
        ensure!(took <= BACK_WITHIN, "back after {took:?}");
        ensure!(rate <= MOST_TRIES_A_SECOND, "{rate} tries a second at an agent that is away");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn proxies_are_back_in_time_by_address() -> Result<()> {
    after_a_failed_try("outage-address", Way::Address).await
}

#[tokio::test]
async fn proxies_are_back_in_time_through_a_cluster() -> Result<()> {
    after_a_failed_try("outage-cluster", Way::Cluster).await
}

/// An outage of this long, with nobody at the port.
async fn after(case: &str, outage: Duration, way: Way) -> Result<()> {
    Case::run(case, async |case| {
        let mut stage = way.start(case).await?;
        stage.agent.kill9()?;
        let away_since = Instant::now();
        until("the end of the outage", outage + WITHIN, async || {
            ensure!(away_since.elapsed() >= outage, "{:?}", away_since.elapsed());
            Ok(())
        })
        .await?;
        let took = time_to_return(&mut stage).await?;
        println!("{way:?}, away {outage:?}: back after {took:.2?}");
        ensure!(took <= BACK_WITHIN, "back after {took:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "three minutes: `cargo test -p tests --test outage -- --ignored --nocapture`"]
async fn proxies_are_back_in_time_after_minutes() -> Result<()> {
    let long = Duration::from_secs(180);
    let (own, cluster) =
        tokio::join!(after("minutes-address", long, Way::Address), after("minutes-cluster", long, Way::Cluster));
    own.and(cluster)
}
