//! What a worker needs to route: one entry per canary, each with its own epoch, adopted only by a greater one.

use std::collections::BTreeMap;

use crate::base::names::{CanaryId, Upstream};
pub use crate::base::weight::{WHOLE_PPM, WeightError, WeightPpm};
use crate::routing::lane::Lane;

/// One canary's entry.
mod entry;

pub use entry::{Entry, Epoch, Routing, Scope, Split, StickyKey, Version};

/// Most canaries one table holds; a worker's memory is bounded by it.
pub const MAX_CANARIES: usize = 1024;
/// As much of an authority as is looked at; a host's name has at most 253 bytes.
const MAX_HOST_BYTES: usize = 300;

/// A table's own number for a canary, given when its first entry comes and kept for as long as the table lives: what is
/// counted and looked up for each request is found under it, without comparing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanaryIndex(pub u16);

/// What became of an entry that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// It is in force.
    Adopted,
    /// Its epoch is not greater than the one in force.
    Stale,
    /// The table holds [`MAX_CANARIES`] others.
    Full,
}

/// A canary in whose scope a request falls.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its index in the table.
    pub index: CanaryIndex,
    /// Its entry.
    pub entry: &'a Entry,
    /// The part of it that routes.
    pub routing: &'a Routing,
    /// All canaries of the host that was looked up.
    of_host: &'a [CanaryIndex],
}

/// All entries in force, found by host and path.
#[derive(Clone, Debug, Default)]
pub struct Table {
    indexes: BTreeMap<CanaryId, CanaryIndex>,
    entries: Vec<Entry>,
    /// By a host's whole name; `*` stands for any.
    by_host: BTreeMap<Vec<u8>, Vec<CanaryIndex>>,
    /// Those of `*.suffix`, by the suffix alone.
    by_suffix: BTreeMap<Vec<u8>, Vec<CanaryIndex>>,
    needs_client_address: bool,
    is_mirroring: bool,
}

impl Table {
    /// Takes an entry if its epoch is strictly greater, so loss, repeats and reordering are harmless.
    pub fn adopt(&mut self, entry: Entry) -> Adoption {
        match self.get(&entry.canary) {
            Some(held) if entry.epoch <= held.epoch => return Adoption::Stale,
            None if self.entries.len() >= MAX_CANARIES => return Adoption::Full,
            _ => {}
        }
        self.put(entry);
        Adoption::Adopted
    }

    /// Puts an entry in place without comparing epochs; for static configuration only.
    pub fn put(&mut self, entry: Entry) {
        // The configuration's reader bounds what is put and `adopt` what is adopted, so the indexes cannot run out.
        let next = CanaryIndex(u16::try_from(self.entries.len()).unwrap_or(u16::MAX));
        let index = *self.indexes.entry(entry.canary.clone()).or_insert(next);
        match self.entries.get_mut(usize::from(index.0)) {
            Some(held) => *held = entry,
            None => self.entries.push(entry),
        }
        self.index_scopes();
    }

    /// The entry in force for a canary.
    pub fn get(&self, canary: &CanaryId) -> Option<&Entry> {
        self.at(self.index_of(canary)?)
    }

    /// The entry under an index.
    pub fn at(&self, index: CanaryIndex) -> Option<&Entry> {
        self.entries.get(usize::from(index.0))
    }

    /// The index of a canary that has, or had, an entry.
    pub fn index_of(&self, canary: &CanaryId) -> Option<CanaryIndex> {
        self.indexes.get(canary).copied()
    }

    /// All entries with their indexes, by canary.
    pub fn entries(&self) -> impl Iterator<Item = (CanaryIndex, &Entry)> {
        self.indexes.values().filter_map(|index| Some((*index, self.at(*index)?)))
    }

