//! Prometheus, and whatever speaks its HTTP API (Thanos, Mimir, VictoriaMetrics): an instant query.

use reqwest::Method;
use rollout::release::integrations::MetricError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::call::{Call, failed, number, only};

/// `/api/v1/query`, evaluated at the server's now.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let mut url = call.url(None, "/api/v1/query")?;
    url.query_pairs_mut().append_pair("query", call.query.trim());
    let request = call.request(Method::GET, url);
    let request = call.authorized(request)?;
    let answer: Answer = call.json(request).await?;
    match answer.data {
        Data::Scalar((_, value)) => number(&value),
        Data::Vector(series) => match only(series)?.value {
            Some((_, value)) => number(&value),
            None => Err(failed("answered a histogram: take a quantile or a rate of it in the query")),
        },
        Data::Matrix(_) => Err(failed("answered a range vector: the query must give one number, not [5m] of them")),
        Data::String(_) => Err(failed("answered a string: the query must give a number")),
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar(Sample),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: Option<Sample>,
}

/// Time, and the value as text.
type Sample = (f64, String);
