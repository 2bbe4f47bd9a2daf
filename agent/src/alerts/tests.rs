//! Alerts over real sockets: what each receiver is sent, repetition and order, bounds, and that nobody waits for another.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::release::integrations::{Alert, Receiver, ReceiverKind, SecretRef, Severity};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::queue::Limits;
use super::*;
use crate::http_delivery::Pace;
use crate::http_delivery::listener::{Listener, Reply, nobody};
use crate::secrets::stuck::Stuck;

const DEADLINE: Duration = Duration::from_secs(20);
const QUICK: Limits = Limits {
    room: 256,
    timeout: Duration::from_secs(5),
    pace: Pace { first: Duration::from_millis(10), most: Duration::from_millis(100) },
    patience: Duration::from_secs(20),
};

fn alert(kind: ReceiverKind, address: String) -> Alert {
    let receiver = Receiver {
        kind,
        address: Some(address),
        secret: None,
        channel: "general".into(),
        username: "flagger".into(),
        proxy: None,
    };
    Alert { name: "on-call".into(), severity: Severity::Info, receiver }
}

fn message(severity: Severity, text: &str) -> Message {
    Message {
        canary: CanaryId::new("prod", "web").unwrap(),
        severity,
        text: text.into(),
        fields: vec![("Target".into(), "Deployment/web".into()), ("Deadline".into(), "10m <0s>".into())],
        at: Millis(1_700_000_000_123),
    }
}

fn alerts(limits: Limits) -> Alerts {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Alerts::with_limits(Secrets::default(), limits)
}

fn secret() -> Option<SecretRef> {
    Some(SecretRef { namespace: "prod".into(), name: "chat".into() })
}

/// Alerts with one secret, `prod/chat`.
fn with_secret(values: &[(&str, &str)]) -> (tempfile::TempDir, Alerts) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("prod/chat")).unwrap();
    for (key, value) in values {
        std::fs::write(folder.path().join("prod/chat").join(key), value).unwrap();
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let alerts = Alerts::with_limits(Secrets::new(Some(folder.path().into())), QUICK);
    (folder, alerts)
}

async fn drained(alerts: &Alerts) -> [u64; 3] {
    timeout(DEADLINE, alerts.queues.idle()).await.expect("deadline: the queues");
    let AlertCounters { sent, failed, dropped } = alerts.counters();
    [sent, failed, dropped].map(|count| count.load(Ordering::Relaxed))
}

/// What a receiver of a kind at a path is posted, and where.
async fn posted(kind: ReceiverKind, path: &str, severity: Severity) -> (String, Value) {
    let server = Listener::start([Reply::status(200)]).await;
    let alerts = alerts(QUICK);
    alerts.send(&alert(kind, server.url(path)), message(severity, "Halt <!channel> & wait"));
    assert_eq!(drained(&alerts).await, [1, 0, 0]);
    let received = server.received(1).await;
    assert_eq!((received[0].method.as_str(), received[0].header("content-type")), ("POST", "application/json"));
    (received[0].uri.to_string(), received[0].json())
}

fn attachments(colour: &str, text: &str, deadline: &str) -> Value {
    json!({
        "channel": "general", "username": "flagger", "icon_emoji": ":rocket:",
        "attachments": [{
            "color": colour, "author_name": "web.prod", "text": text, "mrkdwn_in": ["text"],
            "fields": [
                { "title": "Target", "value": "Deployment/web", "short": false },
                { "title": "Deadline", "value": deadline, "short": false },
            ],
        }],
    })
}

#[tokio::test]
async fn slack_discord_and_rocket_read_attachments() {
    let (raw, escaped) = ("Halt <!channel> & wait", "Halt &lt;!channel&gt; &amp; wait");
    let colours = [
        (Severity::Info, "good", "#0076D7"),
        (Severity::Warn, "warning", "#FFA500"),
        (Severity::Error, "danger", "#FF0000"),
    ];
    for (severity, name, number) in colours {
        let slack = posted(ReceiverKind::Slack, "/services/T0/B0", severity).await;
        assert_eq!(slack, ("/services/T0/B0".into(), attachments(name, escaped, "10m &lt;0s&gt;")));
        let rocket = posted(ReceiverKind::Rocket, "/hooks/1", severity).await;
        assert_eq!(rocket, ("/hooks/1".into(), attachments(number, raw, "10m <0s>")));
        for (path, expected) in [
            ("/api/webhooks/1/x", "/api/webhooks/1/x/slack"),
            ("/api/webhooks/1/x/?thread_id=7", "/api/webhooks/1/x/slack?thread_id=7"),
            ("/api/webhooks/1/x/slack", "/api/webhooks/1/x/slack"),
        ] {
            let discord = posted(ReceiverKind::Discord, path, severity).await;
            assert_eq!(discord, (expected.into(), attachments(name, raw, "10m <0s>")));
        }
    }
}

