//! Several versions at once: who is asked to which, and that no version's release touches another's users.

use proptest::prelude::*;

use super::*;
use crate::base::names::{CanaryId, Upstream};
use crate::base::time::Millis;
use crate::routing::cookie::CookieSpec;
use crate::routing::measurement::{Measurement, WarmUp};
use crate::routing::request::{MatchRule, StringMatch};
use crate::routing::route::{Placement, choose_version};
use crate::routing::table::{Epoch, Scope, Version};

const NAMES: [&str; 3] = ["blue", "green", "red"];

fn web() -> CanaryId {
    CanaryId::new("prod", "web").unwrap()
}

/// Blue, green and red with these shares of all traffic; none: no release is on.
fn table(shares_ppm: [Option<u32>; 3], sticky: Option<&StickyKey>, salt: &str) -> Table {
    let mut table = Table::default();
    for ((lane, name), share) in Lane::equal(&web(), 3).into_iter().zip(NAMES).zip(shares_ppm) {
        let scope = Scope { lane: Some(lane), ..Scope::of_service(&web()) };
        let rule =
            MatchRule { headers: vec![("x-version".into(), StringMatch::Exact(name.into()))], ..MatchRule::default() };
        let split = share.map(|share| Split {
            canary: Upstream::parse(&format!("web-{name}")).unwrap(),
            weight: scope.within(WeightPpm::new(share).unwrap()),
            mirror: WeightPpm::ZERO,
            rules: vec![rule],
            sticky: sticky.cloned(),
            salt: format!("{name}{salt}"),
            slot: Millis(100),
            latency_limit: None,
            measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
            fuse: None,
        });
        let routing = Routing { scope, primary: Upstream::parse("web-primary").unwrap(), split };
        table.adopt(Entry { canary: web().version(name).unwrap(), epoch: Epoch(1), routing: Some(routing) });
    }
    table
}

/// Which version a request is about, where it goes, and the cookie that it is given.
fn served(table: &Table, headers: &[(&[u8], &[u8])], draw: u64) -> (String, Version, Placement, Option<String>) {
    let request = Request { headers, client_address: None };
    let lot = pick_candidate(table, table.find(b"web", b"/").unwrap(), request, draw);
    assert!(!lot.is_stray);
    let routed = choose_version(lot.routing, request, draw);
    let cookie = routed.issued.or(lot.issued).map(|(cookie, id)| cookie.set_cookie(id));
    let (_, version) = lot.entry.canary.name().split_once('.').unwrap();
    (version.to_owned(), routed.version, routed.placement, cookie)
}

