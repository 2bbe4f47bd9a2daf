//! The person, or pipeline, who starts the release, opens its gates, and confirms that the primary runs the new version.

use rollout::base::names::Revision;
use rollout::controller::Verb;
use rollout::controller::canary::Canary;
use rollout::release::inquiry::Reason;
use rollout::release::phase::{Awaiting, Hold, Phase};

/// What the person does next.
pub(crate) fn next_verb(canary: &Canary) -> Option<Verb> {
    let actor = Revision::parse("simulation").ok()?;
    match &canary.phase {
        Phase::Initialized => Some(Verb::Release {
            revision: Revision::parse("new").ok()?,
            actor,
            reason: String::new(),
            accept_unsupported: true,
        }),
        phase if matches!(phase.awaiting(), Some(Awaiting::Confirmation { .. })) => {
            Some(Verb::Confirm { actor, reason: String::new() })
        }
        phase @ Phase::Paused(_) if phase.hold() == Some(&Hold::Stop) => {
            Some(Verb::Resume { actor, reason: String::new() })
        }
        phase => match phase.hold() {
            Some(Hold::Approval { refused, .. }) => {
                let gate = refused.iter().find(|objection| objection.why == Reason::Closed)?.name.clone();
                let reason = String::new();
                Some(Verb::OpenGate { gate, revision: None, expires_after: None, actor, reason })
            }
            _ => None,
        },
    }
}
