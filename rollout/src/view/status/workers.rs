//! Each worker: who it is, what it has in force, and which share it gave the canaries.

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::controller::Controller;
use crate::controller::canary::Canary;
use crate::controller::fleet::{EXPECTED_FOR, Peer};
use crate::routing::table::WeightPpm;
use crate::view::destinations::{self, DestinationStatus};

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Envoy's `node.id`.
    pub node: String,
    /// Envoy's `node.cluster`.
    pub cluster: String,
    /// Which life of the worker, hexadecimal.
    pub incarnation: String,
    /// The filter's build version.
    pub filter_version: String,
    /// The protocol spoken.
    pub protocol: String,
    /// Whether it has a stream now.
    pub connected: bool,
    /// Since it last reported, milliseconds.
    pub silent_ms: u64,
    /// Reports known to be missing.
    pub missing_reports: u64,
    /// What it has in force.
    pub canaries: Vec<WorkerCanary>,
    /// Canaries to which it sends nothing because their fuse has tripped, as `namespace/name`.
    #[serde(default)]
    pub tripped: Vec<String>,
}

/// One canary on one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerCanary {
    /// `namespace/name`.
    pub canary: String,
    /// Epoch in force there.
    pub epoch: u64,
    /// Whether that is the agent's newest.
    pub in_sync: bool,
    /// Requests that the split placed under that epoch.
    pub requests: u64,
    /// The canary's share of them, percent.
    pub observed_percent: Option<f64>,
    /// Where its requests went.
    #[serde(default)]
    pub destinations: Vec<DestinationStatus>,
}

/// Every worker that is live, or was within the time it is expected back.
pub fn workers(controller: &Controller, now: Millis) -> Vec<WorkerStatus> {
    let fleet = controller.fleet();
    let known = fleet.workers().filter(|(_, peer)| peer.is_live() || now.since(peer.last_seen_at()) <= EXPECTED_FOR);
    let shown = known.map(|(incarnation, peer)| WorkerStatus {
        node: peer.node.clone(),
        cluster: peer.cluster.clone(),
        incarnation: incarnation.to_string(),
        filter_version: peer.filter_version.clone(),
        protocol: peer.protocol.to_string(),
        connected: peer.is_live(),
        silent_ms: now.since(peer.last_seen_at()).0,
        missing_reports: peer.received.missing(),
        canaries: worker_canaries(controller, peer),
        tripped: peer.tripped().keys().map(ToString::to_string).collect(),
    });
    shown.collect()
}

fn worker_canaries(controller: &Controller, peer: &Peer) -> Vec<WorkerCanary> {
    let managed = controller.canaries().map(|canary| {
        let id = &canary.plan.id;
        let epoch = peer.adopted(id);
        let placed = peer.placed_now(id);
        WorkerCanary {
            canary: id.to_string(),
            epoch: epoch.0,
            in_sync: epoch >= canary.epoch,
            requests: placed.primary.saturating_add(placed.canary),
            observed_percent: share(canary, placed.primary, placed.canary),
            destinations: destinations::of_worker(peer, canary),
        }
    });
    managed.collect()
}

/// Of all the service's traffic; what one lane of it showed stands for that lane's part.
pub(super) fn share(canary: &Canary, primary: u64, on_canary: u64) -> Option<f64> {
    let all = primary.saturating_add(on_canary);
    let whole = canary.plan.scope.of_all(WeightPpm::WHOLE).percent();
    (all > 0).then(|| on_canary as f64 * whole / all as f64)
}
