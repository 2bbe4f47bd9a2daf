//! What a worker needs to route: one entry per canary, each with its own epoch, adopted only by a greater one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cookie::IssuedCookie;
use crate::fuse::FusePlan;
use crate::matching::MatchRule;
use crate::names::{CanaryId, Upstream};
use crate::time::{Micros, Millis};
pub use crate::weight::{WHOLE_PPM, WeightError, WeightPpm};

/// Most canaries one table holds; a worker's memory is bounded by it.
pub const MAX_CANARIES: usize = 1024;
/// As much of an authority as is looked at; a host's name has at most 253 bytes.
const MAX_HOST_BYTES: usize = 300;

/// The version of a canary's entry; only a greater one is ever adopted. 0 is never issued by an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next epoch for an entry that leaves after it was stored: even.
    #[must_use]
    pub const fn next(self) -> Self {
        Self((self.0 | 1).saturating_add(1))
    }

    /// The next epoch for a cut: odd. A cut leaves before it is stored, so an agent that lost it in a crash could give its
    /// epoch to something else; with epochs of their own, a worker's word tells the lost cut from what came after it.
    #[must_use]
    pub const fn next_cut(self) -> Self {
        Self(self.0.saturating_add(1) | 1)
    }

    /// Whether a cut has it.
    pub const fn is_cut(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Which side of the split served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Version {
    /// The proven version; serves whatever is not the canary's.
    Primary,
    /// The version on trial.
    Canary,
}

impl Version {
    /// Both, primary first.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Canary];

    /// The version's name in messages, tables and stats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Canary => "canary",
        }
    }
}

/// What makes one user stay on one version while the weight grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StickyKey {
    /// A header's first value.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// The value of a cookie that the filter gives to whoever has none.
    IssuedCookie(IssuedCookie),
    /// The client's address as the proxy trusts it, without the port.
    ClientAddress,
}

/// Which traffic a canary is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Hosts in lower case without port: a name, `*.suffix`, or `*` for any.
    pub hosts: Vec<String>,
    /// String prefix of the path, as in Envoy's and Istio's routes.
    pub path_prefix: String,
}

impl Scope {
    /// The names under which a Kubernetes service is called: `name`, `name.namespace` and the longer ones.
    pub fn of_service(id: &CanaryId) -> Self {
        let (name, namespace) = (id.name(), id.namespace());
        let hosts = ["", ".svc", ".svc.cluster.local"].map(|tail| format!("{name}.{namespace}{tail}"));
        Self { hosts: [name.to_owned()].into_iter().chain(hosts).collect(), path_prefix: "/".into() }
    }
}

/// The split while a release is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Where the canary's share goes.
    pub canary: Upstream,
    /// The canary's share of what no rule places.
    pub weight: WeightPpm,
    /// Share of the primary's requests that the canary gets a copy of.
    #[serde(default)]
    pub mirror: WeightPpm,
    /// Requests that any of these fits go to the canary whatever the weight.
    pub rules: Vec<MatchRule>,
    /// Keeps a user on one side; without it the choice is per request.
    pub sticky: Option<StickyKey>,
    /// Mixed into the sticky hash; canary and release, so other users come first next time.
    pub salt: String,
    /// Length of the slots in which requests are counted, fixed when the entry is issued.
    pub slot: Millis,
    /// Longer than this is slow; without it [`HUNG`](crate::outcome::HUNG).
    pub latency_limit: Option<Micros>,
    /// What a worker may cut its own share by, without asking.
    pub fuse: Option<FusePlan>,
}

/// How one canary's traffic is routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Whose entry this is.
    pub canary: CanaryId,
    /// Which version of it.
    pub epoch: Epoch,
    /// What to do; `None` withdraws the canary: the worker forgets all but the epoch.
    pub routing: Option<Routing>,
}

/// The part of an [`Entry`] that routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Which traffic.
    pub scope: Scope,
    /// Where the primary's share goes.
    pub primary: Upstream,
    /// The split; `None` while no release is on.
    pub split: Option<Split>,
}

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

