//! Where the versions' requests went, as far as workers asked: the canary's evidence is void where the proxies' routes take
//! its requests to the primary.
//!
//! A version is known by the filter's decision. Whether the routes follow it only the destination shows: a canary that never
//! gets a request would be certified on the primary's answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::routing::destination::Destination;
use crate::routing::table::{Epoch, Version};
use crate::worker::messages::Sampled;

/// Clusters told apart for each version; of further ones only the requests are counted.
const MAX_CLUSTERS: usize = 16;
/// Addresses remembered in each cluster: the least ones, so that both versions' are the same of those that both reached.
const MAX_ADDRESSES: usize = 64;
/// The greatest share of the canary's samples that may be where the primary's are.
const MOST_MISROUTED: f64 = 0.02;
/// One alone may be of a route that was just being changed.
const LEAST_MISROUTED: f64 = 2.0;
/// So many in a row are elsewhere before the step begins anew, or more where few went wrong.
const LEAST_RIGHT_AGAIN: u64 = 16;

/// What is known of one canary's release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Destinations {
    /// The step's first epoch.
    since: Epoch,
    /// The canary's on this step.
    canary: Reached,
    /// The primary's in this release.
    primary: Reached,
    /// The primary's between the last release and this one, for one in which the primary gets nothing.
    before: Reached,
    /// The canary's samples since the last that was where the primary's are.
    right_in_a_row: u64,
    misrouted: Option<Misrouted>,
}

/// The canary's requests that went where the primary's go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misrouted {
    /// Where: the cluster that most of them reached.
    pub cluster: String,
    /// How many of those asked, about.
    pub requests: u64,
    /// Of how many.
    pub of: u64,
}

/// Where one version's requests went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    requests: u64,
    clusters: BTreeMap<String, Cluster>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cluster {
    requests: u64,
    is_shared: bool,
    addresses: BTreeMap<String, u64>,
    /// Whether there were more.
    is_full: bool,
}

/// One cluster that a version's requests reached, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachedCluster<'a> {
    /// Whose.
    pub version: Version,
    /// Its name.
    pub cluster: &'a str,
    /// Requests that were asked.
    pub requests: u64,
    /// Whether the proxies' configuration declares that both versions share it.
    pub is_shared: bool,
}

impl Destinations {
    /// Adds what a report says; all of it of this release, or of the time since the last.
    pub fn fold(&mut self, sampled: &Sampled) {
        let Sampled { destination, is_shared, requests, .. } = sampled;
        match sampled.version {
            Version::Primary => self.primary.add(destination, *is_shared, *requests),
            Version::Canary if sampled.epoch < self.since => return,
            Version::Canary => {
                match self.of_primary().has(destination) {
                    Some(true) if !*is_shared => self.right_in_a_row = 0,
                    // One host of too many to remember says neither.
                    None if !*is_shared => {}
                    _ => self.right_in_a_row = self.right_in_a_row.saturating_add(*requests),
                }
                self.canary.add(destination, *is_shared, *requests);
            }
        }
        let found = self.find();
        if found.is_some() && self.misrouted.is_none() {
            // What was right before the primary's own were known counts from here.
            self.right_in_a_row = 0;
        }
        self.misrouted = found;
    }

    /// A release has ended: what plays the primary from now on may be another upstream.
    pub fn end_release(&mut self) {
        self.primary = Reached::default();
    }

    /// A release begins with this epoch.
    pub fn begin_release(&mut self, first: Epoch) {
        *self = Self { since: first, before: std::mem::take(&mut self.primary), ..Self::default() };
    }

    /// A step begins with this epoch.
    pub fn begin_step(&mut self, first: Epoch) {
        self.since = first;
        self.canary = Reached::default();
        (self.right_in_a_row, self.misrouted) = (0, None);
    }

    /// Whether the step's evidence is void, and why.
    pub const fn misrouted(&self) -> Option<&Misrouted> {
        self.misrouted.as_ref()
    }

