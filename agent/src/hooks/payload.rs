//! What a hook is sent: Flagger's JSON, so that whoever answers Flagger answers us.

use std::collections::BTreeMap;

use rollout::names::CanaryId;
use rollout::outside::HookCall;
use rollout::time::Millis;
use serde::Serialize;

/// The body of a hook's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Payload {
    /// The canary's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its phase, in Flagger's word.
    pub phase: String,
    /// What tells one revision from another.
    pub checksum: String,
    /// The hook's own, and for an event hook the event.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Payload {
    /// For every kind of hook but `event`.
    pub(crate) fn new(canary: &CanaryId, phase: &str, checksum: &str, call: &HookCall) -> Self {
        Self {
            name: canary.name().to_owned(),
            namespace: canary.namespace().to_owned(),
            phase: phase.to_owned(),
            checksum: checksum.to_owned(),
            metadata: call.metadata.clone(),
        }
    }

    /// The same for an event hook, with the event: its text, whether it is a warning, and when it was (Unix time). Of the
    /// hook's own metadata, what does not have one of the event's keys.
    #[must_use]
    pub(crate) fn with_event(mut self, message: &str, is_warning: bool, at: Millis) -> Self {
        let kind = if is_warning { "Warning" } else { "Normal" };
        let event = [("eventMessage", message.to_owned()), ("eventType", kind.into()), ("timestamp", at.0.to_string())];
        self.metadata.extend(event.map(|(key, value)| (key.to_owned(), value)));
        self
    }
}