    /// The canary in whose scope a request falls: the most exact host, then the longest path prefix; of several in lanes
    /// any one. Allocates nothing, for it runs for every request.
    pub fn find(&self, authority: &[u8], path: &[u8]) -> Option<Found<'_>> {
        let mut buffer = [0; MAX_HOST_BYTES];
        let host = host_of(authority, &mut buffer);
        let mut suffixes = std::iter::successors(parent_of(host), |suffix| parent_of(suffix));
        self.narrowest(self.by_host.get(host), path)
            .or_else(|| suffixes.find_map(|suffix| self.narrowest(self.by_suffix.get(suffix), path)))
            .or_else(|| self.narrowest(self.by_host.get(b"*".as_slice()), path))
    }

    fn narrowest<'a>(&'a self, of_host: Option<&'a Vec<CanaryIndex>>, path: &[u8]) -> Option<Found<'a>> {
        let of_host = of_host?;
        let fitting = self.routing_of(of_host).filter_map(|(index, entry, routing)| {
            let prefix = routing.scope.prefix_of(path)?;
            Some((prefix.len(), Found { index, entry, routing, of_host }))
        });
        // Lanes before a canary without: a proxy's own table may still name the service as a whole.
        let narrowest = fitting.max_by_key(|(length, found)| (*length, found.routing.scope.lane.is_some()));
        narrowest.map(|(_, found)| found)
    }

    /// All versions that share a found one's traffic, itself among them.
    pub fn beside<'a>(
        &'a self,
        found: &Found<'a>,
    ) -> impl Iterator<Item = (CanaryIndex, &'a Entry, &'a Routing)> + use<'a> {
        let Found { routing: Routing { scope, .. }, of_host, .. } = *found;
        let service = scope.lane.as_ref().map(Lane::of);
        self.routing_of(of_host).filter(move |(_, _, routing)| {
            routing.scope.lane.as_ref().map(Lane::of) == service && routing.scope.path_prefixes == scope.path_prefixes
        })
    }

    fn routing_of<'a>(
        &'a self,
        indexes: &'a [CanaryIndex],
    ) -> impl Iterator<Item = (CanaryIndex, &'a Entry, &'a Routing)> + use<'a> {
        let entries = indexes.iter().filter_map(|index| Some((*index, self.at(*index)?)));
        entries.filter_map(|(index, entry)| Some((index, entry, entry.routing.as_ref()?)))
    }

    /// Whether any split in force asks for the client's address; only then need a shell ask for it.
    pub const fn needs_client_address(&self) -> bool {
        self.needs_client_address
    }

    /// Whether any split in force copies requests; only then must a shell look for copies.
    pub const fn is_mirroring(&self) -> bool {
        self.is_mirroring
    }

    /// Whose copies an upstream gets. Of several canaries with one upstream the first has them all.
    pub fn mirrored_to(&self, upstream: &Upstream) -> Option<(CanaryIndex, &Entry, &Split)> {
        let splits =
            self.entries().filter_map(|(index, entry)| Some((index, entry, entry.routing.as_ref()?.split.as_ref()?)));
        splits.into_iter().find(|(_, _, split)| split.mirror > WeightPpm::ZERO && split.canary == *upstream)
    }

    fn index_scopes(&mut self) {
        let splits = || self.entries.iter().filter_map(|entry| entry.routing.as_ref()?.split.as_ref());
        self.needs_client_address =
            splits().any(|split| split.sticky == Some(StickyKey::ClientAddress) || split.is_by_rule_alone());
        self.is_mirroring = splits().any(|split| split.mirror > WeightPpm::ZERO);
        self.by_host.clear();
        self.by_suffix.clear();
        for index in self.indexes.values() {
            let Some(entry) = self.entries.get(usize::from(index.0)) else { continue };
            for host in entry.routing.iter().flat_map(|routing| &routing.scope.hosts) {
                let (scopes, key) = match host.strip_prefix("*.") {
                    Some(suffix) => (&mut self.by_suffix, suffix),
                    None => (&mut self.by_host, host.as_str()),
                };
                scopes.entry(key.into()).or_default().push(*index);
            }
        }
    }
}

/// An authority's host: lower case, without port, an IPv6 address without brackets.
fn host_of<'a>(authority: &[u8], buffer: &'a mut [u8; MAX_HOST_BYTES]) -> &'a [u8] {
    let text = authority.get(..authority.len().min(MAX_HOST_BYTES)).unwrap_or_default();
    let (text, end) = text.strip_prefix(b"[").map_or((text, b':'), |text| (text, b']'));
    let host = text.split(|byte| *byte == end).next().unwrap_or_default();
    let lowered = buffer.get_mut(..host.len()).unwrap_or_default();
    for (to, from) in lowered.iter_mut().zip(host) {
        *to = from.to_ascii_lowercase();
    }
    lowered
}

/// What follows the first dot.
fn parent_of(host: &[u8]) -> Option<&[u8]> {
    let dot = host.iter().position(|byte| *byte == b'.')?;
    host.get(dot + 1..)
}

#[cfg(test)]
mod tests;