    /// Whether requests that went astray on this step do so no more: a step that begins anew has evidence of its own. If
    /// the routes were as before, so many in a row would be elsewhere with a chance of one in twenty.
    pub fn is_right_again(&self) -> bool {
        self.misrouted.as_ref().is_some_and(|misrouted| {
            let unlikely = misrouted.of.saturating_mul(3) / misrouted.requests.max(1);
            self.right_in_a_row >= unlikely.max(LEAST_RIGHT_AGAIN)
        })
    }

    /// Every cluster, the primary's first.
    pub fn clusters(&self) -> impl Iterator<Item = ReachedCluster<'_>> {
        let primary = self.of_primary().clusters.iter().map(|found| (Version::Primary, found));
        let canary = self.canary.clusters.iter().map(|found| (Version::Canary, found));
        primary.chain(canary).map(|(version, (name, cluster))| ReachedCluster {
            version,
            cluster: name,
            requests: cluster.requests,
            is_shared: cluster.is_shared,
        })
    }

    fn of_primary(&self) -> &Reached {
        if self.primary.requests > 0 { &self.primary } else { &self.before }
    }

    fn find(&self) -> Option<Misrouted> {
        let primary = self.of_primary();
        let shared = self.canary.clusters.iter().filter_map(|(name, cluster)| {
            let requests = cluster.requests as f64 * cluster.share_at(primary.clusters.get(name)?);
            Some((requests, name))
        });
        let (mut sum, mut most) = (0.0, (0.0, ""));
        for (requests, name) in shared {
            sum += requests;
            if requests > most.0 {
                most = (requests, name);
            }
        }
        let of = self.canary.requests;
        let is_misrouted = sum >= LEAST_MISROUTED && sum > MOST_MISROUTED * of as f64;
        is_misrouted.then(|| Misrouted { cluster: most.1.to_owned(), requests: sum as u64, of })
    }
}

impl Reached {
    fn add(&mut self, destination: &Destination, is_shared: bool, requests: u64) {
        self.requests = self.requests.saturating_add(requests);
        let name = destination.cluster();
        if self.clusters.len() >= MAX_CLUSTERS && !self.clusters.contains_key(name) {
            return;
        }
        let cluster = self.clusters.entry(name.to_owned()).or_default();
        cluster.requests = cluster.requests.saturating_add(requests);
        cluster.is_shared |= is_shared;
        let of_address = cluster.addresses.entry(destination.address().to_owned()).or_default();
        *of_address = of_address.saturating_add(requests);
        if cluster.addresses.len() > MAX_ADDRESSES {
            cluster.addresses.pop_last();
            cluster.is_full = true;
        }
    }

    /// Whether it was reached; `None` where that is not known, because not all hosts are remembered.
    fn has(&self, destination: &Destination) -> Option<bool> {
        let Some(cluster) = self.clusters.get(destination.cluster()).filter(|cluster| !cluster.is_shared) else {
            return Some(false);
        };
        let address = destination.address();
        let last = cluster.addresses.last_key_value().filter(|_| cluster.is_full);
        let is_remembered = last.is_none_or(|(last, _)| address <= last.as_str());
        is_remembered.then(|| cluster.addresses.contains_key(address))
    }
}

impl Cluster {
    /// Which share of these requests went to hosts that also the primary's reached in this cluster. Where not all hosts are
    /// remembered, judged by those that would be on both sides.
    fn share_at(&self, primary: &Self) -> f64 {
        if self.is_shared || primary.is_shared {
            return 0.0;
        }
        let last = primary.addresses.last_key_value().filter(|_| primary.is_full).map(|(last, _)| last);
        let comparable = self.addresses.iter().filter(|(address, _)| last.is_none_or(|last| *address <= last));
        let (mut all, mut at_primarys) = (0u64, 0u64);
        for (address, requests) in comparable {
            all = all.saturating_add(*requests);
            if primary.addresses.contains_key(address) {
                at_primarys = at_primarys.saturating_add(*requests);
            }
        }
        if all == 0 { 0.0 } else { at_primarys as f64 / all as f64 }
    }
}
