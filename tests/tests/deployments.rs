//! Ways to install the filter and to reach the agent that differ from the shipped file: per route, by cluster, by TLS.

use anyhow::{Result, ensure};
use tests::agent::Agent;
use tests::case::Case;
use tests::certs::Certs;
use tests::edit::replace_once;
use tests::envoy::{Envoy, EnvoySetup};
use tests::manifest::Manifest;
use tests::stage::{Stage, Versions, WORKERS, ensure_all_from};

/// As the shipped configuration names the agent.
const AGENT: &str = "\"agent\": \"127.0.0.1:7070\"";

/// A release at 50 % splits, counts as Envoy does, and is aborted: the whole path works.
async fn works(stage: &Stage) -> Result<()> {
    stage.released_at(50.0).await?;
    let samples = stage.load().exactly(400).await?;
    ensure!(samples.bad() == 0 && samples.count_of("v2") > 0, "{:?}", samples.by_version());
    stage.totals_as_envoy(400).await?;
    stage.abort().await?;
    stage.in_sync(WORKERS).await?;
    stage.all_on_primary(200).await
}

#[tokio::test]
async fn as_shipped() -> Result<()> {
    Case::run("shipped", async |case| works(&Stage::start(case, &Manifest::steady("50")?).await?).await).await
}

/// Off in the chain and switched on by each route, as Envoy Gateway does; one more route leaves it off.
fn per_route(text: &str) -> Result<String> {
    let text = replace_once(text, "- name: serin\n", "- name: serin\n                    disabled: true\n")?;
    let route = "                          route: { cluster: web-";
    let on = "                          typed_per_filter_config: { serin: { \"@type\": \
              type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {} } }\n";
    let text = text.replace("- match: { prefix: / }\n", "- match:\n                            prefix: /\n");
    let text = text.replace(route, &format!("{on}{route}"));
    let off = "routes:\n                        - match: { prefix: /off }\n                          route: { cluster: web-primary }\n";
    replace_once(&text, "routes:\n", off)
}

#[tokio::test]
async fn switched_on_per_route() -> Result<()> {
    Case::run("per-route", async |case| {
        let versions = Versions::start().await?;
        let change = |setup: EnvoySetup| setup.edit(per_route);
        let stage = Stage::start_with(case, versions, &Manifest::steady("50")?, change).await?;
        works(&stage).await?;
        // On a route that leaves it off the filter neither decides nor counts, and a forged header chooses nothing.
        stage.release("v3").await?;
        stage.weight(50.0).await?;
        let forged = |_| vec![("x-serin-upstream".to_owned(), "web-canary".to_owned())];
        ensure_all_from(&stage.load().path("/off").headers(forged).exactly(200).await?, "v1")?;
        let samples = stage.load().exactly(50).await?;
        ensure!(samples.bad() == 0, "{:?}", samples.by_version());
        stage.totals(400 + 200 + 50).await?;
        Ok(())
    })
    .await
}

/// The agent by the name of an Envoy cluster, which would own TLS and identity in a mesh.
fn by_cluster(text: &str) -> Result<String> {
    let text = replace_once(text, AGENT, "\"agent\": { \"cluster\": \"serin-agent\" }")?;
    let text = replace_once(&text, "    - name: web-canary\n", "AGENT_CLUSTER    - name: web-canary\n")?;
    let cluster = r#"    - name: serin-agent
      type: STATIC
      connect_timeout: 1s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
      load_assignment:
        cluster_name: serin-agent
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: AGENT_PORT } } }
"#;
    replace_once(&text, "AGENT_CLUSTER", cluster)
}

#[tokio::test]
async fn the_agent_behind_a_cluster() -> Result<()> {
    Case::run("by-cluster", async |case| {
        let versions = Versions::start().await?;
        let agent = Agent::start(case.dir(), &Manifest::steady("50")?.write(case)?).await?;
        let port = agent.grpc().port().to_string();
        // The address literal is gone from the filter's configuration, so it stands in a comment for the harness.
        let comment = "# 127.0.0.1:7070\n";
        let setup = versions
            .setup()
            .edit(move |text| Ok(format!("{comment}{}", by_cluster(text)?.replace("AGENT_PORT", &port))));
        let envoy = Envoy::start(case.dir(), setup).await?;
        let stage = Stage { versions, agent, envoy };
        stage.in_sync(WORKERS).await?;
        assert!(stage.envoy.counter("cluster.serin-agent.upstream_rq_active").await? >= WORKERS as u64);
        works(&stage).await
    })
    .await
}

