//! The sentences about what people and pipelines did.

use super::{because, counted, span};
use crate::release::phase::Note;

/// Who did what, and why.
pub(super) fn done(note: &Note) -> String {
    match note {
        Note::Started { revision, actor, reason } => {
            format!("release of {revision} started by {actor}{}", because(reason))
        }
        Note::Accepted { actor, items } => {
            let items = counted(*items as u64, "check, hook or setting", "checks, hooks or settings");
            format!("{actor} accepted {items} that this build cannot honour")
        }
        Note::Skipped { actor, reason } => format!("{actor} skipped the wait{}", because(reason)),
        Note::WeightSet { from, to, actor, reason } => {
            format!("weight {} -> {} % by {actor}, paused there{}", from.percent(), to.percent(), because(reason))
        }
        Note::Paused { actor, reason } => format!("paused by {actor}{}", because(reason)),
        Note::Resumed { actor, reason } => format!("resumed by {actor}{}", because(reason)),
        Note::GateOpened { gate, revision, expires_after, actor, reason } => {
            let whose = revision.as_ref().map_or_else(|| "the next revision".into(), ToString::to_string);
            let until = expires_after.map_or_else(String::new, |after| format!(" for {}", span(after)));
            format!("gate {gate} opened for {whose} by {actor}{until}{}", because(reason))
        }
        Note::GateClosed { gate, actor, reason } => format!("gate {gate} closed by {actor}{}", because(reason)),
        Note::Confirmed { actor: Some(actor), reason } => {
            format!("{actor} confirmed that the primary runs the new version{}", because(reason))
        }
        Note::Confirmed { actor: None, .. } => "promotion hook confirmed that the primary runs the new version".into(),
        _ => String::new(),
    }
}
