//! One release's share of the journal: all that a replay needs, and nothing of other canaries.
//!
//! A record is an [`Opening`], the state just before the release was asked for, and the [`Line`]s that followed. What
//! another version of the same service did to it is a line of its own, so folding the lines onto the opening gives what
//! the whole journal gave. Records are handed out: their plans decide the same, without what may be secret (see
//! [`stripped`](crate::release::plan::Plan::stripped)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Revision};
use crate::base::time::Millis;
use crate::controller::Controller;
use crate::controller::events::{Event, Output, Verb, WorkerEvent};
use crate::controller::fleet::Conn;
use crate::release::phase::{Cause, Phase, ReleaseId};
use crate::release::text;
use crate::worker::messages::{Hello, Report};

/// What a record says it is.
pub const KIND: &str = "serin release record";
/// The form of a record; another is refused by this number. Raise it whenever a serialised name or meaning changes.
pub const FORMAT: u32 = 5;

/// A record's first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Whose release.
    pub canary: CanaryId,
    /// Which.
    pub release: ReleaseId,
    /// What it brings.
    pub revision: Revision,
    /// When it began.
    pub began: Millis,
    /// The engine before that, reduced to this canary.
    pub state: Controller,
}

/// One line after the first: an event or the end, with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// When it was handled.
    pub at: Millis,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// How the release ended; only in the last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Closing>,
}

/// How a release ended, as the agent that ran it decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    /// In one word.
    pub outcome: ReleaseOutcome,
    /// Why, in one line.
    pub message: String,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseOutcome {
    /// It is the primary.
    Promoted,
    /// It was aborted.
    Aborted,
    /// A newer revision took its place.
    Superseded,
}

impl ReleaseOutcome {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
        }
    }
}

/// What one event adds to one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// Whose record.
    pub canary: CanaryId,
    /// Of which release.
    pub release: ReleaseId,
    /// What.
    pub what: Added,
}

/// See [`Addition`].
#[derive(Clone, Debug, PartialEq)]
pub enum Added {
    /// The record begins.
    Opening(Box<Opening>),
    /// It goes on; it ends with a line that says how.
    Line(Box<Line>),
}

/// Knows which releases run, and what belongs into their records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorder {
    running: BTreeMap<CanaryId, ReleaseId>,
}

impl Recorder {
    /// Goes on where a controller stands.
    pub fn resume(controller: &Controller) -> Self {
        let running =
            controller.canaries().filter_map(|canary| Some((canary.plan.id.clone(), canary.phase.run()?.release)));
        Self { running: running.collect() }
    }

    /// The releases that run.
    pub const fn running(&self) -> &BTreeMap<CanaryId, ReleaseId> {
        &self.running
    }

    /// Lets the controller handle an event; returns also what that adds to the records of the releases it concerns.
    pub fn handle(&mut self, controller: &mut Controller, event: Event, now: Millis) -> (Output, Vec<Addition>) {
        let before = match &event {
            Event::Requested(id, Verb::Release { .. } | Verb::Retry { .. }) => {
                Some((id.clone(), controller.only(id), event.clone()))
            }
            _ => None,
        };
        let mut additions = self.lines(controller, &event, now);
        let output = controller.handle(event, now);
        for event in &output.sibling_events {
            let concerned = self.running.iter().filter_map(|(id, release)| Some((id, *release, about(event, id)?)));
            additions.extend(concerned.map(|(id, release, event)| line(id, release, now, event)));
        }
        self.close_ended(controller, now, &mut additions);
        if let Some((id, state, event)) = before
            && let Some((release, revision)) = controller.canary(&id).and_then(|canary| canary.phase.latest())
            && state.canary(&id).is_some_and(|canary| canary.releases < release.0)
        {
            let revision = revision.clone();
            let opening =
                Opening { kind: KIND.into(), format: FORMAT, canary: id.clone(), release, revision, began: now, state };
            additions.push(Addition::new(&id, release, Added::Opening(Box::new(opening))));
            additions.push(line(&id, release, now, event));
            self.running.insert(id, release);
            self.close_ended(controller, now, &mut additions);
        }
        (output, additions)
    }