/// SplitMix64 over a counter, so that draws are spread.
fn spread(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

/// Share of all requests that each version's canary got, and that its lane got.
fn shares(table: &Table, requests: u64, header: impl Fn(u64) -> String) -> [(f64, f64); 3] {
    let mut counts = [(0u64, 0u64); 3];
    for n in 0..requests {
        let key = header(n);
        let (name, version, ..) = served(table, &[(b"x-user", key.as_bytes())], spread(n));
        let count = &mut counts[NAMES.iter().position(|known| *known == name).unwrap()];
        count.0 += u64::from(version == Version::Canary);
        count.1 += 1;
    }
    counts.map(|(canary, lane)| (canary as f64 / requests as f64, lane as f64 / requests as f64))
}

#[test]
fn each_version_gets_its_share_of_all_traffic_and_a_control_group_of_its_own() {
    for sticky in [None, Some(StickyKey::Header("x-user".into()))] {
        let table = table([Some(50_000), Some(200_000), None], sticky.as_ref(), "#1");
        let seen = shares(&table, 60_000, |n| format!("user-{n}"));
        for ((canary, lane), expected) in seen.into_iter().zip([0.05, 0.2, 0.0]) {
            // Four standard deviations of a share of a half.
            assert!((canary - expected).abs() < 0.0082, "{canary} is far from {expected} with {sticky:?}");
            assert!((lane - 1.0 / 3.0).abs() < 0.0082, "{lane} is far from a third with {sticky:?}");
        }
    }
}

#[test]
fn a_rule_places_whatever_the_lane_and_the_first_lane_has_the_first_word() {
    let table = table([Some(0), Some(0), None], None, "");
    for draw in (0..100).map(spread) {
        let (name, version, placement, _) = served(&table, &[(b"x-version", b"green")], draw);
        assert_eq!((name.as_str(), version, placement), ("green", Version::Canary, Placement::Matched));
        let both: &[(&[u8], &[u8])] = &[(b"x-version", b"green"), (b"x-version", b"blue")];
        assert_eq!(served(&table, both, draw).0, "blue");
        assert_eq!(served(&table, &[(b"x-version", b"red")], draw).1, Version::Primary, "red has no release");
    }
}

#[test]
fn who_has_no_cookie_gets_one_in_every_lane_and_stays_where_he_was() {
    let cookie = IssuedCookie::new(CookieSpec::named("lane")).unwrap();
    let table = table([Some(100_000), None, None], Some(&StickyKey::IssuedCookie(cookie)), "#7");
    let mut lanes = [0; 3];
    for n in 0..300 {
        let (name, version, _, issued) = served(&table, &[], spread(n));
        lanes[NAMES.iter().position(|known| *known == name).unwrap()] += 1;
        let issued = issued.expect("a cookie in every lane, or users would be drawn until blue has them all");
        let value = issued.split(';').next().unwrap().to_owned();
        let again = served(&table, &[(b"cookie", value.as_bytes())], spread(n + 1_000_000));
        assert_eq!((again.0, again.1, again.3), (name, version, None));
    }
    assert!(lanes.iter().all(|users| *users > 60), "{lanes:?}");
}

#[test]
fn where_nobody_takes_requests_nobody_needs_a_cookie() {
    let cookie = IssuedCookie::new(CookieSpec::named("lane")).unwrap();
    let table = table([Some(0), None, None], Some(&StickyKey::IssuedCookie(cookie)), "#7");
    assert!((0..50).all(|n| served(&table, &[], spread(n)).3.is_none()));
}

#[test]
fn a_lane_of_which_nothing_is_known_belongs_to_the_primary() {
    let mut table = table([Some(333_333), Some(333_333), Some(333_333)], None, "");
    table.adopt(Entry { canary: web().version("green").unwrap(), epoch: Epoch(2), routing: None });
    let is_stray = |draw| {
        let request = Request { headers: &[], client_address: None };
        pick_candidate(&table, table.find(b"web", b"/").unwrap(), request, draw).is_stray
    };
    let strays = (0..3000).map(spread).filter(|draw| is_stray(*draw)).count();
    assert!((850..1150).contains(&strays), "a third has no lane: {strays}");
}

proptest! {
    #[test]
    fn no_release_and_no_weight_moves_a_user_to_another_lane(
        user in "[a-z0-9]{1,12}", draw: u64, others: [Option<u32>; 3], salt in "#[0-9]{1,3}",
    ) {
        let key = StickyKey::Header("x-user".into());
        let headers: &[(&[u8], &[u8])] = &[(b"x-user", user.as_bytes())];
        let before = served(&table([Some(1), Some(1), Some(1)], Some(&key), "#1"), headers, 0);
        let shares = others.map(|share| share.map(|share| share % 333_334));
        prop_assume!(shares.iter().any(Option::is_some));
        let after = served(&table(shares, Some(&key), &salt), headers, draw);
        prop_assert_eq!(before.0, after.0);
    }

    #[test]
    fn what_the_others_do_changes_nothing_for_a_versions_users(
        user in "[a-z0-9]{1,12}", mine in 0u32..333_333, others: [u32; 4],
    ) {
        let key = StickyKey::Header("x-user".into());
        let headers: &[(&[u8], &[u8])] = &[(b"x-user", user.as_bytes())];
        let with = |green, red| {
            let shares = [Some(mine), Some(green % 333_334), Some(red % 333_334)];
            let (name, version, ..) = served(&table(shares, Some(&key), "#1"), headers, 0);
            (name == "blue").then_some(version)
        };
        prop_assert_eq!(with(others[0], others[1]), with(others[2], others[3]));
    }

    #[test]
    fn a_greater_share_only_adds_users(user in "[a-z0-9]{1,12}", low in 0u32..333_333, more in 0u32..333_333) {
        let key = StickyKey::Header("x-user".into());
        let headers: &[(&[u8], &[u8])] = &[(b"x-user", user.as_bytes())];
        let on = |share| served(&table([None, Some(share), None], Some(&key), "#1"), headers, 0).1;
        if on(low) == Version::Canary {
            prop_assert_eq!(on((low + more).min(333_333)), Version::Canary);
        }
    }
}
