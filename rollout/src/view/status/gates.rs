//! The gates of a canary, as the API and the CLI show them.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::release::integrations::Hook;
use crate::release::plan::scheme_and_host;

/// One gate of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Its name.
    pub gate: String,
    /// What it approves: a hook's type, as Flagger names it.
    pub kind: String,
    /// Whether it is open now, for the release in progress or else for the next one.
    pub open: bool,
    /// For which revision it was opened; null: for the next one, or not opened.
    pub revision: Option<String>,
    /// Who opened it.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When, Unix time, milliseconds.
    pub opened_at_ms: Option<u64>,
    /// When it closes by itself, Unix time, milliseconds.
    pub expires_at_ms: Option<u64>,
    /// Of one that is known by a gate URL alone: where its hook asks, without what may be secret. Whether it is open is this
    /// agent's word, so it counts where that is this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The gates of the plan in force, in its order: those that can be opened now.
pub fn stored_gates(canary: &Canary, now: Millis) -> Vec<GateStatus> {
    let hooks = canary.plan.outside.hooks.iter().filter(|hook| hook.is_gate());
    let revision = canary.phase.run().map(|run| &run.revision);
    let gate = |hook: &Hook| {
        let approval = canary.approvals.iter().find(|(name, _)| *name == hook.name).map(|(_, approval)| approval);
        GateStatus {
            gate: hook.name.clone(),
            kind: hook.kind.name().into(),
            open: canary.approvals.of(&hook.name, revision, now).is_some(),
            revision: approval.and_then(|approval| approval.revision.as_ref()).map(ToString::to_string),
            actor: approval.map(|approval| approval.actor.to_string()),
            reason: approval.map(|approval| approval.reason.clone()),
            opened_at_ms: approval.map(|approval| approval.at.0),
            expires_at_ms: approval.and_then(|approval| approval.expires_at).map(|at| at.0),
            url: hook.gate_url().map(|url| scheme_and_host(url) + hook.gate_path()),
        }
    };
    hooks.map(gate).collect()
}
