//! A recorded release once more: what happened, and beside it what other settings would have said of the same evidence.
//!
//! Requests went where history sent them. So what would have come after an earlier abort is not known, and neither is what
//! would have come after the record's end; [`Replayed`] says nothing of either.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::names::{CanaryId, Revision};
use crate::base::time::Millis;
use crate::controller::Controller;
use crate::controller::canary::Canary;
use crate::controller::events::{Event, WorkerEvent};
use crate::record::rejudge::{Judged, Rejudge};
use crate::record::{Closing, FORMAT, KIND, Line, Opening, closing};
use crate::release::phase::{Cause, Note, Phase, ReleaseId};
use crate::release::plan::Plan;
use crate::routing::table::Epoch;
use crate::worker::messages::{Incarnation, Report};

/// A record that cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// It is something else.
    #[error("it says it is {0:?}, not {KIND:?}")]
    Kind(String),
    /// It was made by a program that writes another form.
    #[error("its format is {0}, this program reads format {FORMAT}: use the `serin` of the agent that made it")]
    Format(u32),
    /// Its canary is not in its state.
    #[error("its first line has no state of canary {0}")]
    NoCanary(CanaryId),
    /// Its first event does not begin the release.
    #[error("its first event does not begin release {0}: lines are missing")]
    NotBegun(u64),
}

/// What came of a replay. Times are milliseconds since the release began, unless their name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Whose release.
    pub canary: CanaryId,
    /// Which.
    pub release: ReleaseId,
    /// What it brought.
    pub revision: Revision,
    /// When it began, Unix time in milliseconds.
    pub began_at_ms: u64,
    /// Events folded.
    pub events: u64,
    /// How long the record is.
    pub until_ms: u64,
    /// How the fold of the events ends; `None`: the record ends before the release does.
    pub ended: Option<Closing>,
    /// Whether a guard aborted it.
    pub aborted_by_guards: bool,
    /// How the agent that ran the release said that it ended, where this program comes to another end.
    pub ended_otherwise: Option<Closing>,
    /// Steps taken, from the first.
    pub steps: Vec<StepTaken>,
    /// Canary requests begun, as far as the record goes.
    pub canary_requests: u64,
    /// Those of them known to have failed.
    pub canary_failed: u64,
    /// Under the settings that it ran with.
    pub recorded: Judged,
    /// Under others, if any were given.
    pub other: Option<Judged>,
}

/// One step as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTaken {
    /// 1 for the first.
    pub step: usize,
    /// The canary's share, percent.
    pub weight_percent: f64,
    /// When it began.
    pub from_ms: u64,
    /// When it ended; `None`: not before the record does.
    pub to_ms: Option<u64>,
    /// Canary requests of this step begun.
    pub canary_requests: u64,
    /// Those that failed.
    pub canary_failed: u64,
    /// Those that were slow by the recorded limit, or failed.
    pub canary_slow: u64,
}

/// A record on its way through; feed it every line in order.
#[derive(Debug)]
pub struct Replay {
    opening: Opening,
    other_plan: Option<Plan>,
    controller: Controller,
    begun: Option<Begun>,
    events: u64,
    last: Millis,
    said: Option<Closing>,
}

/// What there is once the release has begun.
#[derive(Debug)]
struct Begun {
    recorded: Rejudge,
    other: Option<Rejudge>,
    /// When the other plan's next check is due, where its interval is its own.
    check_at: Option<Millis>,
    steps: Vec<StepTaken>,
    step_of: BTreeMap<Epoch, usize>,
    step_since: Epoch,
    ended: Option<Closing>,
    aborted_by_guards: bool,
}

impl Replay {
    /// Begins with a record's first line; `other` are the settings to judge under besides the recorded ones.
    ///
    /// # Errors
    /// When it is no record, or one of another format.
    pub fn new(opening: Opening, other: Option<Plan>) -> Result<Self, ReplayError> {
        if opening.kind != KIND {
            return Err(ReplayError::Kind(opening.kind));
        }
        if opening.format != FORMAT {
            return Err(ReplayError::Format(opening.format));
        }
        if opening.state.canary(&opening.canary).is_none() {
            return Err(ReplayError::NoCanary(opening.canary));
        }
        let (controller, last) = (opening.state.clone(), opening.began);
        Ok(Self { opening, other_plan: other, controller, begun: None, events: 0, last, said: None })
    }

