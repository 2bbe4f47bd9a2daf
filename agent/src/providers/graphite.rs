//! Graphite: the render API. The query is what stands behind `/render?`, as in Flagger (`target=...&from=-5min`).

use reqwest::{Method, Url};
use rollout::release::integrations::MetricError;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

use super::buckets::{Point, newest_closed};
use super::call::{Call, failed, only, optional_number};

/// `/render` with `format=json`. Where the query names no `from`, ten windows are asked for: Graphite's own default is
/// a day, and a point of yesterday says nothing of this canary. The newest point counts whose bucket is over.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let mut url = call.url(None, "/render")?;
    let query = call.query.split_whitespace().collect::<Vec<_>>().join(" ");
    let asked = Url::parse(&format!("http://query/?{query}")).map_err(|error| failed(format!("query: {error}")))?;
    let pairs: Vec<_> = asked.query_pairs().filter(|(key, _)| key != "format").collect();
    if !pairs.iter().any(|(key, _)| key == "target") {
        return Err(failed("the query has no target=...: it must be what stands behind /render?"));
    }
    let trimmed = pairs.iter().map(|(key, value)| (key, value.trim()));
    url.query_pairs_mut().extend_pairs(trimmed).append_pair("format", "json");
    if !pairs.iter().any(|(key, _)| key == "from") {
        url.query_pairs_mut().append_pair("from", &(call.since().0 / 1000).to_string());
    }
    let request = call.request(Method::GET, url);
    let request = call.authorized(request)?;
    let series: Vec<Series> = call.json(request).await?;
    let points = only(series)?.datapoints.into_iter().map(|Datapoint(point)| point).collect();
    newest_closed(points, None, call.window, call.now)
}

#[derive(Deserialize)]
struct Series {
    datapoints: Vec<Datapoint>,
}

/// `[value, time in seconds]`; some servers write the value as text, all write null where there is none.
struct Datapoint(Point);

impl<'de> Deserialize<'de> for Datapoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (value, at) = <(Value, Value)>::deserialize(from)?;
        let at = at.as_f64().ok_or_else(|| D::Error::custom("a datapoint's time must be a number"))?;
        let value = optional_number(&value);
        let value = value.map_err(|_| D::Error::custom("a datapoint's value must be a number or null"))?;
        Ok(Self(Point { at: at * 1000.0, value }))
    }
}
