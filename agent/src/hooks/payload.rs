//! The body that a hook gets: Flagger's JSON, so that a server for Flagger's webhooks works unchanged.

use std::collections::BTreeMap;

use rollout::base::names::CanaryId;
use rollout::controller::Payload as Said;
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
    /// What the core says, to be sent.
    pub(crate) fn new(canary: &CanaryId, said: Said) -> Self {
        Self {
            name: canary.name().to_owned(),
            namespace: canary.namespace().to_owned(),
            phase: said.phase.to_owned(),
            checksum: said.revision.map_or_else(String::new, |revision| revision.to_string()),
            metadata: said.metadata,
        }
    }
}
