//! Anything that answers JSON over HTTP; ours, not Flagger's.
//!
//! The query's first line is a request below the address, with the place of the number as its fragment, a JSON pointer
//! (RFC 6901, section 6): `/stats?app=web#/data/0/errorRate`. `GET` or `POST` may stand before it; what follows the
//! first line is a POST's body, which is JSON. Without a fragment the whole answer is the number.
//!
//! ```yaml
//! query: |
//!   POST /search#/hits/total
//!   {"app": "{{ name }}", "since": "{{ interval }}"}
//! ```

use reqwest::{Method, Url};
use rollout::release::integrations::MetricError;
use serde_json::Value;

use super::call::{Call, failed, optional_number};

const FORM: &str = "the query must be [GET|POST] /path[?query][#/json/pointer], and with POST a JSON body below it";

/// The number where the pointer leads: a JSON number or one written as text. Null is no value, nothing there an error.
pub(super) async fn ask(call: &mut Call<'_>) -> Result<f64, MetricError> {
    let asked = Asked::read(call.query)?;
    let mut url = call.url(None, asked.path.path())?;
    if asked.path.query().is_some() {
        url.query_pairs_mut().extend_pairs(asked.path.query_pairs());
    }
    let mut request = call.request(asked.method, url).header("Accept", "application/json");
    if let Some(body) = &asked.body {
        request = request.json(body);
    }
    let request = call.authorized(request)?;
    let answer: Value = call.json(request).await?;
    let found = answer.pointer(&asked.pointer);
    let found = found.ok_or_else(|| failed(format!("its answer has nothing at {:?}", asked.pointer)))?;
    optional_number(found)?.ok_or(MetricError::NoValue)
}

struct Asked {
    method: Method,
    /// Only path and query of it count.
    path: Url,
    pointer: String,
    body: Option<Value>,
}

impl Asked {
    fn read(query: &str) -> Result<Self, MetricError> {
        let query = query.trim();
        let (line, body) = query.split_once('\n').unwrap_or((query, ""));
        let (method, path) = match line.trim().split_once(char::is_whitespace) {
            Some(("GET", path)) => (Method::GET, path.trim()),
            Some(("POST", path)) => (Method::POST, path.trim()),
            Some(_) => return Err(failed(FORM)),
            None => (Method::GET, line.trim()),
        };
        if !path.starts_with('/') {
            return Err(failed(FORM));
        }
        let path = Url::parse(&format!("http://query{path}")).map_err(|error| failed(format!("{FORM}: {error}")))?;
        let pointer = percent_encoding::percent_decode_str(path.fragment().unwrap_or_default());
        let pointer = pointer.decode_utf8().map_err(|_| failed(FORM))?.into_owned();
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(failed(FORM));
        }
        let body = match (body.trim(), &method) {
            ("", _) => None,
            (_, &Method::GET) => return Err(failed(FORM)),
            (body, _) => {
                Some(serde_json::from_str(body).map_err(|error| failed(format!("the query's body: {error}")))?)
            }
        };
        Ok(Self { method, path, pointer, body })
    }
}
