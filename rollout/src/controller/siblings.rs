//! Versions of one service bear on each other in one thing alone: the primary that they share. Whoever is being promoted
//! changes it, so the releases of the others end there, and none begins before it has changed.
//!
//! What that means for a sibling is an event of its own: records are kept per canary, and a replay knows only one.

use super::Controller;
use crate::canary::Canary;
use crate::events::{Event, News, Output, Refused};
use crate::machine::Input;
use crate::names::CanaryId;
use crate::release::{Cause, Phase};
use crate::time::Millis;

impl Controller {
    /// A canary has gone from one phase to another; `before` says whether it was being promoted already.
    pub(super) fn tell_siblings(&mut self, id: &CanaryId, before: Standing, now: Millis, out: &mut Output) {
        let Some(canary) = self.canaries.get(id) else { return };
        let news = match (before, Standing::of(&canary.phase), &canary.phase) {
            (Standing::Other, Standing::Promoting, phase) => {
                phase.run().map(|run| News::Promoting { version: id.name().to_owned(), revision: run.revision.clone() })
            }
            (Standing::Promoting, _, Phase::Succeeded(ended)) => {
                Some(News::Promoted { revision: ended.revision.clone() })
            }
            _ => None,
        };
        let Some(news) = news else { return };
        let siblings: Vec<CanaryId> = self.siblings(canary).map(|sibling| sibling.plan.id.clone()).collect();
        for sibling in siblings {
            self.sibling(&sibling, news.clone(), now, out);
            out.followed.push(Event::Sibling(sibling, news.clone()));
        }
    }

    /// News of another version. Whoever has no release in progress has none to end.
    pub(super) fn sibling(&mut self, id: &CanaryId, news: News, now: Millis, out: &mut Output) {
        match news {
            News::Promoting { version, revision } => {
                let _ = self.input(id, Input::Abort(Cause::NotChosen { version, revision }), now, out);
            }
            News::Promoted { revision } => {
                self.canaries.get_mut(id).into_iter().for_each(|canary| canary.promoted = Some(revision.clone()));
            }
        }
    }

    /// While another version becomes the primary, there is nothing yet to compare with.
    pub(super) fn may_begin_beside(&self, id: &CanaryId) -> Result<(), Refused> {
        let mut siblings = self.canaries.get(id).into_iter().flat_map(|canary| self.siblings(canary));
        match siblings.find(|sibling| Standing::of(&sibling.phase) == Standing::Promoting) {
            Some(sibling) => Err(Refused::Sibling { version: sibling.plan.id.clone(), phase: sibling.phase.name() }),
            None => Ok(()),
        }
    }

    /// A canary by its id.
    ///
    /// # Errors
    /// What to answer where there is none of this name: it may be that of several versions.
    pub fn known(&self, id: &CanaryId) -> Result<&Canary, Refused> {
        self.canaries.get(id).ok_or_else(|| self.unknown(id))
    }

    pub(super) fn unknown(&self, id: &CanaryId) -> Refused {
        let of = |canary: &&Canary| canary.plan.scope.lane.as_ref().is_some_and(|lane| lane.of() == id);
        let versions: Vec<String> =
            self.canaries.values().filter(of).map(|canary| canary.plan.id.to_string()).collect();
        if versions.is_empty() {
            return Refused::Unknown(id.clone());
        }
        Refused::Several { service: id.clone(), versions: versions.join(", ") }
    }

    fn siblings<'a>(&'a self, canary: &'a Canary) -> impl Iterator<Item = &'a Canary> {
        let lane = canary.plan.scope.lane.as_ref();
        let is_sibling = move |other: &&Canary| {
            let theirs = other.plan.scope.lane.as_ref();
            other.plan.id != canary.plan.id && lane.zip(theirs).is_some_and(|(ours, theirs)| ours.of() == theirs.of())
        };
        self.canaries.values().filter(is_sibling)
    }
}

/// As much of a phase as siblings must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its version is becoming the primary.
    Promoting,
    /// It is not.
    Other,
}

impl Standing {
    pub(super) const fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Promoting(..) | Phase::Finalising(..) => Self::Promoting,
            _ => Self::Other,
        }
    }
}
