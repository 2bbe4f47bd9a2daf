//! The words between the agent's shell and its engine: what happens, and what must be done about it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fleet::Conn;
use crate::machine::Refusal;
use crate::names::{CanaryId, Revision, Upstream};
use crate::plan::{Hook, Plan};
use crate::release::{Actor, HistoryEvent, ReleaseId};
use crate::report::{Hello, Report, ToWorker};
use crate::table::{Entry, Epoch};

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
    /// A worker reported.
    Reported(Conn, Report),
    /// A worker has an entry in force.
    Adopted(Conn, CanaryId, Epoch),
    /// A person or pipeline asks.
    Asked(CanaryId, Verb),
    /// A promotion hook answered.
    HookFinished {
        /// Whose.
        canary: CanaryId,
        /// For which release.
        release: ReleaseId,
        /// What it said.
        result: Result<(), String>,
    },
    /// A deadline that [`Controller::deadline`](crate::controller::Controller::deadline) named has come.
    Timer,
    /// The agent starts again on this journal.
    Restarted,
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
        /// Go on although this build cannot honour all the plan asks for.
        accept_unsupported: bool,
    },
    /// Cut the canary.
    Abort {
        /// Who asks.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Skip the rest of the analysis.
    Promote {
        /// Who asks.
        actor: Actor,
    },
    /// The primary runs the new version.
    Confirm {
        /// Who says so.
        actor: Actor,
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
    },
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
    /// Call a promotion hook and report [`Event::HookFinished`].
    CallHook {
        /// Whose.
        canary: CanaryId,
        /// For which release.
        release: ReleaseId,
        /// What it brings.
        revision: Revision,
        /// Whom to call.
        hook: Hook,
    },
    /// Tell logs, metrics and watchers.
    Announce(CanaryId, Box<HistoryEvent>),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No such canary.
    #[error("canary {0} is not known; `serin get` lists those that are")]
    Unknown(CanaryId),
    /// Not in this phase.
    #[error(transparent)]
    Phase(#[from] Refusal),
    /// The canary's upstream is what a proxy serves without an agent.
    #[error(
        "cannot release: proxy {node} sends requests to {upstream} by default, so unproven code there would serve \
         everyone whenever the agent is away; point its default route and `defaultUpstreams` at {instead} first"
    )]
    DefaultUpstream {
        /// The proxy.
        node: String,
        /// Its default upstream.
        upstream: Upstream,
        /// The upstream that is primary now.
        instead: Upstream,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The release it concerned.
    pub release: ReleaseId,
    /// The phase afterwards.
    pub phase: &'static str,
}

/// What follows from one event.
#[derive(Debug, Default)]
pub struct Output {
    /// To be done at once.
    pub urgent: Vec<Command>,
    /// To be done when the event is stored.
    pub stored: Vec<Command>,
    /// The answer, for [`Event::Asked`].
    pub reply: Option<Result<Done, Refused>>,
    /// Whether the answer may be given before the event is stored.
    pub reply_at_once: bool,
}
