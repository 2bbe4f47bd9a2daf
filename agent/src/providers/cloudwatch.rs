//! Amazon CloudWatch: `GetMetricData`, signed (Signature Version 4).
//!
//! Credentials are the keys of the template's secret; without a secret those that the agent has from where it runs, by a
//! role or otherwise ([`super::aws`]).

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::{Method, Url};
use rollout::base::time::Millis;
use rollout::release::integrations::MetricError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::buckets::{Point, newest_closed};
use super::call::{Call, failed, optional_number};

/// Most points of one answer, as Flagger asks for.
const MAX_POINTS: u32 = 20;
/// What is signed besides the address and the body.
const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "GraniteServiceVersion20100801.GetMetricData")];

/// The newest value of the last ten windows whose period is over. The query is a list of MetricDataQuery, of which one
/// returns data.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let region = call.provider.region.clone().unwrap_or_default();
    let region = region.trim();
    if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(failed("needs spec.provider.region, such as eu-central-1"));
    }
    let queries: Value = serde_json::from_str(call.query).map_err(|error| failed(format!("the query: {error}")))?;
    if !queries.is_array() {
        return Err(failed("the query must be a JSON list of MetricDataQuery"));
    }
    let queries = as_aws_writes(queries);
    let period = longest_period(&queries);
    let body = json!({
        "MetricDataQueries": queries,
        "StartTime": call.since().0 / 1000,
        "EndTime": call.now.0 / 1000,
        "ScanBy": "TimestampDescending",
        "MaxDatapoints": MAX_POINTS,
    })
    .to_string();
    let url = call.url(Some(&endpoint(region)), "/")?;
    let keys = keys(call, region).await?;
    let signed = signed(&url, &body, region, keys, call.now)?;
    let mut request = call.request(Method::POST, url);
    for (name, value) in HEADERS.into_iter().chain(signed.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
        request = request.header(name, value);
    }
    let answer = call.json::<Answer>(request.body(body)).await;
    if answer.is_err() && call.provider.secret.is_none() {
        call.providers.granted.forget().await;
    }
    newest(&answer?, period, call)
}

/// The longest period of the query, in milliseconds: what an expression makes of several ends with the last of them.
fn longest_period(queries: &Value) -> Option<f64> {
    match queries {
        Value::Object(fields) => {
            let own = fields.get("Period").and_then(Value::as_f64).map(|seconds| seconds * 1000.0);
            fields.values().filter_map(longest_period).chain(own).max_by(f64::total_cmp)
        }
        Value::Array(items) => items.iter().filter_map(longest_period).max_by(f64::total_cmp),
        _ => None,
    }
}

fn endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://monitoring.{region}.{domain}")
}

async fn keys(call: &mut Call<'_>, region: &str) -> Result<Credentials, MetricError> {
    if call.provider.secret.is_none() {
        return call.providers.granted.keys(call, region).await;
    }
    let (id, key) = (call.secret("aws_access_key_id")?, call.secret("aws_secret_access_key")?);
    Ok(Credentials::new(id, key, call.optional("aws_session_token")?, None, "serin"))
}

/// The headers that the signature adds.
fn signed(
    url: &Url,
    body: &str,
    region: &str,
    keys: Credentials,
    now: Millis,
) -> Result<Vec<(String, String)>, MetricError> {
    let wrong = |error: &dyn std::fmt::Display| failed(format!("cannot sign the request: {error}"));
    let identity = keys.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("monitoring")
        .time(UNIX_EPOCH + Duration::from_millis(now.0))
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| wrong(&error))?
        .into();
    let request = SignableRequest::new("POST", url.as_str(), HEADERS.into_iter(), SignableBody::Bytes(body.as_bytes()));
    let signed = sign(request.map_err(|error| wrong(&error))?, &parameters).map_err(|error| wrong(&error))?;
    let (instructions, _signature) = signed.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Field names begin with a capital letter. Flagger's documentation writes them small, which Go reads as well.
fn as_aws_writes(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let capital = |name: String| {
                let mut rest = name.chars();
                rest.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(rest).collect::<String>()
            };
            fields.into_iter().map(|(name, value)| (capital(name), as_aws_writes(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(as_aws_writes).collect(),
        other => other,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    metric_data_results: Vec<Series>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    /// Newest first, as asked for.
    #[serde(default)]
    values: Vec<Value>,
    /// When the period of each begins, Unix time in seconds.
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    status_code: String,
}

fn newest(answer: &Answer, period: Option<f64>, call: &Call<'_>) -> Result<f64, MetricError> {
    let series = match answer.metric_data_results.as_slice() {
        [] => return Err(MetricError::NoValue),
        [series] => series,
        more => {
            let count = more.len();
            return Err(failed(format!(
                "answered {count} series where one is needed: give all others returnData: false"
            )));
        }
    };
    if ["InternalError", "Forbidden"].contains(&series.status_code.as_str()) {
        return Err(failed(format!("answered {}", series.status_code)));
    }
    let point = |(at, value): (&f64, &Value)| Ok(Point { at: at * 1000.0, value: optional_number(value)? });
    let points: Result<Vec<Point>, MetricError> = series.timestamps.iter().zip(&series.values).map(point).collect();
    newest_closed(points?, period, call.window, call.now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What botocore 1.44.5 makes of the same request, time and keys (AWS's documented example keys).
    #[test]
    fn the_signature_is_that_of_amazons_own_client() {
        assert_eq!(endpoint("cn-north-1"), "https://monitoring.cn-north-1.amazonaws.com.cn");
        let url = Url::parse(&endpoint("eu-central-1")).unwrap();
        let keys = |token: Option<&str>| {
            let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            Credentials::new("AKIDEXAMPLE", key, token.map(str::to_owned), None, "test")
        };
        for (token, signature) in [
            (None, "b0ab23be9316220807bd68356f72b2b6d47af71eadaff43402ed0657ccd1c44f"),
            (Some("session"), "5213e42d4696f83cd420d4cb34c2a7f94c9e1adea3acef20f92ddabc9f0d0938"),
        ] {
            let headers = signed(&url, "{\"a\": 1}", "eu-central-1", keys(token), Millis(1_767_323_045_678)).unwrap();
            let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            let names = if token.is_some() { ";x-amz-security-token;x-amz-target" } else { ";x-amz-target" };
            assert_eq!(
                header("authorization").unwrap(),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-central-1/monitoring/aws4_request, \
                    SignedHeaders=content-type;host;x-amz-date{names}, Signature={signature}"
                )
            );
            assert_eq!((header("x-amz-date"), header("x-amz-security-token")), (Some("20260102T030405Z"), token));
        }
    }
}
