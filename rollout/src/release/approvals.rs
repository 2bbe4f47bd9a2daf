//! Stored gates: approvals that people give, kept with the canary's state. Closed until opened, and opened for one
//! revision, so that the approval of one version never lets the next one through.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::names::{Actor, Revision};
use crate::base::time::Millis;

/// One gate that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// For which revision; none: for the one that is released next.
    pub revision: Option<Revision>,
    /// Who opened it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Millis,
    /// When it closes by itself.
    pub expires_at: Option<Millis>,
}

/// A canary's open gates by name; those that are not here are closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Approvals(BTreeMap<String, Approval>);

impl Approvals {
    /// Opens a gate, again if it is open.
    pub fn open(&mut self, gate: &str, approval: Approval) {
        self.0.insert(gate.to_owned(), approval);
    }

    /// Closes a gate; whether it was open.
    pub fn close(&mut self, gate: &str) -> bool {
        self.0.remove(gate).is_some()
    }

    /// Who opened a gate for this revision, or for whichever is released next, if it is open now.
    pub fn of(&self, gate: &str, revision: Option<&Revision>, now: Millis) -> Option<&Approval> {
        let is_valid = |approval: &&Approval| {
            approval.revision.as_ref().is_none_or(|bound| Some(bound) == revision)
                && approval.expires_at.is_none_or(|at| now < at)
        };
        self.0.get(gate).filter(is_valid)
    }

    /// All that were opened, by name; they may have expired, or be bound to another revision.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Approval)> {
        self.0.iter().map(|(gate, approval)| (gate.as_str(), approval))
    }

    /// A release begins: what was opened for the next one is bound to it, what was opened for another is gone.
    pub fn bind(&mut self, revision: &Revision) {
        self.0.retain(|_, approval| approval.revision.as_ref().is_none_or(|bound| bound == revision));
        for approval in self.0.values_mut() {
            approval.revision.get_or_insert_with(|| revision.clone());
        }
    }

    /// Forgets the gates whose time is over.
    pub fn expire(&mut self, now: Millis) {
        self.0.retain(|_, approval| approval.expires_at.is_none_or(|at| now < at));
    }
}