/// All entries in force, found by host and path.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: BTreeMap<CanaryId, Entry>,
    /// By a host's whole name; `*` stands for any.
    by_host: BTreeMap<Vec<u8>, Vec<CanaryId>>,
    /// Those of `*.suffix`, by the suffix alone.
    by_suffix: BTreeMap<Vec<u8>, Vec<CanaryId>>,
    needs_client_address: bool,
    is_mirroring: bool,
}

impl Table {
    /// Takes an entry if its epoch is strictly greater, so loss, repeats and reordering are harmless.
    pub fn adopt(&mut self, entry: Entry) -> Adoption {
        match self.entries.get(&entry.canary) {
            Some(held) if entry.epoch <= held.epoch => return Adoption::Stale,
            None if self.entries.len() >= MAX_CANARIES => return Adoption::Full,
            _ => {}
        }
        self.put(entry);
        Adoption::Adopted
    }

    /// Puts an entry in place whatever its epoch; for static configuration only.
    pub fn put(&mut self, entry: Entry) {
        self.entries.insert(entry.canary.clone(), entry);
        self.index();
    }

    /// The entry in force for a canary.
    pub fn get(&self, canary: &CanaryId) -> Option<&Entry> {
        self.entries.get(canary)
    }

    /// All entries, by canary.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The canary in whose scope a request falls: the most exact host, then the longest path prefix. Allocates nothing,
    /// for it runs for every request.
    pub fn find(&self, authority: &[u8], path: &[u8]) -> Option<(&Entry, &Routing)> {
        let mut buffer = [0; MAX_HOST_BYTES];
        let host = host_of(authority, &mut buffer);
        let within = |ids: Option<&Vec<CanaryId>>| {
            let fitting = ids?.iter().filter_map(|id| self.entries.get(id)).filter_map(|entry| {
                let routing = entry.routing.as_ref()?;
                path.starts_with(routing.scope.path_prefix.as_bytes()).then_some((entry, routing))
            });
            fitting.max_by_key(|(_, routing)| routing.scope.path_prefix.len())
        };
        let mut suffixes = std::iter::successors(parent_of(host), |suffix| parent_of(suffix));
        within(self.by_host.get(host))
            .or_else(|| suffixes.find_map(|suffix| within(self.by_suffix.get(suffix))))
            .or_else(|| within(self.by_host.get(b"*".as_slice())))
    }

    /// Whether any split in force is sticky by the client's address; only then need a shell ask for it.
    pub const fn needs_client_address(&self) -> bool {
        self.needs_client_address
    }

    /// Whether any split in force copies requests; only then need anybody look for copies.
    pub const fn is_mirroring(&self) -> bool {
        self.is_mirroring
    }

    /// Whose copies an upstream gets. Of several canaries with one upstream the first has them all.
    pub fn mirrored_to(&self, upstream: &Upstream) -> Option<(&Entry, &Split)> {
        let splits = self.entries.values().filter_map(|entry| Some((entry, entry.routing.as_ref()?.split.as_ref()?)));
        splits.into_iter().find(|(_, split)| split.mirror > WeightPpm::ZERO && split.canary == *upstream)
    }

