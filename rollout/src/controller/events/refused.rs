//! Why a request was not carried out, in words that name what to do instead.

use thiserror::Error;

use crate::base::names::{CanaryId, Upstream};
use crate::release::machine::Refusal;
use crate::release::phase::RoleConflict;
use crate::release::text::role_conflict;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No such canary.
    #[error("canary {0} is not known; `serin get` lists those that are")]
    Unknown(CanaryId),
    /// The name stands for several.
    #[error("canary {service} has several versions; name one: {versions}")]
    Several {
        /// What was asked for.
        service: CanaryId,
        /// Their names.
        versions: String,
    },
    /// Another version of the same service is becoming the primary.
    #[error(
        "cannot release: {version} is {phase}, and changes the primary that both are compared with; wait for its end"
    )]
    Sibling {
        /// Which.
        version: CanaryId,
        /// Its phase.
        phase: &'static str,
    },
    /// A part of its traffic still belongs to another version's release, from before the manifest changed.
    #[error(
        "cannot release: since the manifest changed, a part of its traffic is what the release of {version} runs on; wait for its end"
    )]
    Lane {
        /// Which.
        version: CanaryId,
    },
    /// Not in this phase.
    #[error(transparent)]
    Phase(#[from] Refusal),
    /// The canary's upstream is what a proxy serves without an agent.
    #[error(
        "cannot release: proxy {node} sends requests to {upstream} by default, so unproven code there would serve \
         everyone whenever the agent is away; point its default route and `defaultUpstreams` at {instead} first"
    )]
    DefaultUpstream {
        /// The proxy.
        node: String,
        /// Its default upstream.
        upstream: Upstream,
        /// The upstream that is primary now.
        instead: Upstream,
    },
    /// Its manifest is gone, so there is nothing that a release could follow.
    #[error(
        "cannot {verb}: the manifest of {canary} is gone, and {primary} goes on serving; put the manifest back into the \
         agent's --canaries directory, or drop what is kept of it by `serin forget {canary}`"
    )]
    Withdrawn {
        /// What was asked.
        verb: &'static str,
        /// Whose.
        canary: CanaryId,
        /// The upstream that is primary now.
        primary: Upstream,
    },
    /// Its traffic still belongs to one whose manifest is gone.
    #[error(
        "cannot release: its traffic still goes to {primary}, the primary of {other}, whose manifest was removed; name that \
         upstream in the manifest, or `serin forget {other}`"
    )]
    Tombstone {
        /// Whose.
        other: CanaryId,
        /// Where the traffic goes.
        primary: Upstream,
    },
    /// The manifest makes another upstream the primary, and the proxies do not.
    #[error("cannot release: {}", role_conflict(.0))]
    Roles(RoleConflict),
    /// What is still in use is not dropped.
    #[error("cannot forget: {0}")]
    InUse(String),
    /// The plan has no such gate.
    #[error("canary {canary} has no gate {gate:?}; its gates: {known}")]
    UnknownGate {
        /// Whose.
        canary: CanaryId,
        /// What was asked for.
        gate: String,
        /// Those that there are.
        known: String,
    },
}
