//! The person, or pipeline, who begins the release and confirms that the primary runs the new version.

use rollout::canary::Canary;
use rollout::controller::Verb;
use rollout::names::Revision;
use rollout::release::{Awaiting, Phase};

/// What there is to ask of a canary now.
pub(crate) fn next_verb(canary: &Canary) -> Option<Verb> {
    let actor = Revision::parse("simulation").ok()?;
    match &canary.phase {
        Phase::Initialized => {
            Some(Verb::Release { revision: Revision::parse("new").ok()?, actor, accept_unsupported: true })
        }
        Phase::Promoting(_, Awaiting::Confirmation { .. }) => Some(Verb::Confirm { actor }),
        _ => None,
    }
}