    fn index(&mut self) {
        let splits = || self.entries.values().filter_map(|entry| entry.routing.as_ref()?.split.as_ref());
        self.needs_client_address = splits().any(|split| split.sticky == Some(StickyKey::ClientAddress));
        self.is_mirroring = splits().any(|split| split.mirror > WeightPpm::ZERO);
        self.by_host.clear();
        self.by_suffix.clear();
        for entry in self.entries.values() {
            for host in entry.routing.iter().flat_map(|routing| &routing.scope.hosts) {
                let (index, key) = match host.strip_prefix("*.") {
                    Some(suffix) => (&mut self.by_suffix, suffix),
                    None => (&mut self.by_host, host.as_str()),
                };
                index.entry(key.into()).or_default().push(entry.canary.clone());
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, epoch: u64, hosts: &[&str], path_prefix: &str) -> Entry {
        let scope = Scope { hosts: hosts.iter().map(ToString::to_string).collect(), path_prefix: path_prefix.into() };
        let routing = Routing { scope, primary: Upstream::parse(&format!("{name}-primary")).unwrap(), split: None };
        Entry { canary: CanaryId::new("prod", name).unwrap(), epoch: Epoch(epoch), routing: Some(routing) }
    }

    fn found(table: &Table, host: &str, path: &str) -> Option<String> {
        table.find(host.as_bytes(), path.as_bytes()).map(|(entry, _)| entry.canary.name().to_owned())
    }

    #[test]
    fn the_most_exact_scope_wins() {
        let mut table = Table::default();
        table.adopt(entry("any", 1, &["*"], "/"));
        table.adopt(entry("sub", 1, &["*.example.com"], "/"));
        table.adopt(entry("web", 1, &["web", "app.example.com"], "/"));
        table.adopt(entry("cart", 1, &["web"], "/cart"));
        for (host, path, expected) in [
            ("web", "/", "web"),
            ("WEB:8080", "/x", "web"),
            ("web", "/cart/1", "cart"),
            ("app.example.com", "/", "web"),
            ("a.b.example.com:443", "/", "sub"),
            ("[::1]:80", "/", "any"),
            ("", "/", "any"),
            ("\u{fffd}", "/", "any"),
            ("A.EXAMPLE.COM", "/", "sub"),
            ("example.com", "/", "any"),
            (".example.com", "/", "sub"),
            ("web:", "/", "web"),
            (&"a.".repeat(200), "/", "any"),
        ] {
            assert_eq!(found(&table, host, path).as_deref(), Some(expected), "{host}{path}");
        }
    }

    #[test]
    fn a_withdrawn_canary_is_out_of_scope_and_its_epoch_remembered() {
        let mut table = Table::default();
        table.adopt(entry("web", 3, &["web"], "/"));
        let id = CanaryId::new("prod", "web").unwrap();
        table.adopt(Entry { canary: id.clone(), epoch: Epoch(4), routing: None });
        assert_eq!(found(&table, "web", "/"), None);
        assert_eq!(table.adopt(entry("web", 4, &["web"], "/")), Adoption::Stale);
        assert_eq!(table.adopt(entry("web", 5, &["web"], "/")), Adoption::Adopted);
        assert_eq!(found(&table, "web", "/").as_deref(), Some("web"));
    }

    #[test]
    fn the_clients_address_is_needed_only_while_a_split_is_sticky_by_it() {
        let mut table = Table::default();
        let mut sticky = entry("web", 1, &["web"], "/");
        sticky.routing.as_mut().unwrap().split = Some(Split {
            canary: Upstream::parse("web-canary").unwrap(),
            weight: WeightPpm::ZERO,
            mirror: WeightPpm::ZERO,
            rules: vec![],
            sticky: Some(StickyKey::ClientAddress),
            salt: String::new(),
            slot: Millis(100),
            latency_limit: None,
            fuse: None,
        });
        table.adopt(entry("cart", 1, &["cart"], "/"));
        assert!(!table.needs_client_address());
        table.adopt(sticky);
        assert!(table.needs_client_address());
        table.adopt(entry("web", 2, &["web"], "/"));
        assert!(!table.needs_client_address());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = Table::default();
        for n in 0..MAX_CANARIES {
            assert_eq!(table.adopt(entry(&format!("c{n}"), 1, &["x"], "/")), Adoption::Adopted);
        }
        assert_eq!(table.adopt(entry("more", 1, &["x"], "/")), Adoption::Full);
    }

    proptest! {
        #[test]
        fn any_order_with_repeats_ends_at_the_greatest_epoch(epochs in prop::collection::vec(1u64..50, 1..40)) {
            let mut table = Table::default();
            let mut greatest = 0;
            for &epoch in &epochs {
                let adopted = table.adopt(entry("web", epoch, &["web"], "/")) == Adoption::Adopted;
                prop_assert_eq!(adopted, epoch > greatest);
                greatest = greatest.max(epoch);
            }
            let id = CanaryId::new("prod", "web").unwrap();
            prop_assert_eq!(table.get(&id).map(|e| e.epoch), Some(Epoch(greatest)));
        }
    }
}
