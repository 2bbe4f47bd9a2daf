//! InfluxDB 2: a Flux query, answered as CSV.

use std::collections::BTreeSet;

use csv::StringRecord;
use reqwest::Method;
use rollout::release::integrations::MetricError;
use serde_json::json;

use super::call::{Call, failed, number};

/// `/api/v2/query`. The last `_value` of the one table counts: where the query folds its range, the only one.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let (token, organisation) = (call.secret("token")?, call.secret("org")?);
    let mut url = call.url(None, "/api/v2/query")?;
    url.query_pairs_mut().append_pair("org", &organisation);
    let dialect = json!({ "header": true, "delimiter": ",", "annotations": ["datatype"] });
    let body = json!({ "query": call.query, "type": "flux", "dialect": dialect });
    let request = call.request(Method::POST, url).header("Authorization", format!("Token {token}"));
    value(&call.text(request.header("Accept", "application/csv").json(&body)).await?)
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

fn value(answer: &str) -> Result<f64, MetricError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(answer.as_bytes());
    let (mut columns, mut tables, mut last) = (Columns::default(), BTreeSet::new(), None);
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
                if !value.is_empty() {
                    last = Some(measured(value, columns.kind())?);
                    let name = |column| columns.of(&row, column).unwrap_or_default().to_owned();
                    tables.insert((name("result"), name("table")));
                }
            }
        }
    }
    match tables.len() {
        0 | 1 => last.ok_or(MetricError::NoValue),
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
