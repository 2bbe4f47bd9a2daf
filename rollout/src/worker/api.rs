//! The words between the filter's shell and its engine: what the operator wants, what must be done, what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::names::{CanaryId, Upstream};
use crate::base::time::{Micros, Millis};
use crate::routing::outcome::Outcome;
use crate::routing::route::Placement;
use crate::routing::table::{CanaryIndex, Entry, Version};
use crate::worker::in_flight::Counting;
use crate::worker::messages::{Incarnation, ToAgent};

/// How often a worker reports while any release is in progress; also its tick.
pub const REPORT_EVERY: Millis = Millis(100);
/// How often it reports, or at least says that it lives, when none is.
pub const IDLE_EVERY: Millis = Millis(1_000);

/// Who the worker is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Envoy's `node.id`.
    pub node: String,
    /// Envoy's `node.cluster`.
    pub cluster: String,
    /// The filter's build version.
    pub filter_version: String,
    /// Drawn at birth.
    pub incarnation: Incarnation,
}

/// What the operator wants of the filter.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether there is an agent to talk to.
    pub has_agent: bool,
    /// Name of the decision header, lower case.
    pub decision_header: String,
    /// Name of the header that says to which upstream a copy goes, lower case.
    pub mirror_header: String,
    /// How long entries from an agent hold when it is silent; then the canary's share is zero.
    pub lease: Millis,
    /// Where the routes send a canary's requests without a decision header; `<name>-primary` for those not listed.
    pub default_upstreams: BTreeMap<CanaryId, Upstream>,
    /// Clusters that both versions share on purpose: that they meet there says nothing.
    pub shared_clusters: BTreeSet<String>,
    /// Entries for use without an agent; they have no lease and give way to an agent's entry.
    pub fixed: Vec<Entry>,
    /// Most strata counted apart between two reports.
    pub max_strata: usize,
}

/// What to do with the decision header, or with the mirror header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Nothing: the client sent none and the default is right.
    Leave,
    /// Take the client's copy away.
    Remove,
    /// Set it, replacing the client's copy.
    Set(Upstream),
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How the decision header must change.
    pub header: HeaderEdit,
    /// How the mirror header must change.
    pub mirror: HeaderEdit,
    /// The value of a `set-cookie` that the answer must get.
    pub set_cookie: Option<String>,
    /// Where and how the request is counted.
    pub(crate) counted: Option<Counting>,
}

impl Decision {
    /// How the request came to its version; `None` for one that is no canary's business.
    pub fn placement(&self) -> Option<Placement> {
        self.counted.map(|counting| counting.stratum.placement)
    }
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerAction {
    /// Open a stream to the agent; report failure by [`Worker::stream_lost`].
    OpenStream,
    /// Send this on it.
    Send(ToAgent),
    /// Close it.
    CloseStream,
    /// Call [`Worker::tick`] this often from now on.
    TickEvery(Millis),
}

/// One ended request, for the proxy's own statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The worker's number for the canary; [`Worker::canary`] names it.
    pub canary: CanaryIndex,
    /// Which side served it.
    pub version: Version,
    /// Whether it was a copy.
    pub is_copy: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The version's time, of what is a trial of latency.
    pub latency: Option<Micros>,
}

/// What went wrong and was survived, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Requests whose headers could not be read, or whose decision could not be applied.
    pub requests: u64,
    /// Messages from the agent that could not be understood.
    pub messages: u64,
    /// Entries refused because the table is full.
    pub entries: u64,
    /// Streams that were lost or given up.
    pub streams: u64,
}
