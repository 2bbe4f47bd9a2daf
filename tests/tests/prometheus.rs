//! The provider for Prometheus against a real Prometheus server: what is measured, what is no value, what fails.

#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use agent::providers::Providers;
use anyhow::{Result, anyhow};
use manifest::query_template::{Values, render};
use rollout::base::time::Millis;
use rollout::release::integrations::{MetricError, Provider, ProviderKind, SecretRef};
use tests::case::Case;
use tests::certs::Certs;
use tests::prometheus::{Exporter, Prometheus};
use tests::wait::until;

const ERROR_RATE: &str = r#"
    100 * sum(rate(http_requests_total{app="{{ name }}", status=~"{{ variables.bad }}"}[{{ interval }}]))
        / sum(rate(http_requests_total{app="{{ name }}"}[{{ interval }}]))
"#;

fn provider(address: String) -> Provider {
    Provider {
        kind: ProviderKind::Prometheus,
        address: Some(address),
        headers: BTreeMap::new(),
        secret: None,
        region: None,
        insecure_skip_verify: false,
    }
}

async fn ask(providers: &Providers, provider: &Provider, query: &str) -> Result<f64, MetricError> {
    providers.query(provider, query, Millis::from_secs(60), Millis(0)).await
}

fn reason(answer: Result<f64, MetricError>) -> String {
    match answer {
        Err(MetricError::Failed(reason)) => reason,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn a_query_is_measured_by_a_real_server_and_what_it_cannot_measure_is_blind() -> Result<()> {
    Case::run("prometheus", async |case| {
        let exporter = Exporter::start().await?;
        let mut prometheus = Prometheus::start(case, "prometheus", &[exporter.addr()], None).await?;
        let providers = Providers::with_secrets_in(None)?;
        let provider = provider(format!("http://{}", prometheus.addr()));
        let variables = [("bad".to_owned(), "5..".to_owned())].into();
        let query = |name: &str| {
            let values = Values {
                name,
                version: "canary",
                namespace: "prod",
                target: name,
                service: name,
                ingress: "",
                route: "",
                interval: "1m",
                variables: &variables,
            };
            render(ERROR_RATE, &values)
        };

        exporter.scraped(3).await?;
        let rate = until("an error rate", Duration::from_secs(30), async || {
            ask(&providers, &provider, &query("web")?).await.map_err(|blind| anyhow!("{blind:?}"))
        });
        let rate = rate.await?;
        assert!((rate - 10.0).abs() < 1e-9, "{rate}");

        for (query, value) in [
            (query("other")?.as_str(), Err(MetricError::NoValue)),
            ("http_requests_total{app=\"nobody\"}", Err(MetricError::NoValue)),
            ("0 / 0", Err(MetricError::NoValue)),
            ("vector(0) / 0", Err(MetricError::NoValue)),
            ("count(http_requests_total)", Ok(2.0)),
            ("1 + 1", Ok(2.0)),
            (
                "1 / 0",
                Err(MetricError::Failed("prometheus: answered infinity, or a number too large to be one".into())),
            ),
        ] {
            assert_eq!(ask(&providers, &provider, query).await, value, "{query}");
        }
        for (query, part) in [
            ("http_requests_total", "prometheus: answered 2 series where one is needed"),
            ("http_requests_total[1m]", "prometheus: answered a range vector"),
            ("\"text\"", "prometheus: answered a string"),
            ("sum(", "parse error: unclosed left parenthesis"),
        ] {
            let reason = reason(ask(&providers, &provider, query).await);
            assert!(reason.contains(part), "{query}: {reason}");
        }
        prometheus.kill9()?;
        let gone = reason(ask(&providers, &provider, "1").await);
        assert!(gone.contains("refused"), "{gone}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_locked_server_wants_the_secret_and_its_certificate_somebody_who_vouches() -> Result<()> {
    Case::run("prometheus-locked", async |case| {
        let certs = Certs::new(case)?;
        // bcrypt of "open sesame".
        let web = format!(
            "tls_server_config: {{ cert_file: {}, key_file: {} }}\nbasic_auth_users: {{ aladdin: {} }}\n",
            certs.server.cert.display(),
            certs.server.key.display(),
            "$2b$04$tDyQGNCiChWHXO6KEMMnXu90mT4ABTH6.y2He5vO6fJjDmP3UmsEq",
        );
        let prometheus = Prometheus::start(case, "locked", &[], Some(&web)).await?;
        case.file("secrets/prod/prometheus/username", "aladdin\n")?;
        let password = case.file("secrets/prod/prometheus/password", "open sesame\n")?;
        let providers = Providers::with_secrets_in(Some(case.dir().join("secrets")))?;
        let mut provider = provider(format!("https://{}", prometheus.addr()));
        provider.secret = Some(SecretRef { namespace: "prod".into(), name: "prometheus".into() });

        let unknown = reason(ask(&providers, &provider, "1 + 1").await);
        assert!(unknown.contains("certificate"), "{unknown}");
        provider.insecure_skip_verify = true;
        assert_eq!(ask(&providers, &provider, "1 + 1").await, Ok(2.0));
        // A secret that changed is used at once.
        std::fs::write(&password, "wrong password")?;
        assert_eq!(reason(ask(&providers, &provider, "1 + 1").await), "prometheus: answered 401 Unauthorized");
        Ok(())
    })
    .await
}
