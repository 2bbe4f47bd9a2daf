//! New Relic: the Insights query API.

use reqwest::Method;
use rollout::release::integrations::MetricError;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::call::{Call, failed, only};

/// United States; for Europe the address is given.
const ADDRESS: &str = "https://insights-api.newrelic.com";

/// `/v1/accounts/ID/query`: the query, and `SINCE` one window added to it.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let (account, key) = (call.secret("newrelic_account_id")?, call.secret("newrelic_query_key")?);
    if account.is_empty() || !account.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(failed("the secret's newrelic_account_id must be letters and digits"));
    }
    let mut url = call.url(Some(ADDRESS), &format!("/v1/accounts/{account}/query"))?;
    // Whole seconds, rounded up: a window of 500 ms is not none.
    let nrql = format!("{} SINCE {} seconds ago", call.query.trim(), call.window.0.div_ceil(1000));
    url.query_pairs_mut().append_pair("nrql", &nrql);
    let request = call.request(Method::GET, url).header("X-Query-Key", key).header("Accept", "application/json");
    let answer: Answer = call.json(request).await?;
    if !answer.series.is_empty() {
        return Err(failed(
            "answered a series: leave TIMESERIES out, since one number over the whole window is needed",
        ));
    }
    value(&only(answer.results)?)
}

#[derive(Deserialize)]
struct Answer {
    /// One for each function that the query selects.
    #[serde(default)]
    results: Vec<Value>,
    /// With TIMESERIES: one for each bucket, the last of which may still fill.
    #[serde(default, rename = "timeSeries")]
    series: Vec<IgnoredAny>,
}

/// `result` of an expression; a single function's number is called after the function (`count`, `average`).
fn value(result: &Value) -> Result<f64, MetricError> {
    if let Some(value) = result.get("result") {
        return if value.is_null() { Err(MetricError::NoValue) } else { value.as_f64().ok_or_else(|| odd(result)) };
    }
    let mut numbers = Vec::new();
    collect(result, &mut numbers);
    match numbers.as_slice() {
        [Some(number)] => Ok(*number),
        [None] => Err(MetricError::NoValue),
        _ => Err(odd(result)),
    }
}

/// Numbers and nulls at any depth: `percentile` has its own inside `percentiles`.
fn collect(value: &Value, numbers: &mut Vec<Option<f64>>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| collect(value, numbers)),
        Value::Number(number) => numbers.push(number.as_f64()),
        Value::Null => numbers.push(None),
        Value::Array(_) | Value::Bool(_) | Value::String(_) => {}
    }
}

fn odd(result: &Value) -> MetricError {
    failed(format!("answered {}, which is not one number", super::call::line(&result.to_string())))
}
