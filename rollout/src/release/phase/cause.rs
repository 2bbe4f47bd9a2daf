//! Why a release advanced, and why one was aborted.

use serde::{Deserialize, Serialize};

use crate::base::names::{Actor, Revision};
use crate::base::time::Millis;
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::guards::GuardsVerdict;
use crate::release::inquiry::{MetricFinding, Objection};
use crate::release::threshold_checks::ChecksVerdict;

/// What allows a release to advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Every check passed.
    Checks(ChecksVerdict),
    /// The step's own requests.
    Certificate(CertificateVerdict),
    /// One of these, and metrics of other servers at the same check.
    WithMetrics {
        /// Which.
        by: Box<Proof>,
        /// What they answered.
        metrics: Vec<MetricFinding>,
    },
}

impl Proof {
    /// What the threshold checks said, where they are what it rests on.
    pub fn checks(&self) -> Option<&ChecksVerdict> {
        match self {
            Self::Checks(verdict) => Some(verdict),
            Self::Certificate(_) => None,
            Self::WithMetrics { by, .. } => by.checks(),
        }
    }
}

/// Why a release was aborted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The last allowed check failed.
    Checks {
        /// How many had failed.
        failed: u32,
        /// The check that was too many.
        verdict: ChecksVerdict,
    },
    /// A guard tripped.
    Guards(GuardsVerdict),
    /// Its requests did not prove it in time.
    Undecided {
        /// How long the plan allows a step.
        after: Millis,
        /// What they prove; no request at all is no data.
        verdict: CertificateVerdict,
    },
    /// A person asked for it.
    Requested {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// The last allowed check failed, by hooks or metrics of other servers.
    Objections {
        /// How many checks had failed.
        failed: u32,
        /// What spoke against it in the last.
        refused: Vec<Objection>,
    },
    /// Metric servers were blind once too often.
    MetricError {
        /// At how many checks.
        checks: u32,
        /// What they said at the last.
        refused: Vec<Objection>,
    },
    /// A rollback hook or gate asked for it.
    Rollback {
        /// Its name.
        name: String,
    },
    /// A phase lasted too long.
    Deadline {
        /// Which.
        phase: String,
        /// Its time.
        after: Millis,
    },
    /// The revision that the primary runs was released: there is nothing left to bring.
    Reverted {
        /// Who asked.
        actor: Actor,
    },
    /// A worker that the journal knows holds the entry of an abort that it does not. Only those leave before they are
    /// stored, so this one was lost.
    LostAbort {
        /// The worker's node.
        node: String,
    },
    /// Another version of the same service is being promoted.
    NotChosen {
        /// Its canary's name.
        version: String,
        /// What it brings.
        revision: Revision,
    },
    /// The canary's manifest is gone.
    Withdrawn,
}
