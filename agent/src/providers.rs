//! Metric providers: one query to one server, and the one number that it answers.
//!
//! | kind | keys of the secret | address | window | the value |
//! |---|---|---|---|---|
//! | `prometheus` | `token`, or `username` and `password` | needed | in the query | the one series of an instant query, or a scalar |
//! | `datadog` | `datadog_api_key`, `datadog_application_key` | US1 site by default | 10 windows | the newest closed point that is not null |
//! | `cloudwatch` | `aws_access_key_id`, `aws_secret_access_key`, maybe `aws_session_token`; or no secret | by `region` | 10 windows | the newest closed value of the one result |
//! | `newrelic` | `newrelic_account_id`, `newrelic_query_key` | US by default | `SINCE` one window | `result`, or the only number |
//! | `graphite` | `username` and `password` | needed | `from` of the query, else 10 windows | the last closed one that is not null |
//! | `influxdb` | `token`, `org` | needed | in the query | the last closed record of the one table |
//! | `stackdriver` | `project`, maybe `serviceAccountKey` | Google's by default | in the query | the newest closed point |
//! | `dynatrace` | `dynatrace_token` | needed | 10 windows | the one series' one value |
//! | `splunk` | `sf_token_key` | needed | 10 windows | the last closed one of the one series |
//! | `http` | `token`, or `username` and `password` | needed | in the query | where the query's JSON pointer leads |
//!
//! The same for all: more than one series is an error (whichever were picked, half of the canary would go unseen);
//! nothing, null or NaN is no value, and neither is infinity or a number too large to be one: whatever divided by zero has
//! measured nothing, and must not pass a bound. A bucket that still fills decides nothing ([`buckets`]). An answer has
//! at most 1 MiB, all of it arrives within 10 s (in which the secret is read, too), redirects are not followed (they
//! would carry the credentials to the host named there), and no reason shows a secret.

mod call;
// Uses `call`, and vendors that answer series use it.
mod buckets;
// Uses `call`, and `cloudwatch` uses it.
mod aws;
mod cloudwatch;
mod datadog;
mod dynatrace;
mod graphite;
mod http;
mod influxdb;
mod newrelic;
mod prometheus;
mod splunk;
mod stackdriver;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rollout::base::time::Millis;
use rollout::release::integrations::{MetricError, Provider, ProviderKind};

use crate::secrets::Secrets;
use call::{Call, failed};

/// Longest that all of one query may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP clients behind all providers, and where secrets lie.
#[derive(Clone, Debug)]
pub struct Providers {
    secrets: Secrets,
    client: Client,
    /// For servers whose certificate is not to be verified.
    trusting: Client,
    /// For what is asked without a proxy, whatever the environment says.
    direct: Client,
    /// Looks up a variable of the environment.
    environment: fn(&str) -> Option<String>,
    /// Amazon keys that the agent was granted.
    granted: aws::Granted,
    timeout: Duration,
}

impl Providers {
    /// Providers whose credentials are in `secrets`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(secrets: Secrets) -> Result<Self, reqwest::Error> {
        // Another part of the process may have chosen a provider already; either is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A query comes once a minute: a connection that was kept would often be closed by then, and the query lost.
        let client = || Client::builder().redirect(Policy::none()).pool_max_idle_per_host(0);
        Ok(Self {
            secrets,
            client: client().build()?,
            direct: client().no_proxy().build()?,
            trusting: client().tls_danger_accept_invalid_certs(true).build()?,
            environment: |name| std::env::var(name).ok(),
            granted: aws::Granted::default(),
            timeout: TIMEOUT,
        })
    }

    /// Providers whose credentials are files `NAMESPACE/NAME/KEY` below a folder, if they need any.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn with_secrets_in(folder: Option<PathBuf>) -> Result<Self, reqwest::Error> {
        Self::new(Secrets::new(folder))
    }

    /// Asks for one number. `query` is the template rendered; `window` the metric's interval; `now` Unix time.
    ///
    /// # Errors
    /// [`MetricError::NoValue`] when there is none; [`MetricError::Failed`] with the reason when it could not be had, which is
    /// free of secrets and of the address's query and password.
    pub async fn query(
        &self,
        provider: &Provider,
        query: &str,
        window: Millis,
        now: Millis,
    ) -> Result<f64, MetricError> {
        let mut call = Call::new(self, provider, query, window, now);
        let asking = async {
            call.read_secret().await?;
            ask(&mut call).await
        };
        let asked = tokio::time::timeout(self.timeout, asking).await;
        let value = asked.unwrap_or_else(|_| Err(failed(format!("no answer within {} s", self.timeout.as_secs_f32()))));
        match value {
            Ok(value) if value.is_nan() => Err(MetricError::NoValue),
            Ok(value) if value.is_infinite() => {
                Err(failed(format!("{}: answered infinity, or a number too large to be one", name(provider.kind))))
            }
            Ok(value) => Ok(value),
            Err(MetricError::NoValue) => Err(MetricError::NoValue),
            // Any server's text becomes fit to be journalled and shown here.
            Err(MetricError::Failed(reason)) => {
                Err(failed(format!("{}: {}", name(provider.kind), call.clean(&reason))))
            }
        }
    }
}

async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    match call.provider.kind {
        ProviderKind::Prometheus => prometheus::ask(call).await,
        ProviderKind::Datadog => datadog::ask(call).await,
        ProviderKind::CloudWatch => cloudwatch::ask(call).await,
        ProviderKind::NewRelic => newrelic::ask(call).await,
        ProviderKind::Graphite => graphite::ask(call).await,
        ProviderKind::InfluxDb => influxdb::ask(call).await,
        ProviderKind::Stackdriver => stackdriver::ask(call).await,
        ProviderKind::Dynatrace => dynatrace::ask(call).await,
        ProviderKind::Splunk => splunk::ask(call).await,
        ProviderKind::Http => http::ask(call).await,
    }
}

/// As it is written in a MetricTemplate.
pub(crate) const fn name(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Prometheus => "prometheus",
        ProviderKind::Datadog => "datadog",
        ProviderKind::CloudWatch => "cloudwatch",
        ProviderKind::NewRelic => "newrelic",
        ProviderKind::Graphite => "graphite",
        ProviderKind::InfluxDb => "influxdb",
        ProviderKind::Stackdriver => "stackdriver",
        ProviderKind::Dynatrace => "dynatrace",
        ProviderKind::Splunk => "splunk",
        ProviderKind::Http => "http",
    }
}
