//! One query on its way: what every vendor's request and answer have in common, limits and secrecy above all.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use base64::prelude::{BASE64_STANDARD as STANDARD, Engine};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use rollout::base::time::Millis;
use rollout::release::integrations::{MetricError, Provider};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Providers;
use crate::http_delivery::{self, Hidden};
use crate::secrets::{Secret, SecretError};

/// Longest answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Longest part of a refusal's body that is looked at.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// How many windows are asked for where the newest point is taken: vendors are late.
const WINDOWS: u64 = 10;

/// One query and what it may use.
pub(super) struct Call<'a> {
    pub(super) providers: &'a Providers,
    /// Asks the provider's own address alone: it may be configured to accept any certificate.
    client: &'a Client,
    /// The keys of the provider's secret, or why each cannot be had.
    keys: BTreeMap<String, Result<Secret, SecretError>>,
    pub(super) provider: &'a Provider,
    /// The template rendered.
    pub(super) query: &'a str,
    /// The metric's interval.
    pub(super) window: Millis,
    /// Unix time.
    pub(super) now: Millis,
    /// What must not appear in a reason.
    hidden: Hidden,
}

/// That it could not be had, and why.
pub(super) fn failed(reason: impl Into<String>) -> MetricError {
    MetricError::Failed(reason.into())
}

/// The one series of an answer.
pub(super) fn only<T>(series: impl IntoIterator<Item = T>) -> Result<T, MetricError> {
    let mut series = series.into_iter();
    let first = series.next().ok_or(MetricError::NoValue)?;
    match series.count() {
        0 => Ok(first),
        more => Err(failed(format!("answered {} series where one is needed: aggregate them in the query", more + 1))),
    }
}

/// A number written as text.
pub(super) fn number(text: &str) -> Result<f64, MetricError> {
    text.trim().parse().map_err(|_| failed(format!("answered {:?}, which is no number", line(text))))
}

/// RFC 3339 to Unix time in milliseconds; `None` for anything else.
pub(super) fn unix_millis(text: &str) -> Option<f64> {
    let at = humantime::parse_rfc3339(text).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_millis() as f64)
}

