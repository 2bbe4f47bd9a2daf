//! Where one worker's requests went, for `serin proxies`: which of the proxies has the route that goes astray. What all of
//! them say together is judged elsewhere (`judgement::destinations`).

use serde::{Deserialize, Serialize};

use crate::routing::table::{Epoch, Version};
use crate::worker::messages::Sampled;

/// Clusters kept of one canary on one worker; of further ones nothing is shown.
const MAX_CLUSTERS: usize = 8;

/// Of one canary, under the latest epoch that the worker asked requests of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDestinations {
    epoch: Epoch,
    clusters: Vec<WorkerCluster>,
}

/// One cluster that one version's requests reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCluster {
    /// Which version the filter chose.
    pub version: Version,
    /// The cluster that the route chose.
    pub cluster: String,
    /// Requests that were asked.
    pub requests: u64,
    /// Whether the filter's configuration declares that both versions share it.
    pub is_shared: bool,
}

impl WorkerDestinations {
    /// Adds what a report says.
    pub fn fold(&mut self, sampled: &Sampled) {
        if sampled.epoch < self.epoch {
            return;
        }
        if sampled.epoch > self.epoch {
            *self = Self { epoch: sampled.epoch, clusters: Vec::new() };
        }
        let (version, cluster) = (sampled.version, sampled.destination.cluster());
        let is_full = self.clusters.len() >= MAX_CLUSTERS;
        match self.clusters.iter_mut().find(|known| known.version == version && known.cluster == cluster) {
            Some(known) => known.requests = known.requests.saturating_add(sampled.requests),
            None if is_full => {}
            None => self.clusters.push(WorkerCluster {
                version,
                cluster: cluster.to_owned(),
                requests: sampled.requests,
                is_shared: sampled.is_shared,
            }),
        }
    }

    /// Each of them, in the order in which they were reached.
    pub fn clusters(&self) -> &[WorkerCluster] {
        &self.clusters
    }
}
