//! Counts of what was announced: decisions by kind, releases by their end and how long they took. From the start of this
//! process, as counters are; the history in the journal has what was before.

use std::collections::BTreeMap;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rollout::base::names::CanaryId;
use rollout::base::time::Millis;
use rollout::controller::Controller;
use rollout::controller::canary::Canary;
use rollout::release::phase::{HistoryEvent, Note};
use rollout::release::plan::{Plan, Strategy};
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Counts, Times};
use crate::handle::{Announcement, Handle};

/// Seconds: from an aborted minute to a week.
const RELEASE_BUCKETS: [f64; 11] =
    [10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0];

/// Counters of events. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct EventCounts {
    events: Counts<3>,
    aborts: Counts<3>,
    releases: Counts<3>,
    seconds: Times<3>,
    missed: Counter,
    /// The same ends, as Flagger labels them.
    pub(super) flagger_successes: Counts<4>,
    pub(super) flagger_failures: Counts<4>,
}

/// What must be kept of a release until its end.
#[derive(Clone, Debug)]
pub(crate) struct StartedRelease {
    at: Millis,
    /// Flagger's word for how it climbs.
    strategy: &'static str,
    is_analysis_skipped: bool,
}

/// The releases in progress.
pub(crate) fn started_releases(controller: &Controller) -> BTreeMap<CanaryId, StartedRelease> {
    let of = |canary: &Canary| {
        let run = canary.phase.run()?;
        let (strategy, is_analysis_skipped) = (strategy(&canary.plan), canary.plan.course.skip_analysis);
        Some((canary.plan.id.clone(), StartedRelease { at: run.started_at, strategy, is_analysis_skipped }))
    };
    controller.canaries().filter_map(of).collect()
}

impl Default for EventCounts {
    fn default() -> Self {
        Self {
            events: Counts::default(),
            aborts: Counts::default(),
            releases: Counts::default(),
            seconds: Times::new_with_constructor(|| Histogram::new(RELEASE_BUCKETS)),
            missed: Counter::default(),
            flagger_successes: Counts::default(),
            flagger_failures: Counts::default(),
        }
    }
}

impl EventCounts {
    /// Counts announcements until there are no more; `begun` are the releases that were in progress before the first.
    pub(crate) async fn follow(
        self,
        mut announced: Receiver<Announcement>,
        mut begun: BTreeMap<CanaryId, StartedRelease>,
        handle: Handle,
    ) {
        loop {
            match announced.recv().await {
                Ok((canary, event)) => {
                    if matches!(event.note, Note::Started { .. }) {
                        let asked = canary.clone();
                        let strategy =
                            handle.read(move |controller, _| controller.canary(&asked).map(|c| strategy(&c.plan)));
                        let strategy = strategy.await.ok().flatten().unwrap_or("canary");
                        let fresh = StartedRelease { at: event.at, strategy, is_analysis_skipped: false };
                        begun.insert(canary.clone(), fresh);
                    }
                    self.count(&canary, &event, &mut begun);
                }
                Err(RecvError::Lagged(missed)) => drop(self.missed.inc_by(missed)),
                Err(RecvError::Closed) => return,
            }
        }
    }

    pub(super) fn count(
        &self,
        canary: &CanaryId,
        event: &HistoryEvent,
        begun: &mut BTreeMap<CanaryId, StartedRelease>,
    ) {
        let of = |label, value: &str| {
            [("namespace", canary.namespace().to_owned()), ("name", canary.name().into()), (label, value.to_owned())]
        };
        self.events.get_or_create(&of("kind", &kind(&event.note))).inc();
        let outcome = match &event.note {
            Note::AnalysisSkipped => {
                begun.entry(canary.clone()).and_modify(|begun| begun.is_analysis_skipped = true);
                return;
            }
            Note::Succeeded { .. } => "succeeded",
            Note::Aborted(cause) => {
                self.aborts.get_or_create(&of("cause", &kind(cause))).inc();
                "failed"
            }
            Note::Superseded { .. } => "superseded",
            _ => return,
        };
        self.releases.get_or_create(&of("outcome", outcome)).inc();
        let Some(StartedRelease { at, strategy, is_analysis_skipped }) = begun.remove(canary) else { return };
        self.seconds.get_or_create(&of("outcome", outcome)).observe(event.at.since(at).0 as f64 / 1000.0);
        let flaggers = match outcome {
            "succeeded" => &self.flagger_successes,
            "failed" => &self.flagger_failures,
            _ => return,
        };
        let labels = [
            ("name", canary.name().to_owned()),
            ("namespace", canary.namespace().into()),
            ("deployment_strategy", strategy.into()),
            ("analysis_status", if is_analysis_skipped { "skipped" } else { "completed" }.into()),
        ];
        flaggers.get_or_create(&labels).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry, controller: &Controller) {
        // StartedRelease at 0, so that increase() sees the first.
        for id in controller.canaries().map(|canary| &canary.plan.id) {
            for outcome in ["succeeded", "failed", "superseded"] {
                let of = [("namespace", id.namespace().to_owned()), ("name", id.name().into())];
                let [namespace, name] = of;
                drop(self.releases.get_or_create(&[namespace, name, ("outcome", outcome.into())]));
            }
        }
        registry.register("events", "Events of the history by kind, as the API names them", self.events.clone());
        registry.register("aborts", "Aborted releases by cause, as the API names them", self.aborts.clone());
        registry.register("releases", "Releases by how they ended", self.releases.clone());
        let help = "How long releases took from their begin to their end";
        registry.register("release_duration_seconds", help, self.seconds.clone());
        let help = "Events that were too many at once to be counted; the history has them";
        registry.register("agent_uncounted_events", help, self.missed.clone());
    }
}

/// The name that a note or cause has in JSON.
fn kind(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(fields)) => fields.into_iter().next().map(|(name, _)| name).unwrap_or_default(),
        _ => String::new(),
    }
}

fn strategy(plan: &Plan) -> &'static str {
    match &plan.strategy {
        Strategy::Steps(_) => "canary",
        Strategy::Iterations(_) if plan.rules.is_empty() => "blue-green",
        Strategy::Iterations(_) => "ab-testing",
    }
}
