//! Where requests went, for people: one line for each cluster that a version's requests reached.

use serde::{Deserialize, Serialize};

use crate::controller::canary::Canary;
use crate::controller::fleet::Peer;
use crate::controller::reached::WorkerDestinations;
use crate::routing::table::Version;

/// One cluster that one version's requests reached, of those that were asked: 1 in 64, and the first 32 under an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// `primary` or `canary`, as the filter chose.
    pub version: String,
    /// The proxy's cluster that the route took.
    pub cluster: String,
    /// Requests that were asked.
    pub requests: u64,
    /// Whether the filter's configuration declares that both versions share the cluster.
    pub shared: bool,
}

/// Of a release: the primary's, and the canary's on this step.
pub(crate) fn of_release(canary: &Canary) -> Vec<DestinationStatus> {
    let clusters = canary.evidence.destinations().clusters();
    clusters.map(|found| line(found.version, found.cluster, found.requests, found.is_shared)).collect()
}

/// Of one worker, under the latest entry of which it said anything.
pub(crate) fn of_worker(peer: &Peer, canary: &Canary) -> Vec<DestinationStatus> {
    let clusters = peer.reached.get(&canary.plan.id).into_iter().flat_map(WorkerDestinations::clusters);
    clusters.map(|found| line(found.version, &found.cluster, found.requests, found.is_shared)).collect()
}

fn line(version: Version, cluster: &str, requests: u64, shared: bool) -> DestinationStatus {
    DestinationStatus { version: version.name().into(), cluster: cluster.into(), requests, shared }
}