#[tokio::test]
async fn teams_reads_a_message_card_or_an_adaptive_card() {
    let colours = [
        (Severity::Info, "0076D7", "accent"),
        (Severity::Warn, "FFA500", "warning"),
        (Severity::Error, "FF0000", "attention"),
    ];
    for (severity, number, name) in colours {
        let (_, card) = posted(ReceiverKind::MsTeams, "/webhookb2/1", severity).await;
        let expected = json!({
            "@type": "MessageCard", "@context": "http://schema.org/extensions",
            "themeColor": number, "summary": "web.prod",
            "sections": [{
                "activityTitle": "Halt <!channel> & wait", "activitySubtitle": "web.prod",
                "facts": [
                    { "name": "Target", "value": "Deployment/web" }, { "name": "Deadline", "value": "10m <0s>" },
                ],
            }],
        });
        assert_eq!(card, expected);
        let path = "/workflows/0f/triggers/manual/paths/invoke?sig=x";
        let (_, card) = posted(ReceiverKind::MsTeams, path, severity).await;
        let subtitle =
            json!({ "type": "TextBlock", "text": "web.prod", "isSubtle": true, "spacing": "none", "wrap": true });
        let expected = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard", "version": "1.2", "msteams": { "width": "Full" },
                    "body": [
                        { "type": "TextBlock", "text": "Halt <!channel> & wait", "weight": "bolder", "color": name,
                          "wrap": true },
                        subtitle,
                        { "type": "FactSet", "facts": [
                            { "title": "Target", "value": "Deployment/web" },
                            { "title": "Deadline", "value": "10m <0s>" },
                        ] },
                    ],
                },
            }],
        });
        assert_eq!(card, expected);
    }
}

