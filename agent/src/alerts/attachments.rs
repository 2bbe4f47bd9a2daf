//! Slack's message attachments, which Discord and Rocket.Chat read too. Flagger's shape, with a colour of its own for
//! warnings.

use rollout::release::integrations::{Receiver, ReceiverKind, Severity};
use serde_json::{Value, json};

use super::Message;

pub(super) fn body(receiver: &Receiver, message: &Message) -> Value {
    // Slack reads `<!channel>` in a text as a call to everyone: what a server or a person wrote must not do that.
    let text = |text: &str| if receiver.kind == ReceiverKind::Slack { escaped(text) } else { text.to_owned() };
    let fields: Vec<Value> = message
        .fields
        .iter()
        .map(|(name, value)| json!({ "title": text(name), "value": text(value), "short": false }))
        .collect();
    json!({
        "channel": receiver.channel,
        "username": receiver.username,
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": colour(receiver.kind, message.severity),
            "author_name": message.subject(),
            "text": text(&message.text),
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    })
}

/// The names are Slack's; Rocket.Chat knows only numbers.
const fn colour(kind: ReceiverKind, severity: Severity) -> &'static str {
    match (kind, severity) {
        (ReceiverKind::Rocket, Severity::Info) => "#0076D7",
        (ReceiverKind::Rocket, Severity::Warn) => "#FFA500",
        (ReceiverKind::Rocket, Severity::Error) => "#FF0000",
        (_, Severity::Info) => "good",
        (_, Severity::Warn) => "warning",
        (_, Severity::Error) => "danger",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
