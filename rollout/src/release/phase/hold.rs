//! Why a release stands still although nothing is wrong with it, and what ends the wait for the primary.

use std::mem::{Discriminant, discriminant};

use serde::{Deserialize, Serialize};

use crate::base::names::Upstream;
use crate::release::inquiry::{Objection, Purpose, Reason};

/// Why a release does not advance although nothing is wrong with the canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// No canary traffic on this step, in the checks' windows.
    NoTraffic,
    /// It waits longer than it should for its requests to prove this step.
    Undecided,
    /// The plan asks for what this build cannot honour, and that was not accepted yet.
    Unsupported,
    /// An approval is awaited, from these.
    Approval {
        /// Of what.
        purpose: Purpose,
        /// Who refused, or which gates are closed.
        refused: Vec<Objection>,
    },
    /// A person must resume it at this step.
    Stop,
    /// The manifest says so.
    Suspended,
    /// A worker's routes send requests to the canary's upstream by default.
    DefaultUpstream {
        /// Whose.
        node: String,
        /// Which upstream.
        upstream: Upstream,
    },
    /// The proxies' routes send the canary's requests where the primary's go: this step's evidence is void.
    Misrouted {
        /// The cluster that most of them reached.
        cluster: String,
    },
    /// Requests of this step have ended, but none of them has a latency, and the primary's have: it is warming up.
    NoLatency,
    /// Workers that are gone had so many of this step's requests that the rest prove nothing.
    WorkersGone,
    /// A live worker's fuse is tripped.
    Fuse {
        /// Whose.
        node: String,
    },
}

impl Hold {
    /// Whether it says the same as another one: who refused and how. A hook may word its refusal differently
    /// at every call, and answers come in any order.
    pub fn repeats(&self, other: &Self) -> bool {
        let (Self::Approval { purpose, refused }, Self::Approval { purpose: before, refused: others }) = (self, other)
        else {
            return self == other;
        };
        purpose == before && said(refused) == said(others)
    }
}

fn said(refused: &[Objection]) -> Vec<(&str, Discriminant<Reason>)> {
    let mut said: Vec<_> = refused.iter().map(|one| (one.name.as_str(), discriminant(&one.why))).collect();
    said.sort_by_key(|(name, _)| *name);
    said
}

/// A manifest that makes another upstream the primary than the one that serves: adopted, it would move every user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleConflict {
    /// The proxy that contradicts, and what its routes serve by default; none where no proxy is connected.
    pub proxy: Option<(String, Upstream)>,
    /// The upstream that serves now.
    pub serving: Upstream,
    /// The upstream that the manifest names.
    pub named: Upstream,
}

/// What ends a wait for the primary to be brought to the new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Awaiting {
    /// The promotion hook's answer.
    Hook,
    /// `serin confirm`; `after` says why a hook did not end it.
    Confirmation {
        /// The hook's failure, if there was a hook.
        after: Option<String>,
    },
    /// Traffic to be back on the primary, step by step.
    Traffic,
}
