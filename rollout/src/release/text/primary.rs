//! The sentences about a primary that fails.

use super::{because, certified, number};
use crate::judgement::guards::EventCount;
use crate::judgement::primary_watch::PrimaryVerdict;
use crate::release::phase::Note;

/// What becomes of users while the primary fails.
pub(super) fn watched(note: &Note) -> String {
    match note {
        Note::PrimaryFails(verdict) => {
            format!("the primary fails, and nothing but a person sends users there: {}", primary(verdict))
        }
        Note::PrimaryRecovered(_) => "the primary is within its limits again".into(),
        Note::PrimaryAccepted { actor, reason } => {
            format!("{actor} sends users to the primary although it fails{}", because(reason))
        }
        Note::Shifted { from, to } => {
            format!("weight {} -> {} %: the primary's users move to the proven canary", from.percent(), to.percent())
        }
        _ => String::new(),
    }
}

/// The limit that the primary breaks, and how both versions do by it; of one that breaks none the nearest.
pub fn primary(verdict: &PrimaryVerdict) -> String {
    let broken = verdict.findings.iter().find(|finding| Some(finding.rule) == verdict.failing);
    let Some(finding) = broken.or(verdict.findings.first()) else { return "it has no limits".into() };
    let share = |EventCount { events, trials }: EventCount| {
        let percent = number(EventCount { events, trials }.percent().unwrap_or_default());
        format!("{events} of {trials} ({percent} %)")
    };
    let (name, allowed) = (finding.rule.name().name(), certified(&finding.rule));
    format!("{name} ({allowed}): primary {}, canary {}", share(finding.primary), share(finding.canary))
}