    /// Folds the next line.
    ///
    /// # Errors
    /// When the first one does not begin the release.
    pub fn take(&mut self, line: Line) -> Result<(), ReplayError> {
        let Line { at, event, ended } = line;
        self.said = ended.or(self.said.take());
        let Some(event) = event else { return Ok(()) };
        self.events += 1;
        if self.begun.as_ref().is_some_and(|begun| begun.ended.is_some()) {
            return Ok(());
        }
        self.last = self.last.max(at);
        if self.begun.is_none() {
            self.controller.handle(event, at);
            return self.begin(at);
        }
        self.go_on(event, at);
        Ok(())
    }

    /// Where the release stands in the fold so far.
    pub fn canary(&self) -> Option<&Canary> {
        self.controller.canary(&self.opening.canary)
    }

    /// What the lines came to.
    ///
    /// # Errors
    /// When there was none.
    pub fn finish(self) -> Result<Replayed, ReplayError> {
        let Opening { canary, release, revision, began, .. } = self.opening;
        let Begun { recorded, other, mut steps, ended, aborted_by_guards, .. } =
            self.begun.ok_or(ReplayError::NotBegun(release.0))?;
        for step in &mut steps {
            (step.canary_requests, step.canary_failed, step.canary_slow) = recorded.counted(step.step);
        }
        let (canary_requests, canary_failed) = recorded.seen();
        let taken = steps.len();
        Ok(Replayed {
            canary,
            release,
            revision,
            began_at_ms: began.0,
            events: self.events,
            until_ms: self.last.since(began).0,
            ended_otherwise: self.said.filter(|said| ended.as_ref() != Some(said)),
            ended,
            aborted_by_guards,
            steps,
            canary_requests,
            canary_failed,
            recorded: recorded.finish(taken),
            other: other.map(|other| other.finish(taken)),
        })
    }

    fn begin(&mut self, at: Millis) -> Result<(), ReplayError> {
        let (release, began) = (self.opening.release, self.opening.began);
        let is_begun = |canary: &&Canary| canary.phase.latest().is_some_and(|(latest, _)| latest == release);
        let canary = self.canary().filter(is_begun).ok_or(ReplayError::NotBegun(release.0))?;
        let plan = &canary.plan;
        let rejudge = |own: &Plan| Rejudge::new(own.clone(), plan, &canary.evidence, began);
        let mut begun = Begun {
            recorded: rejudge(plan),
            other: self.other_plan.as_ref().map(rejudge),
            check_at: None,
            steps: Vec::new(),
            step_of: BTreeMap::new(),
            step_since: Epoch::default(),
            ended: closing(&self.controller, &self.opening.canary, release),
            aborted_by_guards: false,
        };
        begun.follow(canary, at, began);
        self.begun = Some(begun);
        Ok(())
    }

    fn go_on(&mut self, event: Event, at: Millis) {
        let Some(mut begun) = self.begun.take() else { return };
        let id = self.opening.canary.clone();
        let before = self.canary().map(|canary| canary.phase.clone());
        if let Some(phase) = &before {
            begun.check(phase, matches!(event, Event::Timer), at);
            let fresh = self.fresh(&event);
            if !fresh.is_empty() {
                begun.fold(&id, &fresh, phase, at);
            }
        }
        let is_resumed = matches!(before, Some(Phase::Paused(_)));
        self.controller.handle(event, at);
        begun.ended = closing(&self.controller, &id, self.opening.release);
        match self.controller.canary(&id) {
            Some(canary) if begun.ended.is_none() => {
                if is_resumed && matches!(canary.phase, Phase::Progressing(_)) {
                    begun.schedule(at);
                }
                begun.follow(canary, at, self.opening.began);
            }
            _ => {}
        }
        if begun.ended.is_some() {
            let aborted_by_guards = |canary: &Canary| {
                matches!(canary.history.back().map(|event| &event.note), Some(Note::Aborted(Cause::Guards(_))))
            };
            begun.aborted_by_guards = self.controller.canary(&id).is_some_and(aborted_by_guards);
            let since = at.since(self.opening.began).0;
            begun.steps.iter_mut().next_back().into_iter().for_each(|step| step.to_ms = Some(since));
        }
        self.begun = Some(begun);
    }

