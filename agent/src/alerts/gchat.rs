//! Google Chat's cards (version 1), Flagger's shape. A paragraph is a little HTML, so texts are escaped.

use rollout::release::integrations::Severity;
use serde_json::{Value, json};

use super::Message;

pub(super) fn body(message: &Message) -> Value {
    let colour = match message.severity {
        Severity::Info => "#848484",
        Severity::Warn => "#FFA500",
        Severity::Error => "#FF0000",
    };
    let section = |text: String| json!({ "widgets": [{ "textParagraph": { "text": text } }] });
    let strong = |text: &str, colour: &str| format!("<font color={colour}><strong>{}</strong></font>", escaped(text));
    let fields = message.fields.iter();
    let fields = fields.map(|(name, value)| format!("{}<br>{}", escaped(name), strong(value, "#848484")));
    let sections: Vec<Value> = std::iter::once(strong(&message.text, colour)).chain(fields).map(section).collect();
    json!({ "cards": [{ "header": { "title": "Serin", "subtitle": message.subject() }, "sections": sections }] })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
