//! A release as its waiter follows it: each event once and in order, and the moment at which there is nothing to wait for.

use rollout::view::status::CanaryStatus;
use serde::Deserialize;
use serde_json::Value;

/// An event of the history, as far as this program needs it: a note of a later agent must not end the wait.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Unix time, milliseconds.
    pub(crate) at_ms: u64,
    /// During which release.
    pub(crate) release: u64,
    /// The canary's share after it, percent.
    pub(crate) weight_percent: f64,
    /// What and why.
    pub(crate) message: String,
    /// The same for programs.
    pub(crate) detail: Value,
}

/// How a wait ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The release is the primary.
    Promoted(String),
    /// It is not, and will not be.
    Aborted(String),
    /// It goes on only when a person acts.
    Held {
        /// Why it stands still.
        why: String,
        /// What the person must do.
        next: String,
    },
}

/// One release, followed.
#[derive(Debug)]
pub(crate) struct FollowedRelease {
    release: u64,
    seen: Vec<Event>,
}

impl FollowedRelease {
    /// Begins to follow a release.
    pub(crate) const fn new(release: u64) -> Self {
        Self { release, seen: Vec::new() }
    }

    /// Takes an event; true if it belongs to the release and was not taken before.
    pub(crate) fn take(&mut self, event: &Event) -> bool {
        if event.release != self.release || self.seen.contains(event) {
            return false;
        }
        self.seen.push(event.clone());
        true
    }

    /// The end, if the canary's status is one.
    pub(crate) fn end(&self, status: &CanaryStatus) -> Option<WaitEnd> {
        if status.release > self.release {
            let why = format!("release {} gave way to release {}", self.release, status.release);
            return Some(WaitEnd::Aborted(why));
        }
        if status.release < self.release {
            return None;
        }
        match status.phase.as_str() {
            "Succeeded" => Some(WaitEnd::Promoted(status.message.clone())),
            "Failed" => Some(WaitEnd::Aborted(status.message.clone())),
            _ => status.needs_person.clone().map(|next| WaitEnd::Held { why: why(status), next }),
        }
    }
}

/// Why it stands still. Where a person paused it that is why, whatever else holds it.
fn why(status: &CanaryStatus) -> String {
    match &status.hold {
        Some(hold) if status.phase != "Paused" => {
            let parts: Vec<&str> = std::iter::once(hold).chain(&status.remarks).map(String::as_str).collect();
            parts.join("; ")
        }
        _ => status.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use rollout::release::phase::Note;

    use super::*;
    use crate::fixture;

    fn event(at_ms: u64, release: u64, note: &Note) -> Event {
        let detail = serde_json::to_value(note).unwrap();
        Event { at_ms, release, weight_percent: 5.0, message: format!("event at {at_ms}"), detail }
    }

    #[test]
    fn each_event_of_the_release_is_taken_once() {
        let mut release = FollowedRelease::new(3);
        let first = event(1, 3, &Note::Declared);
        assert!(!release.take(&event(0, 2, &Note::Declared)));
        assert!(release.take(&first));
        assert!(!release.take(&first));
        assert!(release.take(&event(2, 3, &Note::Declared)));
    }

    #[test]
    fn only_what_needs_a_person_ends_the_wait() {
        let release = FollowedRelease::new(3);
        let mut status = fixture::canary("prod", "web", "Paused");
        assert_eq!(release.end(&status), None);
        let held = |why: &str| Some(WaitEnd::Held { why: why.into(), next: "look".into() });
        status.message = "paused: nobody looked".into();
        (status.hold, status.needs_person) = (Some("nobody looked".into()), Some("look".into()));
        assert_eq!(release.end(&status), held("paused: nobody looked"));
        status.phase = "Progressing".into();
        assert_eq!(release.end(&status), held("nobody looked"));
        status.remarks = vec!["nobody is there".into()];
        assert_eq!(release.end(&status), held("nobody looked; nobody is there"));
        status.release = 2;
        assert_eq!(release.end(&status), None, "another release's");
    }

    #[test]
    fn the_status_of_another_release_is_no_end_but_a_later_one_is() {
        let release = FollowedRelease::new(3);
        let status = |release, phase: &str| {
            let mut status = fixture::canary("prod", "web", phase);
            status.release = release;
            status
        };
        assert_eq!(release.end(&status(2, "Failed")), None);
        for phase in ["Progressing", "Paused", "Promoting", "Finalising"] {
            assert_eq!(release.end(&status(3, phase)), None);
        }
        assert!(matches!(release.end(&status(3, "Succeeded")), Some(WaitEnd::Promoted(_))));
        assert!(matches!(release.end(&status(3, "Failed")), Some(WaitEnd::Aborted(_))));
        assert!(matches!(release.end(&status(4, "Progressing")), Some(WaitEnd::Aborted(_))));
    }
}
