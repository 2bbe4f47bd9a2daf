//! What a canary's evidence says: the primary first, then the guards, then what its step's requests prove.

use super::Canary;
use crate::base::time::Millis;
use crate::judgement::certificate::CertificateVerdict;
use crate::judgement::gone_workers::LeftOut;
use crate::judgement::guards::GuardsVerdict;
use crate::judgement::primary_watch::{PrimaryNews, PrimaryVerdict};
use crate::release::phase::Hold;
use crate::release::plan::Advance;
use crate::routing::table::WeightPpm;
use crate::worker::tally::Counts;

impl Canary {
    /// Looks at the primary; returns what is news of it.
    pub fn look_at_primary(&mut self, now: Millis) -> Option<(PrimaryNews, &PrimaryVerdict)> {
        let (verdict, news) = self.evidence.look_at_primary(self.step_since, now)?;
        self.primary_verdict = Some(verdict);
        news.zip(self.primary_verdict.as_ref())
    }

    /// Looks at the guards; returns the verdict when one has tripped.
    pub fn look(&mut self, now: Millis) -> Option<&GuardsVerdict> {
        if self.plan.guards.is_empty() {
            return None;
        }
        self.verdict = self.evidence.look(&self.plan.guards, now);
        self.verdict.as_ref().filter(|verdict| verdict.tripped.is_some())
    }

    /// Looks at what this step's requests prove; `None` where checks advance the release, or none is on.
    pub fn certify(&mut self, now: Millis) -> Option<&CertificateVerdict> {
        let Advance::Certificate(certificate) = &self.plan.advance else { return None };
        // Copied requests prove nothing about users' own. A share of nothing, set by a person, proves nothing either.
        let stage = self.plan.stage(self.phase.step()?.number.get());
        let is_shared = stage.weight.max(self.weight()) > WeightPpm::ZERO;
        if !is_shared && self.plan.rules.is_empty() {
            return None;
        }
        let counts = self.step_counts();
        let (gone, workers) = self.evidence.gone_workers.left_out(self.step_since, now);
        let mut verdict = certificate.certify(&self.plan.guards, &counts.without(&gone));
        if workers > 0 {
            verdict.left_out = LeftOut { requests: gone.started, of: counts.started, workers };
        }
        verdict.is_void = self.evidence.destinations().misrouted().is_some();
        self.certificate = Some(verdict);
        self.certificate.as_ref()
    }

    /// Why nothing is proven: its requests go where the primary's go.
    pub fn misrouted(&self) -> Option<Hold> {
        self.phase.step()?;
        let misrouted = self.evidence.destinations().misrouted()?;
        Some(Hold::Misrouted { cluster: misrouted.cluster.clone() })
    }

    /// Users' requests to the canary on the step that was taken last.
    pub fn step_counts(&self) -> Counts {
        self.evidence.canary_since(self.step_since)
    }
}
