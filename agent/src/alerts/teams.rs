//! Microsoft Teams. Its connectors read a `MessageCard`; Microsoft has retired them in favour of Workflows (Power
//! Automate), which read only Adaptive Cards. Which of the two stands at an address is seen from the address.

use reqwest::Url;
use rollout::release::integrations::Severity;
use serde_json::{Value, json};

use super::Message;

/// Hosts of Power Automate and of the Logic Apps behind it, in the public and in the government clouds.
const WORKFLOW_HOSTS: [&str; 9] = [
    "logic.azure.com",
    "logic.azure.us",
    "logic.azure.cn",
    "powerplatform.com",
    "powerplatform.us",
    "powerplatform.cn",
    "powerautomate.com",
    "flow.microsoft.com",
    "flow.microsoft.us",
];

pub(super) fn body(address: &Url, message: &Message) -> Value {
    if is_workflow(address) { adaptive_card(message) } else { message_card(message) }
}

/// By its host, or, for one behind a gateway of one's own, by its path: `/workflows/ID/triggers/...` everywhere.
fn is_workflow(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default();
    let is_below = |name: &str| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let path = address.path();
    WORKFLOW_HOSTS.iter().any(|name| is_below(name)) || (path.contains("/workflows/") && path.contains("/triggers/"))
}

fn message_card(message: &Message) -> Value {
    let colour = match message.severity {
        Severity::Info => "0076D7",
        Severity::Warn => "FFA500",
        Severity::Error => "FF0000",
    };
    let facts: Vec<Value> =
        message.fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": colour,
        "summary": message.subject(),
        "sections": [{ "activityTitle": message.text, "activitySubtitle": message.subject(), "facts": facts }],
    })
}

fn adaptive_card(message: &Message) -> Value {
    let colour = match message.severity {
        Severity::Info => "accent",
        Severity::Warn => "warning",
        Severity::Error => "attention",
    };
    let facts: Vec<Value> =
        message.fields.iter().map(|(name, value)| json!({ "title": name, "value": value })).collect();
    let mut body = vec![
        json!({ "type": "TextBlock", "text": message.text, "weight": "bolder", "color": colour, "wrap": true }),
        json!({ "type": "TextBlock", "text": message.subject(), "isSubtle": true, "spacing": "none", "wrap": true }),
    ];
    // The schema requires at least one fact in a set.
    if !facts.is_empty() {
        body.push(json!({ "type": "FactSet", "facts": facts }));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": body,
                "msteams": { "width": "Full" },
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_known_by_its_address() {
        let workflow = |url: &str| is_workflow(&Url::parse(url).unwrap());
        for url in [
            "https://prod-12.westeurope.logic.azure.com:443/workflows/0f/triggers/manual/paths/invoke?sig=x",
            "https://default0f.1e.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0f/\
             triggers/manual/paths/invoke?sig=x",
            "https://gateway.example/teams/workflows/0f/triggers/manual/paths/invoke",
        ] {
            assert!(workflow(url), "{url}");
        }
        for url in [
            "https://team.webhook.office.com/webhookb2/0f@1e/IncomingWebhook/2d/3c",
            "https://outlook.office.com/webhook/0f@1e/IncomingWebhook/2d/3c",
            "https://notlogic.azure.com/x",
            "https://relay.example/logic.azure.com",
        ] {
            assert!(!workflow(url), "{url}");
        }
    }
}
