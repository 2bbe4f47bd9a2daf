//! Which canary a request belongs to, and which entry is in force.

use proptest::prelude::*;

use super::*;
use crate::base::time::Millis;
use crate::routing::measurement::{Measurement, WarmUp};

fn entry(name: &str, epoch: u64, hosts: &[&str], path_prefix: &str) -> Entry {
    let scope = Scope {
        hosts: hosts.iter().map(ToString::to_string).collect(),
        path_prefixes: path_prefix.split(',').map(Into::into).collect(),
        lane: None,
    };
    let routing = Routing { scope, primary: Upstream::parse(&format!("{name}-primary")).unwrap(), split: None };
    Entry { canary: CanaryId::new("prod", name).unwrap(), epoch: Epoch(epoch), routing: Some(routing) }
}

fn found(table: &Table, host: &str, path: &str) -> Option<String> {
    table.find(host.as_bytes(), path.as_bytes()).map(|found| found.entry.canary.name().to_owned())
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
fn versions_in_lanes_come_before_a_canary_that_means_all() {
    let mut table = Table::default();
    let lanes = Lane::equal(&CanaryId::new("prod", "web").unwrap(), 2);
    for (name, lane) in [("a-version", Some(lanes[0].clone())), ("web", None), ("z-version", Some(lanes[1].clone()))] {
        let mut entry = entry(name, 1, &["web"], "/");
        entry.routing.as_mut().unwrap().scope.lane = lane;
        table.adopt(entry);
    }
    table.adopt(entry("z", 1, &["web"], "/"));
    let found_one = table.find(b"web", b"/").unwrap();
    let beside: Vec<_> = table.beside(&found_one).map(|(_, entry, _)| entry.canary.name().to_owned()).collect();
    assert_eq!(beside, ["a-version", "z-version"]);
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
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
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

#[test]
fn a_scope_may_have_several_prefixes_and_the_longest_that_fits_counts() {
    let mut table = Table::default();
    table.adopt(entry("wide", 2, &["a.com"], "/a,/b/c"));
    table.adopt(entry("narrow", 2, &["a.com"], "/a/x,/b"));
    let found = |path: &str| table.find(b"a.com", path.as_bytes()).map(|found| found.entry.canary.name().to_owned());
    for (path, expected) in [
        ("/a", Some("wide")),
        ("/a/x", Some("narrow")),
        ("/b/c/d", Some("wide")),
        ("/b/d", Some("narrow")),
        ("/checkout", None),
        ("/", None),
    ] {
        assert_eq!(found(path).as_deref(), expected, "{path}");
    }
    let merged = Scope::merged(["/b", "/a/x", "/a", "/ab", "/b"].map(String::from).to_vec());
    assert_eq!(merged, ["/a", "/b"], "sorted, and without what another covers");
}
