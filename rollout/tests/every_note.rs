//! Every decision is shown with who, why and by how much: each variant of notes, causes and holds has its words, its
//! severity, and keeps all of itself in the journal's JSON.

#![cfg(test)]

#[path = "fixture/notes.rs"]
mod notes;

use std::collections::BTreeSet;

use rollout::controller::notify;
use rollout::release::integrations::Severity;
use rollout::release::phase::{Cause, Hold, Note};
use rollout::release::text;

#[test]
fn every_note_cause_and_hold_has_its_words() {
    for (note, words) in notes::notes() {
        assert_eq!(text::note(&note), words, "{note:?}");
    }
    for (cause, words) in notes::causes() {
        assert_eq!(text::cause(&cause), words, "{cause:?}");
    }
    for (hold, words) in notes::holds() {
        assert_eq!(text::hold(&hold), words, "{hold:?}");
    }
}

#[test]
fn there_is_a_row_for_every_variant() {
    let seen: BTreeSet<usize> = notes::notes().iter().map(|(note, _)| of_note(note)).collect();
    assert_eq!(seen, (0..NOTES).collect());
    let seen: BTreeSet<usize> = notes::causes().iter().map(|(cause, _)| of_cause(cause)).collect();
    assert_eq!(seen, (0..CAUSES).collect());
    let seen: BTreeSet<usize> = notes::holds().iter().map(|(hold, _)| of_hold(hold)).collect();
    assert_eq!(seen, (0..HOLDS).collect());
}

#[test]
fn nothing_of_a_note_is_lost_in_json() {
    for (note, _) in notes::notes() {
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note, "{text}");
    }
}

/// An actor without room for a reason would be half an audit.
#[test]
fn whoever_acts_can_say_why() {
    // The first acts by asking for a revision; the second only makes the release that asked go on.
    let without = ["accepted", "reverted"];
    for (note, _) in notes::notes() {
        let text = serde_json::to_value(&note).unwrap().to_string();
        let is_excepted = without.iter().any(|name| text.contains(&format!("\"{name}\"")));
        assert!(is_excepted || text.contains("\"actor\"") == text.contains("\"reason\""), "{text}");
    }
}

#[test]
fn a_failed_release_is_an_error_and_what_waits_for_a_person_a_warning() {
    // Notification by what people read, so that a variant that moves to another severity is noticed here.
    let warnings = [
        "failed check",
        "check 1 without a metric value",
        "fuse of proxy",
        "tripped:",
        "holds:",
        "promotion hook failed",
        "proven; waits for approval to promote",
        "waits for approval to start",
        "manifest removed",
        "the primary fails",
        "ana sends users to the primary although",
        "weight 5 -> 10 %: the primary's users move",
        "manifest changed, and waits",
        "proxy envoy-1 holds",
    ];
    for (note, words) in notes::notes() {
        let expected = if words.starts_with("aborted") {
            Severity::Error
        } else if warnings.iter().any(|begin| words.starts_with(begin)) {
            Severity::Warn
        } else {
            Severity::Info
        };
        assert_eq!(notify::severity(&note), expected, "{words}");
    }
}

const NOTES: usize = 42;
const CAUSES: usize = 12;
const HOLDS: usize = 11;

fn of_note(note: &Note) -> usize {
    match note {
        Note::Declared => 0,
        Note::Changed { .. } => 1,
        Note::Started { .. } => 2,
        Note::Superseded { .. } => 3,
        Note::Accepted { .. } => 4,
        Note::Waiting { .. } => 5,
        Note::Approved { .. } => 6,
        Note::AnalysisSkipped => 7,
        Note::Skipped { .. } => 8,
        Note::WeightSet { .. } => 9,
        Note::Objected { .. } => 10,
        Note::MetricError { .. } => 11,
        Note::WaitingPromotion { .. } => 12,
        Note::GateOpened { .. } => 13,
        Note::GateClosed { .. } => 14,
        Note::Returned { .. } => 15,
        Note::Stepped { .. } => 16,
        Note::CheckFailed { .. } => 17,
        Note::Tripped(_) => 18,
        Note::FuseTripped { .. } => 19,
        Note::Rearmed => 20,
        Note::Held(_) => 21,
        Note::Paused { .. } => 22,
        Note::Resumed { .. } => 23,
        Note::Promoting { .. } => 24,
        Note::HookFailed { .. } => 25,
        Note::Confirmed { .. } => 26,
        Note::Swapped { .. } => 27,
        Note::Succeeded { .. } => 28,
        Note::Aborted(_) => 29,
        Note::ManifestRemoved { .. } => 30,
        Note::ManifestReturned { .. } => 31,
        Note::TookOver { .. } => 32,
        Note::RolesWait(_) => 33,
        Note::Forgotten { .. } => 34,
        Note::AbortClaimed { .. } => 35,
        Note::JournalBehind { .. } => 36,
        Note::PrimaryFails(_) => 37,
        Note::PrimaryRecovered(_) => 38,
        Note::PrimaryAccepted { .. } => 39,
        Note::Shifted { .. } => 40,
        Note::BegunAnew => 41,
    }
}

fn of_cause(cause: &Cause) -> usize {
    match cause {
        Cause::Checks { .. } => 0,
        Cause::Guards(_) => 1,
        Cause::Undecided { .. } => 2,
        Cause::Requested { .. } => 3,
        Cause::Objections { .. } => 4,
        Cause::MetricError { .. } => 5,
        Cause::Rollback { .. } => 6,
        Cause::Deadline { .. } => 7,
        Cause::Reverted { .. } => 8,
        Cause::LostAbort { .. } => 9,
        Cause::Withdrawn => 10,
        Cause::NotChosen { .. } => 11,
    }
}

fn of_hold(hold: &Hold) -> usize {
    match hold {
        Hold::NoTraffic => 0,
        Hold::Undecided => 1,
        Hold::Unsupported => 2,
        Hold::Approval { .. } => 3,
        Hold::Stop => 4,
        Hold::Suspended => 5,
        Hold::DefaultUpstream { .. } => 6,
        Hold::Fuse { .. } => 7,
        Hold::WorkersGone => 8,
        Hold::Misrouted { .. } => 9,
        Hold::NoLatency => 10,
    }
}
