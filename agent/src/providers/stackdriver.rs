//! Google Cloud Monitoring: a query in MQL, and the token that it needs.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use reqwest::{Method, Url};
use rollout::base::time::Millis;
use rollout::release::integrations::MetricError;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::buckets::still_open;
use super::call::{Call, failed, only, optional_number, unix_millis};

const ADDRESS: &str = "https://monitoring.googleapis.com";
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.read";
/// Who answers tokens of the service account that a pod on GKE is bound to (Workload Identity), or of the machine's own.
const METADATA: &str = "metadata.google.internal";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long a token may be good, in seconds; Google takes no more than an hour.
const LIFE_S: u64 = 3600;

/// `projects/ID/timeSeries:query`: the newest point of the one series whose interval is over and as long as the others'.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let project = call.secret("project")?;
    if project.is_empty() || !project.chars().all(|c| c.is_ascii_alphanumeric() || "-.:_".contains(c)) {
        return Err(failed("the secret's project must be a project's ID"));
    }
    let url = call.url(Some(ADDRESS), &format!("/v3/projects/{project}/timeSeries:query"))?;
    let token = token(call).await?;
    let request = call.request(Method::POST, url).bearer_auth(token).json(&json!({ "query": call.query.trim() }));
    let answer: Answer = call.json(request).await?;
    if let Some(error) = answer.partial_errors.first() {
        return Err(failed(format!("answered only a part: {}", error.message)));
    }
    newest(only(answer.time_series_data)?, call.now)
}

/// An access token, fetched for each query: a changed key is used at once, and nothing is kept that could be stolen.
async fn token(call: &mut Call<'_>) -> Result<String, MetricError> {
    let request = match call.optional("serviceAccountKey")? {
        Some(key) => {
            let key: Key = serde_json::from_str(&key).map_err(|error| {
                failed(format!("the secret's serviceAccountKey is no service account's key: {error}"))
            })?;
            let url =
                Url::parse(&key.token_uri).map_err(|error| failed(format!("serviceAccountKey, token_uri: {error}")))?;
            call.hide(&key.private_key);
            let assertion = assertion(&key, call.now)?;
            call.hide(&assertion);
            call.plain(Method::POST, url).form(&[("grant_type", GRANT), ("assertion", &assertion)])
        }
        None => {
            let host = (call.providers.environment)("GCE_METADATA_HOST").filter(|host| !host.is_empty());
            let host = host.unwrap_or_else(|| METADATA.to_owned());
            let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
            let url = Url::parse(&url).map_err(|error| failed(format!("GCE_METADATA_HOST: {error}")))?;
            call.local(Method::GET, url).header("Metadata-Flavor", "Google")
        }
    };
    let granted = call.json::<Token>(request).await.map_err(|blind| match blind {
        MetricError::Failed(reason) => failed(format!("no access token: {reason}")),
        MetricError::NoValue => MetricError::NoValue,
    })?;
    call.hide(&granted.access_token);
    Ok(granted.access_token)
}

/// What the file of a service account's key holds.
#[derive(Deserialize)]
struct Key {
    client_email: String,
    private_key: String,
    private_key_id: String,
    token_uri: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// A JSON Web Token, signed with the account's key (RS256; RFC 7523): rustls has the signing already.
fn assertion(key: &Key, now: Millis) -> Result<String, MetricError> {
    let wrong = |what: &dyn std::fmt::Display| failed(format!("serviceAccountKey, private_key: {what}"));
    // The error would show the line that it does not understand: the whole key where its line breaks are lost.
    let no_pem = |_| wrong(&"is no PEM; its line breaks may be lost");
    let private = PrivateKeyDer::from_pem_slice(key.private_key.as_bytes()).map_err(no_pem)?;
    let private = any_supported_type(&private).map_err(|error| wrong(&error))?;
    let signer = private.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(|| wrong(&"is no RSA key"))?;
    let seconds = now.0 / 1000;
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key.private_key_id });
    let (issuer, audience) = (&key.client_email, &key.token_uri);
    let claims = json!({ "iss": issuer, "scope": SCOPE, "aud": audience, "iat": seconds, "exp": seconds + LIFE_S });
    let encode = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = signer.sign(signed.as_bytes()).map_err(|error| wrong(&error))?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    time_series_data: Vec<Series>,
    #[serde(default)]
    partial_errors: Vec<Partial>,
}

#[derive(Deserialize)]
struct Partial {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    #[serde(default)]
    point_data: Vec<Point>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    /// One for each column of the query's result.
    values: Vec<Value>,
    #[serde(default)]
    time_interval: Interval,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interval {
    #[serde(default)]
    start_time: String,
    #[serde(default)]
    end_time: String,
}

impl Interval {
    /// How long, in milliseconds; a gauge's moment has no length.
    fn length(&self) -> Option<f64> {
        let length = unix_millis(&self.end_time)? - unix_millis(&self.start_time)?;
        Some(length).filter(|length| *length > 0.0)
    }

    fn is_over(&self, now: Millis) -> bool {
        unix_millis(&self.end_time).is_none_or(|end| end <= now.0 as f64)
    }
}

fn newest(series: Series, now: Millis) -> Result<f64, MetricError> {
    let full = series.point_data.iter().filter_map(|point| point.time_interval.length()).max_by(f64::total_cmp);
    let any = !series.point_data.is_empty();
    // A point of a shorter interval than the others' was cut off at the end of the query's time.
    let is_whole = |point: &Point| match (point.time_interval.length(), full) {
        (Some(length), Some(full)) => length >= full,
        _ => true,
    };
    let closed = series.point_data.into_iter().filter(|point| point.time_interval.is_over(now) && is_whole(point));
    // Google answers the newest first; where two end at once, that order decides.
    let closed: Vec<Point> = closed.collect();
    let newest = closed.into_iter().rev().max_by(|a, b| a.time_interval.end_time.cmp(&b.time_interval.end_time));
    let value = only(newest.ok_or_else(|| if any { still_open() } else { MetricError::NoValue })?.values)?;
    // A 64-bit integer is written as text.
    let number = value.get("doubleValue").or_else(|| value.get("int64Value"));
    optional_number(number.ok_or_else(|| failed("answered a point that is no number: reduce it in the query"))?)?
        .ok_or(MetricError::NoValue)
}