#[tokio::test]
async fn google_chat_reads_a_card_and_anyone_else_plain_json() {
    let (_, card) = posted(ReceiverKind::GChat, "/v1/spaces/A/messages?key=k&token=t", Severity::Warn).await;
    let section = |text: &str| json!({ "widgets": [{ "textParagraph": { "text": text } }] });
    let sections = [
        section("<font color=#FFA500><strong>Halt &lt;!channel&gt; &amp; wait</strong></font>"),
        section("Target<br><font color=#848484><strong>Deployment/web</strong></font>"),
        section("Deadline<br><font color=#848484><strong>10m &lt;0s&gt;</strong></font>"),
    ];
    let header = json!({ "title": "Serin", "subtitle": "web.prod" });
    assert_eq!(card, json!({ "cards": [{ "header": header, "sections": sections }] }));
    let (_, body) = posted(ReceiverKind::Webhook, "/alerts", Severity::Error).await;
    let expected = json!({
        "name": "web", "namespace": "prod", "severity": "error", "text": "Halt <!channel> & wait",
        "fields": [{ "name": "Target", "value": "Deployment/web" }, { "name": "Deadline", "value": "10m <0s>" }],
        "timestamp": "1700000000123",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_is_too_long_is_truncated() {
    let server = Listener::start([Reply::status(204)]).await;
    let alerts = alerts(QUICK);
    let mut long = message(Severity::Error, &"é".repeat(5000));
    long.fields = (0..99).map(|n| (n.to_string(), "x".repeat(5000))).collect();
    alerts.send(&alert(ReceiverKind::Webhook, server.url("/")), long);
    assert_eq!(drained(&alerts).await, [1, 0, 0]);
    let body = server.received(1).await[0].json();
    assert_eq!(body["text"], format!("{}…", "é".repeat(2000)));
    assert_eq!(body["fields"].as_array().unwrap().len(), 20);
    assert_eq!(body["fields"][19], json!({ "name": "19", "value": format!("{}…", "x".repeat(500)) }));
}

#[tokio::test]
async fn a_secrets_address_comes_first_and_its_token_goes_to_slack_and_webhooks_only() {
    let server = Listener::start([Reply::text(200, r#"{"ok":true}"#)]).await;
    let (folder, alerts) = with_secret(&[("address", &server.url("/secret")), ("token", "xoxb-1\n")]);
    for kind in [ReceiverKind::Slack, ReceiverKind::Webhook, ReceiverKind::Rocket] {
        let mut alert = alert(kind, server.url("/own"));
        alert.receiver.secret = secret();
        alerts.send(&alert, message(Severity::Info, "one"));
        assert_eq!(drained(&alerts).await[1..], [0, 0]);
    }
    std::fs::remove_file(folder.path().join("prod/chat/address")).unwrap();
    let mut slack = alert(ReceiverKind::Slack, server.url("/own"));
    slack.receiver.secret = secret();
    alerts.send(&slack, message(Severity::Info, "two"));
    drained(&alerts).await;
    let received = server.received(4).await;
    let seen: Vec<_> = received.iter().map(|one| (one.uri.path(), one.header("authorization"))).collect();
    let bearer = "Bearer xoxb-1";
    assert_eq!(seen, [("/secret", bearer), ("/secret", bearer), ("/secret", ""), ("/own", bearer)]);
}

#[tokio::test]
async fn slacks_200_that_means_no_is_a_no() {
    let limited = Reply::text(200, r#"{"ok":false,"error":"ratelimited"}"#);
    let refused = Reply::text(200, r#"{"ok":false,"error":"channel_not_found"}"#);
    let server = Listener::start([limited, Reply::text(200, r#"{"ok":true}"#), refused]).await;
    let (_folder, alerts) = with_secret(&[("token", "xoxb-1")]);
    let mut slack = alert(ReceiverKind::Slack, server.url("/api/chat.postMessage"));
    slack.receiver.secret = secret();
    alerts.send(&slack, message(Severity::Info, "one"));
    alerts.send(&slack, message(Severity::Info, "two"));
    assert_eq!(drained(&alerts).await, [1, 1, 0]);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn order_is_kept_through_every_failure() {
    let wait = Some(("retry-after", "0".to_owned()));
    let replies = [
        Reply::Stall,
        Reply::status(500),
        Reply::Full(429, wait, String::new()),
        Reply::status(200),
        Reply::status(503),
        Reply::status(204),
    ];
    let server = Listener::start(replies).await;
    let alerts = alerts(Limits { timeout: Duration::from_secs(2), ..QUICK });
    let alert = alert(ReceiverKind::Webhook, server.url("/"));
    for text in ["one", "two", "three"] {
        alerts.send(&alert, message(Severity::Info, text));
    }
    assert_eq!(drained(&alerts).await, [3, 0, 0]);
    let texts: Vec<Value> = server.received(7).await.iter().map(|one| one.json()["text"].clone()).collect();
    assert_eq!(texts, ["one", "one", "one", "one", "two", "two", "three"]);
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let elsewhere = Listener::start([Reply::status(200)]).await;
    let redirect = Reply::Full(302, Some(("location", elsewhere.url("/"))), String::new());
    let server = Listener::start([Reply::status(400), redirect, Reply::EndlessBody(404)]).await;
    let alerts = alerts(QUICK);
    for text in ["one", "two", "three"] {
        alerts.send(&alert(ReceiverKind::Webhook, server.url("/")), message(Severity::Info, text));
    }
    assert_eq!(drained(&alerts).await, [0, 3, 0]);
    assert_eq!((server.count(), elsewhere.count()), (3, 0));
}

#[tokio::test]
async fn patience_ends() {
    let server = Listener::start([Reply::status(503)]).await;
    let alerts = alerts(Limits { patience: Duration::from_secs(2), ..QUICK });
    alerts.send(&alert(ReceiverKind::Webhook, server.url("/")), message(Severity::Info, "one"));
    alerts.send(&alert(ReceiverKind::Webhook, format!("http://{}/", nobody())), message(Severity::Info, "two"));
    assert_eq!(drained(&alerts).await, [0, 2, 0]);
    assert!(server.count() > 2, "{}", server.count());
}

#[tokio::test]
async fn a_dead_receiver_delays_no_other() {
    let dead = Listener::start([Reply::Stall]).await;
    let alive = Listener::start([Reply::status(200)]).await;
    let alerts = alerts(Limits { timeout: Duration::from_secs(600), ..QUICK });
    for text in ["one", "two"] {
        alerts.send(&alert(ReceiverKind::Webhook, dead.url("/")), message(Severity::Info, text));
        dead.received(1).await;
        alerts.send(&alert(ReceiverKind::Webhook, alive.url("/")), message(Severity::Info, text));
    }
    alive.received(2).await;
    assert_eq!(dead.count(), 1, "it stalls all the while");
}

#[tokio::test]
async fn a_full_queue_drops_its_oldest() {
    let dead = Listener::start([Reply::Stall, Reply::status(200)]).await;
    let alerts = alerts(Limits { room: 4, timeout: Duration::from_secs(2), ..QUICK });
    let to_dead = alert(ReceiverKind::Webhook, dead.url("/"));
    alerts.send(&to_dead, message(Severity::Info, "0"));
    dead.received(1).await;
    for text in 1..=10 {
        alerts.send(&to_dead, message(Severity::Info, &text.to_string()));
    }
    assert_eq!(alerts.counters().dropped.load(Ordering::Relaxed), 6);
    assert_eq!(drained(&alerts).await, [5, 0, 6]);
    let texts: Vec<Value> = dead.received(6).await.iter().map(|one| one.json()["text"].clone()).collect();
    assert_eq!(texts, ["0", "0", "7", "8", "9", "10"]);
}

#[tokio::test]
async fn a_proxy_stands_between() {
    let proxy = Listener::start([Reply::status(200)]).await;
    let alerts = alerts(QUICK);
    let mut alert = alert(ReceiverKind::Webhook, "http://chat.example/hooks/1".into());
    alert.receiver.proxy = Some(proxy.url("").replace("http://", "http://user:pass@"));
    alerts.send(&alert, message(Severity::Info, "one"));
    assert_eq!(drained(&alerts).await, [1, 0, 0]);
    let received = proxy.received(1).await;
    assert_eq!(received[0].header("host"), "chat.example");
    assert_eq!(received[0].uri.to_string(), "http://chat.example/hooks/1");
    assert_eq!(received[0].header("proxy-authorization"), "Basic dXNlcjpwYXNz");
}

#[tokio::test]
async fn what_is_said_of_a_failure_shows_no_address() {
    let delivery = delivery::Delivery::new(Secrets::default(), Duration::from_secs(5));
    let server = Listener::start([Reply::text(404, "no hook /services/T0/0123456789abcdef\n")]).await;
    let refused = async |receiver: &Receiver| {
        delivery.attempt(receiver, &message(Severity::Info, "x")).await.unwrap_err().said_by("on-call")
    };
    let mut receiver = alert(ReceiverKind::Slack, server.url("/services/T0/0123456789abcdef")).receiver;
    assert_eq!(refused(&receiver).await, "on-call answered 404 no hook /services/T0/…");
    receiver.address = Some(format!("http://{}/0123456789abcdef", nobody()));
    let error = refused(&receiver).await;
    assert!(error.to_lowercase().contains("connection refused") && !error.contains("0123456789abcdef"), "{error}");
    receiver.proxy = Some("user:s3cret@proxy".into());
    assert_eq!(refused(&receiver).await, "on-call: its proxy must be an http:// or https:// URL");
    receiver.address = None;
    assert!(refused(&receiver).await.starts_with("on-call: it has no address: it needs spec.address or"));
    receiver.secret = secret();
    assert!(refused(&receiver).await.contains("secret prod/chat is needed, but the agent was started without"));
}

#[tokio::test]
async fn a_secret_that_hangs_is_a_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let _stuck = Stuck::at(folder.path().join("prod/chat/address"));
    let delivery = delivery::Delivery::new(Secrets::new(Some(folder.path().into())), Duration::from_millis(100));
    let receiver = Receiver { secret: secret(), ..alert(ReceiverKind::Rocket, "http://127.0.0.1:1".into()).receiver };
    let attempt = message(Severity::Info, "x");
    let refused = timeout(Duration::from_secs(10), delivery.attempt(&receiver, &attempt));
    let refused = refused.await.expect("deadline: the attempt").unwrap_err();
    assert!(refused.again && refused.why.contains("could not be read within 0.1 s"), "{refused:?}");
}

#[tokio::test]
async fn the_metrics_page_counts_them() {
    let server = Listener::start([Reply::status(200), Reply::status(400)]).await;
    let alerts = alerts(QUICK);
    for _ in 0..3 {
        alerts.send(&alert(ReceiverKind::Webhook, server.url("/")), message(Severity::Info, "one"));
    }
    drained(&alerts).await;
    let mut registry = Registry::with_prefix("serin");
    alerts.register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    for line in
        ["serin_agent_alerts_sent_total 1", "serin_agent_alerts_failed_total 2", "serin_agent_alerts_dropped_total 0"]
    {
        assert!(page.contains(line), "{page}");
    }
}