/// An agent that wants TLS, certificates of its proxies, and a token.
async fn guarded_agent(case: &Case, certs: &Certs) -> Result<Agent> {
    let token = case.file("token", "s3cret-of-the-fleet\n")?.display().to_string();
    let [cert, key, ca] = [&certs.server.cert, &certs.server.key, &certs.ca].map(|file| file.display().to_string());
    let tls = ["--grpc-tls-cert", &cert, "--grpc-tls-key", &key, "--grpc-tls-client-ca", &ca];
    let args: Vec<&str> = tls.into_iter().chain(["--grpc-token-file", &token]).collect();
    Agent::start_with(case.dir(), &Manifest::steady("50")?.write(case)?, &args).await
}

/// The filter's agent with TLS files and a token.
fn guarded(certs: &Certs, with_cert: bool, token: &str) -> String {
    let (ca, cert, key) = (certs.ca.display(), certs.client.cert.display(), certs.client.key.display());
    let own = if with_cert { format!(", \"certFile\": \"{cert}\", \"keyFile\": \"{key}\"") } else { String::new() };
    let tls = format!("{{ \"caFile\": \"{ca}\"{own} }}");
    format!("\"agent\": {{ \"address\": \"127.0.0.1:7070\", \"tls\": {tls}, \"token\": \"{token}\" }}")
}

#[tokio::test]
async fn the_agent_over_tls_with_certificates_and_token() -> Result<()> {
    Case::run("tls", async |case| {
        let certs = Certs::new(case)?;
        let (versions, agent) = (Versions::start().await?, guarded_agent(case, &certs).await?);
        let right = guarded(&certs, true, "s3cret-of-the-fleet");
        let setup = versions.setup().agent(agent.grpc()).edit(move |text| replace_once(text, AGENT, &right));
        let envoy = Envoy::start(case.dir(), setup).await?;
        let stage = Stage { versions, agent, envoy };
        stage.in_sync(WORKERS).await?;
        works(&stage).await
    })
    .await
}

#[tokio::test]
async fn who_lacks_certificate_or_token_is_refused_and_serves_the_primary() -> Result<()> {
    Case::run("refused", async |case| {
        let certs = Certs::new(case)?;
        let (versions, agent) = (Versions::start().await?, guarded_agent(case, &certs).await?);
        let wrong = [
            ("no-token", guarded(&certs, true, "wrong")),
            ("no-cert", guarded(&certs, false, "s3cret-of-the-fleet")),
            (
                "in-clear",
                "\"agent\": { \"address\": \"127.0.0.1:7070\", \"token\": \"s3cret-of-the-fleet\" }".to_owned(),
            ),
        ];
        for (node, wrong) in wrong {
            let setup = versions.setup().node(node).agent(agent.grpc());
            let envoy = Envoy::start(case.dir(), setup.edit(move |text| replace_once(text, AGENT, &wrong))).await?;
            tests::wait::until("the filter's word", tests::stage::WITHIN, async || {
                ensure!(envoy.log()?.contains("serin: no connection to agent"), "{node}: not yet");
                Ok(())
            })
            .await?;
            ensure_all_from(&tests::load::Load::new(envoy.addr()).exactly(100).await?, "v1")?;
            let log = envoy.log()?;
            ensure!(!log.contains("s3cret-of-the-fleet"), "{node}: the token is in Envoy's log");
        }
        let workers = agent.api("/api/v1/workers").await?;
        assert_eq!(workers.pointer("/items").and_then(|items| items.as_array()).map(Vec::len), Some(0));
        ensure!(!agent.log()?.contains("s3cret-of-the-fleet"), "the token is in the agent's log");
        Ok(())
    })
    .await
}