    /// What an event is in the records of the releases that it concerns. A report that has come before is in none: what it
    /// said then may have been about others.
    fn lines(&self, controller: &Controller, event: &Event, now: Millis) -> Vec<Addition> {
        let counting = match event {
            Event::Workers(events) => controller.counting(events),
            _ => Vec::new(),
        };
        let about = |id: &CanaryId| match event {
            Event::Workers(_) => about_workers(&counting, id),
            _ => about(event, id),
        };
        self.running.iter().filter_map(|(id, release)| Some(line(id, *release, now, about(id)?))).collect()
    }

    fn close_ended(&mut self, controller: &Controller, now: Millis, additions: &mut Vec<Addition>) {
        self.running.retain(|id, release| {
            let closing = closing(controller, id, *release);
            let ended = closing.clone().map(|ended| Line { at: now, event: None, ended: Some(ended) });
            additions.extend(ended.map(|line| Addition::new(id, *release, Added::Line(Box::new(line)))));
            closing.is_none()
        });
    }
}

impl Addition {
    fn new(id: &CanaryId, release: ReleaseId, what: Added) -> Self {
        Self { canary: id.clone(), release, what }
    }
}

fn line(id: &CanaryId, release: ReleaseId, at: Millis, event: Event) -> Addition {
    Addition::new(id, release, Added::Line(Box::new(Line { at, event: Some(event), ended: None })))
}

/// The part of an event that concerns one canary, fit to be handed out; `None` when there is none. For what workers say see
/// [`Recorder::lines`].
fn about(event: &Event, id: &CanaryId) -> Option<Event> {
    let is_own = |other: &CanaryId| other == id;
    match event {
        // As in the opening: a plan that waits must be known again when it is declared once more.
        Event::Declared(plan) => is_own(&plan.id).then(|| Event::Declared(Box::new(plan.as_ref().clone().stripped()))),
        Event::Connected(conn, hello) => {
            let adopted = hello.adopted.iter().filter(|(other, _)| is_own(other)).cloned().collect();
            let default_upstreams =
                hello.default_upstreams.iter().filter(|(other, _)| id.is_under(other)).cloned().collect();
            let trips = hello.trips.iter().filter(|trip| is_own(&trip.canary)).cloned().collect();
            Some(Event::Connected(*conn, Hello { adopted, default_upstreams, trips, ..hello.clone() }))
        }
        _ => event.canary().is_none_or(is_own).then(|| event.clone()),
    }
}

/// The part of what workers say that concerns one canary; `None` when there is none.
fn about_workers(events: &[&(Conn, WorkerEvent)], id: &CanaryId) -> Option<Event> {
    let own = events.iter().filter_map(|(conn, event)| Some((*conn, about_canary(event, id)?)));
    let own: Vec<_> = own.collect();
    (!own.is_empty()).then_some(Event::Workers(own))
}

/// The part of what a worker says that concerns one canary. What it says of others does not move this one, and a number that
/// is missing in the row is none that was lost.
fn about_canary(event: &WorkerEvent, id: &CanaryId) -> Option<WorkerEvent> {
    let is_own = |other: &CanaryId| other == id;
    event.canaries().any(is_own).then(|| match event {
        WorkerEvent::Adopted(..) => event.clone(),
        WorkerEvent::Reported(report) => {
            let strata = report.strata.iter().filter(|(stratum, _)| is_own(&stratum.canary)).cloned().collect();
            let watermarks = report.watermarks.iter().filter(|watermark| is_own(&watermark.canary)).cloned().collect();
            let trips = report.trips.iter().filter(|trip| is_own(&trip.canary)).cloned().collect();
            let destinations = report.destinations.iter().filter(|sampled| is_own(&sampled.canary)).cloned().collect();
            WorkerEvent::Reported(Report { number: report.number, strata, watermarks, trips, destinations })
        }
    })
}

/// How a release ended; `None` while it runs.
pub fn closing(controller: &Controller, id: &CanaryId, release: ReleaseId) -> Option<Closing> {
    let closing = |outcome, message| Some(Closing { outcome, message });
    let Some(canary) = controller.canary(id) else {
        return closing(ReleaseOutcome::Aborted, text::cause(&Cause::Withdrawn));
    };
    match (canary.phase.run(), &canary.phase) {
        (Some(run), _) if run.release == release => None,
        (Some(run), _) => closing(ReleaseOutcome::Superseded, format!("gave way to {}", run.revision)),
        (None, Phase::Failed(_, cause)) => closing(ReleaseOutcome::Aborted, text::cause(cause)),
        (None, _) => closing(ReleaseOutcome::Promoted, "the primary runs it".into()),
    }
}
