//! The plain webhook, for everything else. Its body is part of what we promise:
//!
//! ```json
//! { "name": "web", "namespace": "prod", "severity": "error", "text": "Rolling back ...",
//!   "fields": [{ "name": "Target", "value": "..." }], "timestamp": "1700000000123" }
//! ```
//!
//! `severity` is `info`, `warn` or `error`; `fields` keeps its order; `timestamp` is when it happened, in Unix milliseconds,
//! as text as in event hooks. With a token in its secret, the request carries `Authorization: Bearer TOKEN`.

use serde_json::{Value, json};

use super::Message;

pub(super) fn body(message: &Message) -> Value {
    let fields: Vec<Value> =
        message.fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "name": message.canary.name(),
        "namespace": message.canary.namespace(),
        "severity": message.severity,
        "text": message.text,
        "fields": fields,
        "timestamp": message.at.0.to_string(),
    })
}