/// A JSON number, also one written as text (`"NaN"`, a 64-bit integer); `None` for null.
pub(super) fn optional_number(value: &Value) -> Result<Option<f64>, MetricError> {
    match value {
        Value::Null => Ok(None),
        Value::Number(value) => Ok(value.as_f64()),
        Value::String(text) => number(text).map(Some),
        other => Err(failed(format!("answered {}, which is no number", line(&other.to_string())))),
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(
        providers: &'a Providers,
        provider: &'a Provider,
        query: &'a str,
        window: Millis,
        now: Millis,
    ) -> Self {
        let mut hidden = Hidden::default();
        provider.headers.values().flatten().for_each(|value| hidden.add(value));
        let client = if provider.insecure_skip_verify { &providers.trusting } else { &providers.client };
        Self { providers, client, keys: BTreeMap::new(), provider, query, window, now, hidden }
    }

    /// Where a window of ten intervals begins, Unix time.
    pub(super) fn since(&self) -> Millis {
        Millis(self.now.0.saturating_sub(self.window.0.saturating_mul(WINDOWS)))
    }

    /// Reads the provider's secret: what [`Call::secret`] and [`Call::optional`] have.
    pub(super) async fn read_secret(&mut self) -> Result<(), MetricError> {
        let Some(secret) = self.provider.secret.clone() else { return Ok(()) };
        let secrets = &self.providers.secrets;
        let keys = secrets.elsewhere(move |secrets| secrets.each(&secret)).await.and_then(|keys| keys);
        self.keys = keys.map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    /// One key of the provider's secret.
    pub(super) fn secret(&mut self, key: &str) -> Result<String, MetricError> {
        let missing = match &self.provider.secret {
            Some(secret) => SecretError::Key { name: format!("{}/{}", secret.namespace, secret.name), key: key.into() },
            None => return Err(failed(format!("needs a secret (secretRef) with the key {key}"))),
        };
        self.optional(key)?.ok_or_else(|| failed(missing.to_string()))
    }

    /// One key of the provider's secret, if it has it.
    pub(super) fn optional(&mut self, key: &str) -> Result<Option<String>, MetricError> {
        let Some(value) = self.keys.get(key) else { return Ok(None) };
        let value = value.as_ref().map_err(|error| failed(error.to_string()))?.reveal().to_owned();
        self.hide(&value);
        Ok(Some(value))
    }

    /// Keeps a text out of every reason.
    pub(super) fn hide(&mut self, text: &str) {
        self.hidden.add(text);
    }

    /// A reason as it may be shown: on one line, of bounded length, without what must not appear in it.
    pub(super) fn clean(&self, reason: &str) -> String {
        self.hidden.clean(&line(reason))
    }

    /// `path` below the provider's address, or below `default` where it has none. A query of the address is kept.
    pub(super) fn url(&mut self, default: Option<&str>, path: &str) -> Result<Url, MetricError> {
        let address = self.provider.address.as_deref().filter(|address| !address.trim().is_empty()).or(default);
        let address = address.ok_or_else(|| failed("needs spec.provider.address"))?;
        let mut url = Url::parse(address.trim()).map_err(|error| failed(format!("spec.provider.address: {error}")))?;
        // Splunk's address may be a web socket's, as for Flagger; the same server speaks HTTP.
        let scheme = match url.scheme() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            _ => return Err(failed("spec.provider.address must begin with http:// or https://")),
        };
        url.set_scheme(scheme).map_err(|()| failed("spec.provider.address: cannot be an address of HTTP"))?;
        self.hidden.merge(&Hidden::of(&url));
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url)
    }

    /// A request with the provider's headers.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let headers = self.provider.headers.iter();
        let headers = headers.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        headers.fold(self.client.request(method, url), |request, (name, value)| request.header(name, value))
    }

    /// A request to somebody other than the provider: without its headers, and whatever is believed of the provider.
    pub(super) fn plain(&self, method: Method, url: Url) -> RequestBuilder {
        self.providers.client.request(method, url)
    }

    /// A request to the machine's own service, which no proxy knows: without the provider's headers.
    pub(super) fn local(&self, method: Method, url: Url) -> RequestBuilder {
        self.providers.direct.request(method, url)
    }

    /// A request with the secret's `token`, or its `username` and `password`; without a secret as it is.
    pub(super) fn authorized(&mut self, request: RequestBuilder) -> Result<RequestBuilder, MetricError> {
        if self.provider.secret.is_none() {
            return Ok(request);
        }
        if let Some(token) = self.optional("token")? {
            return Ok(request.bearer_auth(token));
        }
        match (self.optional("username")?, self.optional("password")?) {
            (Some(username), Some(password)) => {
                self.hide(&STANDARD.encode(format!("{username}:{password}")));
                Ok(request.basic_auth(username, Some(password)))
            }
            _ => Err(failed("the secret has neither token nor username and password")),
        }
    }

    /// The answer, read as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, MetricError> {
        parsed(&self.text(request).await?)
    }

    /// The whole answer of a request that was granted.
    pub(super) async fn text(&self, request: RequestBuilder) -> Result<String, MetricError> {
        self.text_until(request, |_| false).await
    }

    /// The answer as far as `complete` calls it complete; the end of what is sent ends it anyway.
    pub(super) async fn text_until(
        &self,
        request: RequestBuilder,
        complete: impl Fn(&[u8]) -> bool,
    ) -> Result<String, MetricError> {
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        if status.is_success() {
            let body = read(answer, complete).await?;
            return String::from_utf8(body).map_err(|_| failed("answered something that is no UTF-8 text"));
        }
        let body = read(answer, |body| body.len() >= MAX_REFUSAL_BYTES).await.unwrap_or_default();
        Err(self.refused(status, &String::from_utf8_lossy(&body)))
    }

    fn refused(&self, status: StatusCode, body: &str) -> MetricError {
        let code = status.as_u16();
        if status.is_redirection() {
            return failed(format!(
                "redirects ({code}), which is not followed: set spec.provider.address to the place"
            ));
        }
        // Most vendors answer JSON, and most of it is not for people.
        let said = serde_json::from_str::<Value>(body).ok().and_then(|body| message(&body));
        let said = match said {
            Some(said) => self.clean(&said),
            None if body.len() >= MAX_REFUSAL_BYTES => self.hidden.clean_cut(&line(body)),
            None => self.clean(body),
        };
        failed(format!("answered {code} {said}").trim_end())
    }
}

/// JSON as an answer has it.
pub(super) fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, MetricError> {
    serde_json::from_str(text).map_err(|error| failed(format!("its answer is not what was expected: {error}")))
}

/// A text on one line. Not cut: half a secret would be one too, so that is done last, by [`Call::clean`].
pub(super) fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The body as far as `complete` calls it complete.
pub(super) async fn read(mut answer: Response, complete: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, MetricError> {
    let mut body = Vec::new();
    while !complete(&body)
        && let Some(chunk) = answer.chunk().await.map_err(broken)?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(failed("answered more than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a vendor's error says, where one of the usual places has it.
fn message(body: &Value) -> Option<String> {
    let places = ["/error/message", "/error_description", "/message", "/Message", "/error", "/errors/0"];
    places.iter().find_map(|place| body.pointer(place)?.as_str()).map(str::to_owned)
}

/// A request that got no whole answer. Without its URL, whose query may hold a secret.
fn broken(error: reqwest::Error) -> MetricError {
    failed(http_delivery::with_causes(&error.without_url()))
}