    /// The reports in an event that were not folded before, with their workers.
    fn fresh<'a>(&self, event: &'a Event) -> Vec<(Incarnation, &'a Report)> {
        let Event::Workers(events) = event else { return Vec::new() };
        let fresh = self.controller.counting(events).into_iter().filter_map(|(conn, event)| match event {
            WorkerEvent::Reported(report) => Some((self.controller.fleet().incarnation(*conn)?, report)),
            WorkerEvent::Adopted(..) => None,
        });
        fresh.collect()
    }
}

impl Begun {
    /// The checks that are due before an event: with the recorded ones where the interval is theirs, else at their own. A
    /// plan that advances on certificate makes none.
    fn check(&mut self, phase: &Phase, is_timer: bool, at: Millis) {
        let Some(check_at) = phase.step().and_then(|_| phase.check_at()) else { return };
        let ticks = is_timer && check_at <= at && self.recorded.has_checks();
        if ticks {
            self.recorded.check(at);
        }
        let Some(other) = &mut self.other else { return };
        match &mut self.check_at {
            None if ticks => other.check(at),
            Some(due) => {
                while *due <= at {
                    other.check(*due);
                    *due = due.plus(other.plan().interval);
                }
            }
            None => {}
        }
    }

    fn fold(&mut self, id: &CanaryId, reports: &[(Incarnation, &Report)], phase: &Phase, at: Millis) {
        let step = phase.step();
        let mut strata = reports.iter().flat_map(|(_, report)| &report.strata);
        let is_about = strata.any(|(stratum, _)| stratum.canary == *id);
        let step_of = |epoch| self.step_of.get(&epoch).copied();
        for rejudge in std::iter::once(&mut self.recorded).chain(&mut self.other) {
            reports.iter().for_each(|(worker, report)| rejudge.fold(id, *worker, report, step_of, at));
            // As the controller does: after a batch with something about this canary, while a release runs.
            if is_about && phase.run().is_some() {
                rejudge.look(step.is_some(), at);
            }
            if let Some(step) = step {
                rejudge.certify(step.number.get(), at);
            }
        }
    }

    /// Notes the step and the epoch that are in force now.
    fn follow(&mut self, canary: &Canary, at: Millis, began: Millis) {
        let step = canary.phase.steps();
        if step == 0 {
            return;
        }
        if self.step_since != canary.step_since() {
            self.step_since = canary.step_since();
            self.recorded.begin_step(self.step_since);
            self.other.iter_mut().for_each(|other| other.begin_step(canary.step_since()));
        }
        if self.step_of.insert(canary.epoch, step).is_none()
            && let Some(split) = canary.entry().routing.and_then(|routing| routing.split)
        {
            self.recorded.weigh(canary.epoch, split.weight, split.sticky.is_some());
            self.other.iter_mut().for_each(|other| other.weigh(canary.epoch, split.weight, split.sticky.is_some()));
        }
        if self.steps.last().is_some_and(|last| last.step == step) {
            return;
        }
        if self.steps.is_empty() {
            self.schedule(at);
        }
        let from_ms = at.since(began).0;
        self.steps.iter_mut().next_back().into_iter().for_each(|last| last.to_ms = Some(from_ms));
        let weight_percent = canary.weight().percent();
        let (canary_requests, canary_failed, canary_slow) = (0, 0, 0);
        let to_ms = None;
        self.steps.push(StepTaken {
            step,
            weight_percent,
            from_ms,
            to_ms,
            canary_requests,
            canary_failed,
            canary_slow,
        });
    }

    /// The other plan's next check, counted from now.
    fn schedule(&mut self, at: Millis) {
        let interval = self.other.as_ref().map(|other| other.plan().interval);
        let is_recorded = |own: &Millis| self.recorded.has_checks() && *own == self.recorded.plan().interval;
        self.check_at = interval.filter(|own| !is_recorded(own)).map(|own| at.plus(own));
    }
}
