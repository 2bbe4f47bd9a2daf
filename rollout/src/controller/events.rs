//! The words between the agent's shell and its engine: what happens, and what must be done about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::base::names::{CanaryId, Revision};
use crate::base::time::Millis;
use crate::controller::fleet::Conn;
use crate::release::inquiry::{CallId, Reply};
use crate::release::integrations::{Alert, Hook, Severity};
use crate::release::phase::{Actor, HistoryEvent, ReleaseId};
use crate::release::plan::{ExternalMetric, Plan};
use crate::routing::table::{Entry, Epoch, WeightPpm};
use crate::worker::messages::{Hello, Report, ToWorker};

/// Why a request was not carried out.
mod refused;

pub use refused::Refused;

/// Everything that happens to the agent, in the order of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A manifest was read, for the first time or changed.
    Declared(Box<Plan>),
    /// A manifest is gone.
    Withdrawn(CanaryId),
    /// A worker said Hello, and speaks a protocol that we do.
    Connected(Conn, Hello),
    /// A stream ended.
    Disconnected(Conn),
    /// Workers spoke, in this order. All of it is counted first, and then looked at once: at rest a batch is one message,
    /// under load as many as came in meanwhile, and a replay looks where the agent looked.
    Workers(Vec<(Conn, WorkerEvent)>),
    /// A person or pipeline asks.
    Requested(CanaryId, Verb),
    /// Somebody outside, who was asked, answered.
    Reply {
        /// About which canary.
        canary: CanaryId,
        /// To which question.
        call: CallId,
        /// What.
        reply: Reply,
    },
    /// What another version of the same service means for a canary. It is never sent: it follows from the other's events,
    /// and stands in records alone.
    Sibling(CanaryId, News),
    /// A deadline that [`Controller::deadline`](crate::controller::Controller::deadline) named has come.
    Timer,
    /// The agent starts again on this journal.
    Restarted {
        /// Since the last event.
        away: Millis,
    },
}

/// What one worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkerEvent {
    /// It reports.
    Reported(Report),
    /// It has an entry in force.
    Adopted(CanaryId, Epoch),
}

impl WorkerEvent {
    /// The canaries that it names.
    pub fn canaries(&self) -> impl Iterator<Item = &CanaryId> {
        let (report, adopted) = match self {
            Self::Reported(report) => (Some(report), None),
            Self::Adopted(canary, _) => (None, Some(canary)),
        };
        report.into_iter().flat_map(Report::canaries).chain(adopted)
    }
}

impl Event {
    /// One worker's report, alone.
    pub fn reported(conn: Conn, report: Report) -> Self {
        Self::Workers(vec![(conn, WorkerEvent::Reported(report))])
    }

    /// One worker's entry in force, alone.
    pub fn adopted(conn: Conn, canary: CanaryId, epoch: Epoch) -> Self {
        Self::Workers(vec![(conn, WorkerEvent::Adopted(canary, epoch))])
    }

    /// The one canary that it is about; none: all, or as many as it names.
    pub fn canary(&self) -> Option<&CanaryId> {
        match self {
            Self::Declared(plan) => Some(&plan.id),
            Self::Withdrawn(id) | Self::Requested(id, _) | Self::Sibling(id, _) | Self::Reply { canary: id, .. } => {
                Some(id)
            }
            Self::Connected(..) | Self::Disconnected(_) | Self::Workers(_) | Self::Timer | Self::Restarted { .. } => {
                None
            }
        }
    }

    /// The canaries that it may move, by name; `None` for all.
    pub(crate) fn moves(&self) -> Option<BTreeSet<CanaryId>> {
        match self {
            Self::Workers(events) => Some(events.iter().flat_map(|(_, event)| event.canaries()).cloned().collect()),
            _ => self.canary().map(|id| BTreeSet::from([id.clone()])),
        }
    }
}

/// What another version of the same service does to the primary that all of them share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum News {
    /// It is becoming the primary.
    Promoting {
        /// Its canary's name.
        version: String,
        /// What it brings.
        revision: Revision,
    },
    /// The primary runs this now.
    Promoted {
        /// What.
        revision: Revision,
    },
}

