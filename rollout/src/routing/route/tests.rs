//! Who is served by which version: the laws of the split, by draw, by key and by the cookie that is issued.

use proptest::prelude::*;

use super::*;
use crate::base::names::Upstream;
use crate::base::time::Millis;
use crate::routing::cookie::CookieSpec;
use crate::routing::measurement::{Measurement, WarmUp};
use crate::routing::request::{MatchRule, StringMatch};
use crate::routing::table::{Scope, WHOLE_PPM};

fn routing(weight_ppm: u32, sticky: Option<StickyKey>) -> Routing {
    Routing {
        scope: Scope { hosts: vec!["*".into()], path_prefixes: vec!["/".into()], lane: None },
        primary: Upstream::parse("web-primary").unwrap(),
        split: Some(Split {
            canary: Upstream::parse("web-canary").unwrap(),
            weight: WeightPpm::new(weight_ppm).unwrap(),
            mirror: WeightPpm::ZERO,
            rules: vec![MatchRule {
                headers: vec![("x-beta".into(), StringMatch::Exact("yes".into()))],
                ..MatchRule::default()
            }],
            sticky,
            salt: "prod/web#1".into(),
            slot: Millis(100),
            latency_limit: None,
            measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
            fuse: None,
        }),
    }
}

fn by_user(weight_ppm: u32, user: &[u8], draw: u64) -> (Version, Placement) {
    let routing = routing(weight_ppm, Some(StickyKey::Header("user".into())));
    placed(&routing, &[(b"user", user)], draw)
}

fn placed(routing: &Routing, headers: &[(&[u8], &[u8])], draw: u64) -> (Version, Placement) {
    let Route { version, placement, issued } = choose_version(routing, Request { headers, client_address: None }, draw);
    assert_eq!(issued, None);
    (version, placement)
}

#[test]
fn the_hash_never_changes() {
    // Golden values: a change here would move every user of every running release.
    assert_eq!(sticky_hash("prod/web#1", b"ana"), 15_293_879_074_913_069_868);
    assert_eq!(sticky_hash("", b""), 7541581120933061747);
}

#[test]
fn rules_come_before_stickiness_and_weight() {
    let nobody = routing(0, Some(StickyKey::Header("user".into())));
    let headers: &[(&[u8], &[u8])] = &[(b"x-beta", b"yes"), (b"user", b"ana")];
    assert_eq!(placed(&nobody, headers, 0), (Version::Canary, Placement::Matched));
    let over = Routing { split: None, ..nobody };
    assert_eq!(placed(&over, headers, 0), (Version::Primary, Placement::Drawn), "pinned users leave with the split");
}

fn issuing(weight_ppm: u32) -> Routing {
    routing(weight_ppm, Some(StickyKey::IssuedCookie(IssuedCookie::new(CookieSpec::named("id")).unwrap())))
}

fn with_cookie(weight_ppm: u32, cookie: &[u8], draw: u64) -> (Version, Placement) {
    placed(&issuing(weight_ppm), &[(b"cookie", cookie)], draw)
}

#[test]
fn a_cookie_is_issued_to_whoever_the_split_places_without_one() {
    let request = |headers| Request { headers, client_address: None };
    let split = issuing(WHOLE_PPM / 2);
    let issued = |routing: &Routing, headers| choose_version(routing, request(headers), 7).issued.map(|(_, id)| id);
    assert_eq!(issued(&split, &[]), Some(CookieId(7)));
    assert_eq!(issued(&split, &[(b"cookie", b"theme=dark; idx=1")]), Some(CookieId(7)));
    assert_eq!(issued(&split, &[(b"cookie", b"id=")]), Some(CookieId(7)), "an empty value holds nobody");
    assert_eq!(issued(&split, &[(b"cookie", b"id=\xff\0")]), None, "whatever it is, it is a key");
    assert_eq!(issued(&split, &[(b"x-beta", b"yes")]), None, "a rule keeps its users by itself");
    assert_eq!(issued(&issuing(0), &[]), None, "there is no share to be in");
    assert_eq!(issued(&Routing { split: None, ..split }, &[]), None, "no release is on");
}

