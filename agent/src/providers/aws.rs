//! Amazon keys that the agent has from where it runs: its environment, a profile, a web identity (IRSA), a pod identity or
//! a container's role (EKS, ECS), the machine's role. Amazon's own chain (`aws-config`) looks for them in this order; here
//! it gets our HTTP clients, silence, and a memory for what is granted for a while.

use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use reqwest::{Client, Method, Url};
use rollout::base::time::Millis;
use rollout::release::integrations::MetricError;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tracing::subscriber::{NoSubscriber, with_default};

use super::call::{self, Call, failed};
use crate::http_delivery;

/// Granted keys that are good for less than this are fetched anew.
const SPARE: Duration = Duration::from_secs(300);
/// Headers and fields of a form by which the chain shows who it is.
const SECRET_HEADERS: [&str; 3] = ["authorization", "x-aws-ec2-metadata-token", "x-amz-security-token"];
const SECRET_FIELDS: [&str; 1] = ["WebIdentityToken"];

/// Keys that were granted for a while. Clones share them: one query asks, and those that come meanwhile wait for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Granted(Arc<Mutex<Option<Credentials>>>);

impl Granted {
    /// The keys that the agent has now. What has no end is read anew each time, so that a change is seen at once.
    pub(super) async fn keys(&self, call: &mut Call<'_>, region: &str) -> Result<Credentials, MetricError> {
        let mut granted = self.0.lock().await;
        granted.take_if(|keys| !are_good(keys, call.now));
        let keys = match &*granted {
            Some(keys) => keys.clone(),
            None => found(call, region).await?,
        };
        *granted = keys.expiry().is_some().then(|| keys.clone());
        drop(granted);
        let secrets = [keys.access_key_id(), keys.secret_access_key(), keys.session_token().unwrap_or_default()];
        secrets.into_iter().for_each(|secret| call.hide(secret));
        Ok(keys)
    }

    /// They were of no use: what was granted may have been withdrawn.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

fn are_good(keys: &Credentials, now: Millis) -> bool {
    keys.expiry().is_some_and(|end| end > UNIX_EPOCH + Duration::from_millis(now.0) + SPARE)
}

/// Asks the chain. It reads files, so elsewhere than on the runtime's threads; and without a word in the log, where a
/// trace would show a request with the token in it.
async fn found(call: &mut Call<'_>, region: &str) -> Result<Credentials, MetricError> {
    let own = |name| (call.providers.environment)(name).filter(|value| !value.is_empty());
    // Where the agent runs may lie elsewhere than what it asks; a role is asked for where the agent runs.
    let region = own("AWS_REGION").or_else(|| own("AWS_DEFAULT_REGION")).unwrap_or_else(|| region.to_owned());
    let sent = Sent::default();
    let (client, direct) = (call.providers.client.clone(), call.providers.direct.clone());
    let sender = Sender { client, direct, sent: sent.clone(), most: None };
    let (runtime, most) = (Handle::current(), call.providers.timeout);
    let asking = move || runtime.block_on(async { tokio::time::timeout(most, chain(sender, region)).await });
    let answer = call.providers.secrets.elsewhere(move |_| with_default(NoSubscriber::new(), asking)).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    sent.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|secret| call.hide(secret));
    let why = match answer {
        Ok(Ok(keys)) => return Ok(keys),
        // Of the error itself one learns that there was one.
        Ok(Err(error)) => error.source().map_or_else(|| error.to_string(), http_delivery::with_causes),
        Err(_) => "no answer in time".to_owned(),
    };
    Err(failed(format!(
        "no keys: the template names no secret with aws_access_key_id and aws_secret_access_key, and the agent got none of \
        its own (environment, profile, web identity, container, instance): {why}"
    )))
}

async fn chain(sender: Sender, region: String) -> aws_credential_types::provider::Result {
    let client = http_client_fn(move |settings, _| SharedHttpConnector::new(sender.within(settings)));
    let config = ProviderConfig::without_region().with_http_client(client);
    let chain = DefaultCredentialsChain::builder().region(Region::new(region)).configure(config);
    chain.build().await.provide_credentials().await
}

/// What the chain showed to others.
#[derive(Clone, Debug, Default)]
struct Sent(Arc<std::sync::Mutex<Vec<String>>>);

/// Sends what the chain asks through our clients: the same TLS, no redirects, no proxy to the machine's own services.
#[derive(Clone, Debug)]
struct Sender {
    client: Client,
    direct: Client,
    sent: Sent,
    /// Longest that an answer may take, where the chain has a limit.
    most: Option<Duration>,
}

impl Sender {
    fn within(&self, settings: &HttpConnectorSettings) -> Self {
        let most = settings.read_timeout().map(|read| settings.connect_timeout().unwrap_or_default() + read);
        Self { most, ..self.clone() }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let unfit = |error: &dyn std::fmt::Display| ConnectorError::user(error.to_string().into());
        let url = Url::parse(request.uri()).map_err(|error| unfit(&error))?;
        let method = Method::from_bytes(request.method().as_bytes()).map_err(|error| unfit(&error))?;
        let body = request.body().bytes().ok_or_else(|| unfit(&"a request without its body"))?.to_vec();
        self.sent.note(&request, &body);
        let client = if is_near(&url) { &self.direct } else { &self.client };
        let headers = request.headers().iter();
        let asking = headers.fold(client.request(method, url), |asking, (name, value)| asking.header(name, value));
        let answer = asking.body(body).send().await.map_err(broken)?;
        let status = answer.status().as_u16().try_into().map_err(|error| unfit(&error))?;
        let headers = answer.headers().clone();
        let body =
            call::read(answer, |_| false).await.map_err(|blind| ConnectorError::io(format!("{blind:?}").into()))?;
        let mut response = HttpResponse::new(status, body.into());
        for (name, value) in &headers {
            // One that is no text says nothing to the chain.
            let Ok(value) = value.to_str() else { continue };
            response
                .headers_mut()
                .try_append(name.as_str().to_owned(), value.to_owned())
                .map_err(|error| unfit(&error))?;
        }
        Ok(response)
    }
}

impl HttpConnector for Sender {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sender = self.clone();
        HttpConnectorFuture::new(async move {
            let Some(most) = sender.most else { return sender.send(request).await };
            let late = |_| ConnectorError::timeout(format!("no answer within {} s", most.as_secs_f32()).into());
            tokio::time::timeout(most, sender.send(request)).await.map_err(late)?
        })
    }
}

impl Sent {
    fn note(&self, request: &HttpRequest, body: &[u8]) {
        let headers = SECRET_HEADERS.iter().filter_map(|name| request.headers().get(name)).map(str::to_owned);
        let form = String::from_utf8_lossy(body);
        let form = Url::parse(&format!("http://form/?{form}"));
        let fields = form.iter().flat_map(Url::query_pairs).filter(|(name, _)| SECRET_FIELDS.contains(&name.as_ref()));
        let fields = fields.map(|(_, value)| value.into_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(headers.chain(fields));
    }
}

/// Whether it is a service of the machine or of the cluster's node, which no proxy reaches.
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local() || address.is_loopback(),
        Ok(IpAddr::V6(address)) => address.is_unique_local() || address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

fn broken(error: reqwest::Error) -> ConnectorError {
    ConnectorError::io(http_delivery::with_causes(&error.without_url()).into())
}
