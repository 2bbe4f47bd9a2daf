//! Dynatrace: the metrics API v2. The query is a metric selector.

use reqwest::Method;
use rollout::release::integrations::MetricError;
use serde::Deserialize;

use super::call::{Call, failed, only};

/// `/api/v2/metrics/query` over ten windows, folded into one value (`resolution=Inf`).
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let token = call.secret("dynatrace_token")?;
    let mut url = call.url(None, "/api/v2/metrics/query")?;
    let (from, to) = (call.since().0, call.now.0);
    url.query_pairs_mut()
        .append_pair("metricSelector", call.query.trim())
        .append_pair("resolution", "Inf")
        .append_pair("from", &from.to_string())
        .append_pair("to", &to.to_string());
    let request = call.request(Method::GET, url).header("Authorization", format!("Api-Token {token}"));
    let answer: Answer = call.json(request).await?;
    let values = only(answer.result.into_iter().flat_map(|metric| metric.data))?.values;
    match values.as_slice() {
        [] => Err(MetricError::NoValue),
        [value] => value.ok_or(MetricError::NoValue),
        more => Err(failed(format!("answered {} values where one was asked for (resolution=Inf)", more.len()))),
    }
}

#[derive(Deserialize)]
struct Answer {
    /// One for each metric of the selector.
    result: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    /// One for each tuple of dimensions.
    data: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    values: Vec<Option<f64>>,
}
