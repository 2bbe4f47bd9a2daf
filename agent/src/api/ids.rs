//! Which canary a path means, and what the controller's refusals become as answers.

use rollout::base::names::{CanaryId, Revision};
use rollout::controller::canary::Canary;
use rollout::controller::{Controller, Refused};
use serving::{HttpError, Segments, is_near};

use crate::handle::Stopped;

/// Most names suggested for one that is not known.
const MAX_SUGGESTED: usize = 3;

/// The canary that a path names.
pub(super) fn canary_id(path: &Segments) -> Result<CanaryId, HttpError> {
    parse_id(path.get("namespace"), path.get("name"))
}

/// The same from its two names.
pub(super) fn parse_id(namespace: &str, name: &str) -> Result<CanaryId, HttpError> {
    let id = format!("{namespace}/{name}");
    CanaryId::new(namespace, name).map_err(|error| HttpError::invalid(format!("canary {id:?} {error}")))
}

/// A field that holds a name: a revision or an actor.
pub(super) fn parse_name(field: &str, value: &str) -> Result<Revision, HttpError> {
    Revision::parse(value).map_err(|error| HttpError::invalid(format!("field {field}: {value:?} {error}")))
}

/// A canary, or an answer that suggests others.
pub(super) fn known<'a>(controller: &'a Controller, id: &CanaryId) -> Result<&'a Canary, HttpError> {
    controller.known(id).map_err(|refused| refusal(controller, &refused))
}

/// What a refusal of the controller is as an answer.
pub(super) fn refusal(controller: &Controller, refused: &Refused) -> HttpError {
    match refused {
        Refused::Unknown(id) => {
            let near = suggestion(id, controller.canaries().map(|canary| &canary.plan.id));
            let list = "GET /api/v1/canaries (`serin get`) lists those that are";
            HttpError::not_found(format!("canary {id} is not known; {list}{near}"))
        }
        Refused::Several { .. } | Refused::UnknownGate { .. } => HttpError::not_found(refused.to_string()),
        Refused::Phase(_)
        | Refused::DefaultUpstream { .. }
        | Refused::Sibling { .. }
        | Refused::Lane { .. }
        | Refused::Withdrawn { .. }
        | Refused::Tombstone { .. }
        | Refused::Roles(_)
        | Refused::InUse(_) => HttpError::conflict(refused.to_string()),
    }
}

/// By name alone, its own namespace first: the right name in another namespace is the likeliest slip.
fn suggestion<'a>(id: &CanaryId, known: impl Iterator<Item = &'a CanaryId>) -> String {
    let mut near: Vec<&CanaryId> = known.filter(|other| is_near(id.name(), other.name())).collect();
    near.sort_by_key(|other| other.namespace() != id.namespace());
    let names: Vec<String> = near.into_iter().take(MAX_SUGGESTED).map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(" or ")) }
}

impl From<Stopped> for HttpError {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(stopped.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_in_its_own_namespace_first() {
        let ids =
            [("test", "web"), ("prod", "web"), ("prod", "checkout")].map(|(of, name)| CanaryId::new(of, name).unwrap());
        let suggest = |namespace, name| suggestion(&CanaryId::new(namespace, name).unwrap(), ids.iter());
        assert_eq!(suggest("prod", "wbe"), "; did you mean prod/web or test/web?");
        assert_eq!(suggest("default", "chekout"), "; did you mean prod/checkout?");
        assert_eq!(suggest("prod", "nobody"), "");
    }
}
