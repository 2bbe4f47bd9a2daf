//! InfluxDB 2: a Flux query, answered as CSV.

use std::collections::BTreeSet;

use csv::StringRecord;
use reqwest::Method;
use rollout::base::time::Millis;
use rollout::release::integrations::MetricError;
use serde_json::json;

use super::buckets::still_open;
use super::call::{Call, failed, number, unix_millis};

/// `/api/v2/query`. The last `_value` of the one table counts whose window is over: where the query folds its range, the
/// only one.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let (token, organisation) = (call.secret("token")?, call.secret("org")?);
    let mut url = call.url(None, "/api/v2/query")?;
    url.query_pairs_mut().append_pair("org", &organisation);
    let dialect = json!({ "header": true, "delimiter": ",", "annotations": ["datatype"] });
    let body = json!({ "query": call.query, "type": "flux", "dialect": dialect });
    let request = call.request(Method::POST, url).header("Authorization", format!("Token {token}"));
    let answer = call.text(request.header("Accept", "application/csv").json(&body)).await?;
    value(&answer, call.query, call.now)
}

/// Where the columns of the tables that follow are.
#[derive(Default)]
struct Columns {
    types: StringRecord,
    names: Option<StringRecord>,
}

impl Columns {
    fn of<'r>(&self, row: &'r StringRecord, name: &str) -> Option<&'r str> {
        row.get(self.at(name)?)
    }

    fn at(&self, name: &str) -> Option<usize> {
        self.names.as_ref()?.iter().position(|column| column == name)
    }

    /// Type of `_value`, where it is given.
    fn kind(&self) -> Option<&str> {
        self.types.get(self.at("_value")?)
    }
}

/// The rows of the one table, in order.
#[derive(Default)]
struct Rows {
    /// The time of each that has one, Unix time in milliseconds.
    times: Vec<f64>,
    /// End of the query's range.
    stop: Option<f64>,
    /// How many times were known by then, and the value.
    values: Vec<(usize, f64)>,
}

impl Rows {
    fn see(&mut self, time: Option<&str>, stop: Option<&str>) {
        self.times.extend(time.and_then(unix_millis));
        self.stop = stop.and_then(unix_millis).or(self.stop);
    }

    /// The last value whose window is over. A row that stands alone is the whole range's; of several the last is a window's.
    /// `aggregateWindow` names windows by their end, unless the query says otherwise, and cuts the last one off where the
    /// range ends; anything else may begin at its time.
    fn newest_closed(&self, is_by_end: bool, now: Millis) -> Result<f64, MetricError> {
        let last = self.values.last().ok_or(MetricError::NoValue)?;
        let [.., before, at] = self.times.as_slice() else { return Ok(last.1) };
        let earlier = self.times.iter().rev().nth(2).map(|earlier| before - earlier);
        let stop = self.stop.map_or(now.0 as f64, |stop| stop.min(now.0 as f64));
        let is_open = match earlier {
            // It ends with the range: whole only if it is as long as the one before it.
            _ if *at >= stop => earlier.is_none_or(|length| at - before < length),
            _ => !is_by_end && at + earlier.unwrap_or(at - before) > stop,
        };
        let closed = self.values.iter().rev().find(|(row, _)| !(is_open && *row == self.times.len()));
        closed.map(|(_, value)| *value).ok_or_else(still_open)
    }
}

fn value(answer: &str, query: &str, now: Millis) -> Result<f64, MetricError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(answer.as_bytes());
    let (mut columns, mut tables, mut rows) = (Columns::default(), BTreeSet::new(), Rows::default());
    for row in reader.records() {
        let row = row.map_err(|error| failed(format!("its answer is no CSV: {error}")))?;
        match row.get(0) {
            // Annotations begin a group of tables with columns of their own.
            Some("#datatype") => columns = Columns { types: row, names: None },
            Some(first) if first.starts_with('#') => columns.names = None,
            _ if columns.names.is_none() || columns.of(&row, "_value") == Some("_value") => {
                if !row.iter().any(|name| ["_value", "error"].contains(&name)) {
                    return Err(failed("its answer is not what was expected: columns without _value"));
                }
                columns.names = Some(row);
            }
            _ => {
                // A table of errors has no values; a measurement may well have a column of that name.
                if columns.at("_value").is_none()
                    && let Some(error) = columns.of(&row, "error")
                {
                    return Err(failed(format!("the query failed: {error}")));
                }
                let value = columns.of(&row, "_value").ok_or_else(|| failed("answered a row that is cut off"))?;
                rows.see(columns.of(&row, "_time"), columns.of(&row, "_stop"));
                if !value.is_empty() {
                    rows.values.push((rows.times.len(), measured(value, columns.kind())?));
                    let name = |column| columns.of(&row, column).unwrap_or_default().to_owned();
                    tables.insert((name("result"), name("table")));
                }
            }
        }
    }
    match tables.len() {
        0 | 1 => rows.newest_closed(query.contains("aggregateWindow") && !query.contains("\"_start\""), now),
        more => {
            Err(failed(format!("answered {more} tables where one is needed: group() or aggregate them in the query")))
        }
    }
}

/// Integers are as good as floats; anything else is no measurement.
fn measured(value: &str, kind: Option<&str>) -> Result<f64, MetricError> {
    match kind {
        None | Some("double" | "long" | "unsignedLong" | "") => number(value),
        Some(kind) => Err(failed(format!("answered a _value of type {kind}, which is no number"))),
    }
}