/// What a person or pipeline may ask of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Begin a release.
    Release {
        /// What it brings.
        revision: Revision,
        /// Who asks.
        actor: Actor,
        /// Why.
        #[serde(default)]
        reason: String,
        /// Go on although this build cannot honour all the plan asks for.
        accept_unsupported: bool,
    },
    /// Abort the release.
    Abort {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Begin the release that ended last once more.
    Retry {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Skip the rest of the analysis.
    Promote {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// The primary runs the new version.
    Confirm {
        /// Who says so.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// The same, although the primary fails.
    ForceConfirm {
        /// Who says so.
        actor: Actor,
        /// Why; never empty.
        reason: String,
    },
    /// Stop advancing.
    Pause {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Go on.
    Resume {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Give the canary this share and stay there.
    SetWeight {
        /// How much.
        weight: WeightPpm,
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Go on to the next step without its proof or approval.
    Skip {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Open a stored gate.
    OpenGate {
        /// Which.
        gate: String,
        /// For which revision; none: for the release in progress, or else the next one.
        revision: Option<Revision>,
        /// It closes by itself after this time.
        expires_after: Option<Millis>,
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Drop what was kept of a canary whose manifest is gone.
    Forget {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Close a stored gate.
    CloseGate {
        /// Which.
        gate: String,
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
}

impl Verb {
    /// As people type it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Release { .. } => "release",
            Self::Abort { .. } => "abort",
            Self::Retry { .. } => "retry",
            Self::Promote { .. } => "promote",
            Self::Confirm { .. } | Self::ForceConfirm { .. } => "confirm",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::SetWeight { .. } => "set a weight",
            Self::Skip { .. } => "skip",
            Self::OpenGate { .. } => "open a gate",
            Self::Forget { .. } => "forget",
            Self::CloseGate { .. } => "close a gate",
        }
    }
}

/// What is sent to a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The phase's name.
    pub phase: &'static str,
    /// Of which release.
    pub release: ReleaseId,
    /// What it brings; Flagger's checksum.
    pub revision: Option<Revision>,
    /// What is sent beside: the hook's own, and what its kind adds.
    pub metadata: BTreeMap<String, String>,
}

/// One event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// When.
    pub at: Millis,
    /// How grave.
    pub severity: Severity,
    /// What and why.
    pub message: String,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send to one stream.
    Send(Conn, ToWorker),
    /// Send an entry to every live stream.
    Push(Box<Entry>),
    /// End a stream.
    Close(Conn),
    /// Call a hook and report [`Event::Reply`].
    CallHook {
        /// Whose.
        canary: CanaryId,
        /// Which question it answers.
        call: CallId,
        /// Whom to call.
        hook: Hook,
        /// What to say.
        payload: Payload,
    },
    /// Ask a metric server and report [`Event::Reply`].
    Query {
        /// Whose.
        canary: CanaryId,
        /// Which question it answers.
        call: CallId,
        /// What to ask.
        metric: Box<ExternalMetric>,
    },
    /// End these calls and queries, whether under way or still to be made: their answers are not awaited any more.
    EndCalls {
        /// Whose.
        canary: CanaryId,
        /// Which.
        calls: Vec<CallId>,
    },
    /// Call a hook whose answer changes nothing.
    NotifyHook {
        /// Whose.
        canary: CanaryId,
        /// Whom to call.
        hook: Hook,
        /// What to say.
        payload: Payload,
    },
    /// Send an alert.
    Alert {
        /// Whose.
        canary: CanaryId,
        /// To whom.
        alert: Alert,
        /// What is brought, if a release is on or has ended.
        revision: Option<Revision>,
        /// What.
        notification: Notification,
    },
    /// For logs, metrics and watchers.
    Announce(CanaryId, Box<HistoryEvent>),
}

impl Command {
    /// Whether it asks somebody whose answer this canary awaits.
    pub fn awaits_answer_for(&self, id: &CanaryId) -> bool {
        matches!(self, Self::CallHook { canary, .. } | Self::Query { canary, .. } if canary == id)
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The release it concerned.
    pub release: ReleaseId,
    /// The phase afterwards.
    pub phase: &'static str,
    /// The plan that it follows: see [`Plan::hash`].
    pub manifest: String,
    /// Whether the entry of an abort has left for the workers, which know of it then whatever is stored.
    pub has_left: bool,
}

/// What follows from one event.
#[derive(Debug, Default)]
pub struct Output {
    /// To be done at once.
    pub urgent: Vec<Command>,
    /// To be done when the event is stored.
    pub stored: Vec<Command>,
    /// What the siblings of canaries must know, until the event is handled.
    pub(crate) for_siblings: VecDeque<(CanaryId, News)>,
    /// Whether a lane may be free that a plan waits for: a release in one has ended or moved, or a canary has gone.
    pub(crate) is_lane_free: bool,
    /// What it meant for other versions of the same service, as events of theirs. Handled already; their records keep them.
    pub sibling_events: Vec<Event>,
    /// The answer, for [`Event::Requested`].
    pub reply: Option<Result<Done, Refused>>,
    /// Whether the answer may be given before the event is stored: it refuses, or it is an abort's.
    pub reply_at_once: bool,
}
