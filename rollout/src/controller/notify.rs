//! Who outside is asked and notified, with what words: the commands that follow from questions and events.

use std::collections::BTreeMap;

use crate::base::names::Revision;
use crate::base::time::Millis;
use crate::controller::canary::Canary;
use crate::controller::events::{Command, Notification, Payload};
use crate::release::inquiry::Callee;
use crate::release::integrations::{Hook, HookKind, HookTarget, Severity};
use crate::release::phase::{HistoryEvent, Hold, Note, Phase, ReleaseId};
use crate::release::text;

/// The calls and queries that ask these.
pub(crate) fn calls(canary: &Canary, callees: &[Callee]) -> Vec<Command> {
    let of = |callee: &Callee| {
        let call = canary.call(*callee)?;
        let id = canary.plan.id.clone();
        match callee {
            Callee::Metric(n) => {
                let metric = Box::new(canary.plan.outside.metrics.get(*n)?.clone());
                Some(Command::Query { canary: id, call, metric })
            }
            Callee::Hook(_) | Callee::Promotion | Callee::Rollback(_) => {
                let hook = canary.hook(*callee)?.clone();
                let payload = payload(canary, &hook, None);
                Some(Command::CallHook { canary: id, call, hook, payload })
            }
        }
    };
    callees.iter().filter_map(of).collect()
}

/// Writes a note into a canary's history, and notifies of it.
pub(crate) fn record(canary: &mut Canary, note: Note, now: Millis) -> Vec<Command> {
    let event = canary.record(note, now);
    let notified = notifications(canary, &event);
    let announced = Command::Announce(canary.plan.id.clone(), Box::new(event));
    std::iter::once(announced).chain(notified).collect()
}

/// The hooks and alerts that are notified of an event.
pub(crate) fn notifications(canary: &Canary, event: &HistoryEvent) -> Vec<Command> {
    let outside = &canary.plan.outside;
    let severity = severity(&event.note);
    let notification = Notification { at: event.at, severity, message: text::note(&event.note) };
    let is_end = matches!(event.note, Note::Succeeded { .. } | Note::Aborted(_));
    let is_notified = |hook: &&Hook| match hook.kind {
        HookKind::Event => true,
        HookKind::PostRollout => is_end,
        _ => false,
    };
    let hooks = outside.hooks.iter().filter(is_notified).map(|hook| Command::NotifyHook {
        canary: canary.plan.id.clone(),
        hook: hook.clone(),
        payload: payload(canary, hook, Some(&notification)),
    });
    let is_alerting = is_alerting(&event.note) && !is_muted(canary, &event.note);
    let alerts = outside.alerts.iter().filter(|alert| is_alerting && alert.takes(severity));
    let alerts = alerts.map(|alert| Command::Alert {
        canary: canary.plan.id.clone(),
        alert: alert.clone(),
        revision: revision(canary),
        notification: notification.clone(),
    });
    hooks.chain(alerts).collect()
}

/// How grave an event is.
pub const fn severity(note: &Note) -> Severity {
    match note {
        Note::Aborted(_) => Severity::Error,
        Note::CheckFailed { .. }
        | Note::Objected { .. }
        | Note::MetricError { .. }
        | Note::Tripped(_)
        | Note::FuseTripped { .. }
        | Note::AbortClaimed { .. }
        | Note::JournalBehind { .. }
        | Note::Held(_)
        | Note::HookFailed { .. }
        | Note::PrimaryFails(_)
        | Note::PrimaryAccepted { .. }
        | Note::Shifted { .. }
        | Note::ManifestRemoved { .. }
        | Note::RolesWait(_)
        | Note::Waiting { .. }
        | Note::WaitingPromotion { .. } => Severity::Warn,
        _ => Severity::Info,
    }
}

/// Whether people are alerted: beginnings, ends, and what waits for one of them.
const fn is_alerting(note: &Note) -> bool {
    matches!(
        note,
        Note::Started { .. }
            | Note::Tripped(_)
            | Note::AbortClaimed { .. }
            | Note::JournalBehind { .. }
            | Note::Held(_)
            | Note::HookFailed { .. }
            | Note::PrimaryFails(_)
            | Note::PrimaryRecovered(_)
            | Note::PrimaryAccepted { .. }
            | Note::Shifted { .. }
            | Note::Waiting { .. }
            | Note::WaitingPromotion { .. }
            | Note::Promoting { awaiting: Some(_), .. }
            | Note::Succeeded { .. }
            | Note::Aborted(_)
    )
}

/// Whether every hook that an approval is awaited from mutes its alert.
fn is_muted(canary: &Canary, note: &Note) -> bool {
    let refused = match note {
        Note::Waiting { refused } | Note::WaitingPromotion { refused } => refused,
        Note::Held(Hold::Approval { refused, .. }) => refused,
        _ => return false,
    };
    let is_mute = |name: &str| {
        let hooks = canary.plan.outside.hooks.iter();
        hooks.filter(|hook| hook.name == name).all(|hook| hook.mute_alert)
    };
    refused.iter().all(|objection| is_mute(&objection.name))
}

fn payload(canary: &Canary, hook: &Hook, notification: Option<&Notification>) -> Payload {
    let (release, revision) = (ReleaseId(canary.releases), revision(canary));
    let mut metadata = match &hook.target {
        HookTarget::Call(call) => call.metadata.clone(),
        HookTarget::Gate => BTreeMap::new(),
    };
    match (hook.kind, notification) {
        // What it is to deploy; a manifest that gives these keys knows better what its receiver reads.
        (HookKind::Promotion, _) => {
            let revision = revision.as_ref().map_or_else(String::new, Revision::to_string);
            metadata.entry("revision".into()).or_insert(revision);
            metadata.entry("release".into()).or_insert_with(|| release.0.to_string());
        }
        // What happened, under Flagger's keys, which are not the manifest's to give.
        (HookKind::Event, Some(Notification { at, severity, message })) => {
            let kind = if *severity > Severity::Info { "Warning" } else { "Normal" };
            metadata.insert("eventMessage".into(), message.clone());
            metadata.insert("eventType".into(), kind.into());
            metadata.insert("timestamp".into(), at.0.to_string());
        }
        _ => {}
    }
    Payload { phase: canary.phase.name(), release, revision, metadata }
}

fn revision(canary: &Canary) -> Option<Revision> {
    let ended = canary.phase.ended().map(|ended| &ended.revision);
    let promoted = match canary.phase {
        Phase::Initialized => canary.promoted.as_ref(),
        _ => None,
    };
    canary.phase.run().map(|run| &run.revision).or(ended).or(promoted).cloned()
}
