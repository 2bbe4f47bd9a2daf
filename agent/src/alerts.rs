//! Alerts to chats and webhooks: in the background, in order, with repetitions; the sender never waits.

/// What Slack, Discord and Rocket.Chat read.
mod attachments;

/// What Google Chat reads.
mod gchat;

/// What Microsoft Teams reads.
mod teams;

/// What any other receiver reads.
mod webhook;

/// One message to one receiver.
mod delivery;

/// A queue for each receiver, and how long it tries.
mod queue;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::release::integrations::{Alert, Receiver, ReceiverKind, Severity};

use crate::secrets::Secrets;
use queue::Queues;

/// Longest text of a message, in characters: the least that any receiver takes, with room for what escaping adds.
const MAX_TEXT_CHARS: usize = 2000;
/// Longest name or value of a field, in characters.
const MAX_FIELD_CHARS: usize = 500;
/// Most fields; Discord takes 25.
const MAX_FIELDS: usize = 20;

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Of which canary.
    pub canary: CanaryId,
    /// How severe.
    pub severity: Severity,
    /// What happened, in one sentence.
    pub text: String,
    /// Names and values beside it, in this order.
    pub fields: Vec<(String, String)>,
    /// When it happened, Unix time.
    pub at: Millis,
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct AlertCounters {
    /// Accepted by their receivers.
    pub sent: AtomicU64,
    /// Refused, or given up after all attempts.
    pub failed: AtomicU64,
    /// Pushed out of a full queue by newer ones.
    pub dropped: AtomicU64,
}

/// Sends alerts. Clones share their queues.
#[derive(Clone, Debug)]
pub(crate) struct Alerts {
    queues: Arc<Queues>,
}

impl Alerts {
    /// Ready to send; addresses and tokens come from these secrets.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self::with_limits(secrets, queue::LIMITS)
    }

    fn with_limits(secrets: Secrets, limits: queue::Limits) -> Self {
        Self { queues: Arc::new(Queues::new(secrets, limits)) }
    }

    /// Puts a message into the queue of an alert's receiver. Returns at once. What is queued is in memory only: a crash
    /// loses it. Needs a tokio runtime.
    pub(crate) fn send(&self, alert: &Alert, message: Message) {
        Queues::push(&self.queues, &alert.receiver, &alert.name, message.fitted());
    }

    /// Until everything queued is sent or given up.
    pub(crate) async fn idle(&self) {
        self.queues.idle().await;
    }

    /// How many are not yet sent or given up.
    pub(crate) fn pending(&self) -> usize {
        self.queues.pending()
    }

    /// For the metrics page.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let AlertCounters { sent, failed, dropped } = self.counters();
        let counts = [
            ("agent_alerts_sent", "Alerts that their receivers accepted", sent),
            ("agent_alerts_failed", "Alerts that were refused, or given up after all attempts", failed),
            ("agent_alerts_dropped", "Alerts pushed out of a full queue by newer ones", dropped),
        ];
        for (name, help, count) in counts {
            registry.register(name, help, ConstCounter::new(count.load(Ordering::Relaxed)));
        }
    }

    fn counters(&self) -> &AlertCounters {
        &self.queues.counters
    }
}

impl Message {
    /// Truncated to what every receiver takes: a longer message would be refused as a whole.
    fn fitted(mut self) -> Self {
        truncate(&mut self.text, MAX_TEXT_CHARS);
        self.fields.truncate(MAX_FIELDS);
        for (name, value) in &mut self.fields {
            truncate(name, MAX_FIELD_CHARS);
            truncate(value, MAX_FIELD_CHARS);
        }
        self
    }

    /// `NAME.NAMESPACE`, as Flagger names a canary in its alerts.
    fn subject(&self) -> String {
        format!("{}.{}", self.canary.name(), self.canary.namespace())
    }
}

fn truncate(text: &mut String, most: usize) {
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
        text.push('…');
    }
}

/// What is posted to a receiver that stands at this address.
fn body(receiver: &Receiver, address: &reqwest::Url, message: &Message) -> serde_json::Value {
    match receiver.kind {
        ReceiverKind::Slack | ReceiverKind::Discord | ReceiverKind::Rocket => attachments::body(receiver, message),
        ReceiverKind::MsTeams => teams::body(address, message),
        ReceiverKind::GChat => gchat::body(message),
        ReceiverKind::Webhook => webhook::body(message),
    }
}