#[test]
fn of_a_long_value_only_the_beginning_counts() {
    let value = |last: u8| [b"id=".to_vec(), vec![b'x'; MAX_VALUE_BYTES], vec![last; 60_000]].concat();
    for weight in (0..=WHOLE_PPM).step_by(50_000) {
        assert_eq!(with_cookie(weight, &value(b'a'), 0), with_cookie(weight, &value(b'b'), 0));
    }
}

#[test]
fn a_client_address_counts_without_its_port() {
    for (address, host) in [
        ("10.0.0.1:1234", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("fe80::1", "fe80::1"),
        ("", ""),
    ] {
        assert_eq!(without_port(address.as_bytes()), host.as_bytes());
    }
}

#[test]
fn the_ends_of_the_scale_are_exact() {
    for draw in [0, 1, u64::MAX / 2, u64::MAX] {
        assert_eq!(placed(&routing(0, None), &[], draw).0, Version::Primary);
        assert_eq!(placed(&routing(WHOLE_PPM, None), &[], draw).0, Version::Canary);
    }
}

proptest! {
    #[test]
    fn a_greater_weight_only_adds_users(user: Vec<u8>, draw: u64, low in 0..=WHOLE_PPM, more in 0..=WHOLE_PPM) {
        let high = (low + more).min(WHOLE_PPM);
        if by_user(low, &user, draw).0 == Version::Canary {
            prop_assert_eq!(by_user(high, &user, draw).0, Version::Canary);
        }
    }

    #[test]
    fn a_users_version_does_not_depend_on_the_draw(user in prop::collection::vec(any::<u8>(), 1..40), a: u64, b: u64, weight in 0..=WHOLE_PPM) {
        prop_assert_eq!(by_user(weight, &user, a), by_user(weight, &user, b));
    }

    #[test]
    fn whoever_keeps_the_cookie_stays_and_a_greater_weight_only_adds(
        draw: u64, later: u64, low in 1..=WHOLE_PPM, more in 0..=WHOLE_PPM,
    ) {
        let (low_routing, high) = (issuing(low), (low + more).min(WHOLE_PPM));
        let first = choose_version(&low_routing, Request { headers: &[], client_address: None }, draw);
        let (_, id) = first.issued.unwrap();
        let cookie = format!("a=b; id={id}");
        prop_assert_eq!(with_cookie(low, cookie.as_bytes(), later), (first.version, Placement::Sticky));
        if first.version == Version::Canary {
            prop_assert_eq!(with_cookie(high, cookie.as_bytes(), later).0, Version::Canary);
        }
    }

    #[test]
    fn any_value_of_the_cookie_is_a_user(value in prop::collection::vec(any::<u8>(), 1..300), a: u64, b: u64, weight in 0..=WHOLE_PPM) {
        prop_assume!(!value.contains(&b';') && !value.trim_ascii().is_empty());
        let cookie = [b"id=".as_slice(), &value].concat();
        let first = with_cookie(weight, &cookie, a);
        prop_assert_eq!(first.1, Placement::Sticky);
        prop_assert_eq!(first, with_cookie(weight, &cookie, b));
    }

    #[test]
    fn new_users_are_split_by_weight(seed: u64, weight in (WHOLE_PPM / 20)..=(WHOLE_PPM * 19 / 20)) {
        let routing = issuing(weight);
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        let on_canary = (0..2_000u64).filter(|n| {
            let draw = seed.wrapping_add(n.wrapping_mul(gamma));
            choose_version(&routing, Request { headers: &[], client_address: None }, draw).version == Version::Canary
        });
        let share = on_canary.count() as f64 / 2_000.0;
        let p = f64::from(weight) / f64::from(WHOLE_PPM);
        // Six standard deviations: once in 5e8.
        let bound = 6.0 * (p * (1.0 - p) / 2_000.0).sqrt();
        prop_assert!((share - p).abs() <= bound, "{} of new users at {}", share, p);
    }
}
