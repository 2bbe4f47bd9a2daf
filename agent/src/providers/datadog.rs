//! Datadog: the metrics query API, v1.

use reqwest::Method;
use rollout::release::integrations::MetricError;
use serde::Deserialize;

use super::buckets::{Point, newest_closed};
use super::call::{Call, only};

/// The site US1; for any other the address is given.
const ADDRESS: &str = "https://api.datadoghq.com";

/// `/api/v1/query` over ten windows. The newest point counts whose bucket is over, where Flagger takes the oldest, which
/// says how the canary was ten windows ago.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let (api_key, application_key) = (call.secret("datadog_api_key")?, call.secret("datadog_application_key")?);
    let mut url = call.url(Some(ADDRESS), "/api/v1/query")?;
    let (from, to) = (call.since().0 / 1000, call.now.0 / 1000);
    url.query_pairs_mut()
        .append_pair("query", call.query.trim())
        .append_pair("from", &from.to_string())
        .append_pair("to", &to.to_string());
    let request = call.request(Method::GET, url);
    let request = request.header("DD-API-KEY", api_key).header("DD-APPLICATION-KEY", application_key);
    let answer: Answer = call.json(request).await?;
    if let Some(error) = answer.error.filter(|error| !error.is_empty()) {
        return Err(MetricError::Failed(error));
    }
    let Series { pointlist, interval } = only(answer.series)?;
    let points = pointlist.into_iter().map(|(at, value)| Point { at, value }).collect();
    newest_closed(points, interval.map(|seconds| seconds * 1000.0), call.window, call.now)
}

#[derive(Deserialize)]
struct Answer {
    /// Given with status 200 when the query is not understood.
    error: Option<String>,
    #[serde(default)]
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    /// Unix milliseconds and the value there.
    pointlist: Vec<(f64, Option<f64>)>,
    /// Seconds from one point to the next.
    interval: Option<f64>,
}
