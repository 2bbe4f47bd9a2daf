//! Splunk Observability: a SignalFlow program, run over HTTP, which answers server-sent events.

use std::collections::BTreeSet;

use reqwest::{Method, Url};
use rollout::release::integrations::MetricError;
use serde::Deserialize;
use serde_json::Value;

use super::buckets::{Point, newest_closed};
use super::call::{Call, failed, line, parsed};

/// The event that ends a stream is not longer.
const LAST_EVENT_BYTES: usize = 4096;

/// `/v2/signalflow/execute` over ten windows, ended at now. The newest point counts whose time is over; more than one
/// series is an error.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let token = call.secret("sf_token_key")?;
    let mut url = call.url(None, "/v2/signalflow/execute")?;
    stream(&mut url)?;
    let (start, stop) = (call.since().0, call.now.0);
    url.query_pairs_mut()
        .append_pair("start", &start.to_string())
        .append_pair("stop", &stop.to_string())
        .append_pair("immediate", "true");
    let request = call.request(Method::POST, url).header("X-SF-Token", token).header("Content-Type", "text/plain");
    let answer = call.text_until(request.body(call.query.trim().to_owned()), has_ended).await?;
    value(&answer, call)
}

/// Flagger is given the API's address or the stream's; programs run only at the stream's.
fn stream(url: &mut Url) -> Result<(), MetricError> {
    let realm = url.host_str().and_then(|host| host.strip_prefix("api."));
    let Some(host) = realm.map(|realm| format!("stream.{realm}")) else { return Ok(()) };
    url.set_host(Some(&host)).map_err(|error| failed(format!("spec.provider.address: {error}")))
}

/// Whether the stream has said its last: it need not be closed then.
fn has_ended(so_far: &[u8]) -> bool {
    let is_whole = so_far.ends_with(b"\n\n") || so_far.ends_with(b"\r\n\r\n");
    let last = so_far.get(so_far.len().saturating_sub(LAST_EVENT_BYTES)..).unwrap_or_default();
    let has = |word: &[u8]| last.windows(word.len()).any(|part| part == word);
    is_whole && (has(b"END_OF_CHANNEL") || has(b"CHANNEL_ABORT"))
}

fn value(answer: &str, call: &Call<'_>) -> Result<f64, MetricError> {
    let (mut series, mut points, mut resolution, mut ended) = (BTreeSet::new(), Vec::new(), None, false);
    for (kind, data) in events(answer) {
        match kind {
            "data" => {
                let data: Data = parsed(&data)?;
                for point in data.data.into_iter().filter(|point| point.value.is_some()) {
                    series.insert(point.series);
                    points.push(Point { at: data.at, value: point.value });
                }
            }
            "control-message" => {
                let control: Control = parsed(&data)?;
                if control.event == "CHANNEL_ABORT" {
                    return Err(failed(format!("the program was ended: {}", line(&control.info.to_string()))));
                }
                ended |= control.event == "END_OF_CHANNEL";
            }
            "error" => return Err(failed(format!("the program failed: {}", line(&data)))),
            "message" => resolution = parsed::<Message>(&data)?.message.contents.resolution.or(resolution),
            // Metadata and events: nothing of the number.
            _ => {}
        }
    }
    if !ended {
        return Err(failed("its answer is not what was expected: EOF before END_OF_CHANNEL"));
    }
    match series.len() {
        0 | 1 => newest_closed(points, resolution, call.window, call.now),
        more => Err(failed(format!("answered {more} series where one is needed: aggregate them in the query"))),
    }
}

/// Server-sent events: their kind, and their `data` lines joined.
fn events(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let (mut kind, mut data) = ("message", Vec::new());
        for line in lines.by_ref() {
            match line.split_once(':').map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("event", value)) => kind = value,
                Some(("data", value)) => data.push(value),
                None if line.is_empty() && !data.is_empty() => return Some((kind, data.join("\n"))),
                None if line.is_empty() => kind = "message",
                _ => {}
            }
        }
        // What is not ended by an empty line was cut off and, by the standard, is dropped.
        None
    })
}

#[derive(Deserialize)]
struct Data {
    data: Vec<Datum>,
    /// When the time that the points are about begins, Unix time in milliseconds.
    #[serde(rename = "logicalTimestampMs")]
    at: f64,
}

/// What the job says of itself; of all kinds only one has a resolution.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    message: Body,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    contents: Contents,
}

#[derive(Default, Deserialize)]
struct Contents {
    /// From one point to the next, in milliseconds.
    #[serde(default, rename = "resolutionMs")]
    resolution: Option<f64>,
}

#[derive(Deserialize)]
struct Datum {
    #[serde(rename = "tsId")]
    series: String,
    value: Option<f64>,
}

#[derive(Deserialize)]
struct Control {
    event: String,
    #[serde(default, rename = "abortInfo")]
    info: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apis_address_leads_to_the_streams() {
        for (given, used) in [
            ("https://api.eu0.signalfx.com/x", "https://stream.eu0.signalfx.com/x"),
            ("https://stream.us1.signalfx.com/x", "https://stream.us1.signalfx.com/x"),
            ("https://splunk.example/api.", "https://splunk.example/api."),
        ] {
            let mut url = Url::parse(given).unwrap();
            stream(&mut url).unwrap();
            assert_eq!(url.as_str(), used);
        }
    }
}
