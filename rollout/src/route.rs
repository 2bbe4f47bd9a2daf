//! request -> route: rules first, then the sticky hash, then the weight; anything missing goes to primary.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::matching::Request;
use crate::table::{Routing, Split, StickyKey, Version, WHOLE_PPM};
use serde::{Deserialize, Serialize};

/// How a request came to its version; only the randomised ones may be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// By a draw for this request.
    Drawn,
    /// By the hash of a user's key.
    Sticky,
    /// By a match rule; or to primary, because a lease or a fuse has ended the canary's share.
    Forced,
}

impl Placement {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drawn => "drawn",
            Self::Sticky => "sticky",
            Self::Forced => "forced",
        }
    }
}

/// Which version serves a request in scope, and how it came to it. `draw` is uniform over all 64-bit values.
pub fn route(routing: &Routing, request: Request<'_>, draw: u64) -> (Version, Placement) {
    let Some(split) = &routing.split else {
        return (Version::Primary, Placement::Drawn);
    };
    if split.rules.iter().any(|rule| rule.fits(request)) {
        return (Version::Canary, Placement::Forced);
    }
    match split.sticky.as_ref().and_then(|key| sticky_value(key, request)) {
        Some(key) => (side(split, sticky_hash(&split.salt, key)), Placement::Sticky),
        None => (side(split, draw), Placement::Drawn),
    }
}

/// A user's place on the line from 0 to 2^64: the same for a salt and key, for ever and on every machine.
pub fn sticky_hash(salt: &str, key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(salt.as_bytes());
    hasher.write_u8(0);
    hasher.write(key);
    hasher.finish()
}

/// Monotone: what lies below a weight's boundary lies below every greater one's.
fn side(split: &Split, point: u64) -> Version {
    let ppm = (u128::from(point) * u128::from(WHOLE_PPM)) >> 64;
    if ppm < u128::from(split.weight.ppm()) { Version::Canary } else { Version::Primary }
}

fn sticky_value<'a>(key: &StickyKey, request: Request<'a>) -> Option<&'a [u8]> {
    let value = match key {
        StickyKey::Header(name) => request.first(name),
        StickyKey::Cookie(name) => request.cookie(name),
        StickyKey::ClientAddress => request.client_address.map(without_port),
    };
    value.filter(|value| !value.is_empty())
}

fn without_port(address: &[u8]) -> &[u8] {
    let end = match address.first() {
        Some(b'[') => address.iter().position(|b| *b == b']').map(|at| at + 1),
        _ if address.iter().filter(|b| **b == b':').count() > 1 => None,
        _ => address.iter().position(|b| *b == b':'),
    };
    end.and_then(|end| address.get(..end)).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::{MatchRule, StringMatch};
    use crate::names::Upstream;
    use crate::table::{Scope, WeightPpm};
    use crate::time::Millis;

    fn routing(weight_ppm: u32, sticky: Option<StickyKey>) -> Routing {
        Routing {
            scope: Scope { hosts: vec!["*".into()], path_prefix: "/".into() },
            primary: Upstream::parse("web-primary").unwrap(),
            split: Some(Split {
                canary: Upstream::parse("web-canary").unwrap(),
                weight: WeightPpm::new(weight_ppm).unwrap(),
                rules: vec![MatchRule {
                    headers: vec![("x-beta".into(), StringMatch::Exact("yes".into()))],
                    ..MatchRule::default()
                }],
                sticky,
                salt: "prod/web#1".into(),
                slot: Millis(100),
                latency_limit: None,
                fuse: None,
            }),
        }
    }

    fn by_user(weight_ppm: u32, user: &[u8], draw: u64) -> (Version, Placement) {
        let routing = routing(weight_ppm, Some(StickyKey::Header("user".into())));
        route(&routing, Request { headers: &[(b"user", user)], client_address: None }, draw)
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
        let request = Request { headers: &[(b"x-beta", b"yes"), (b"user", b"ana")], client_address: None };
        assert_eq!(route(&nobody, request, 0), (Version::Canary, Placement::Forced));
        let over = Routing { split: None, ..nobody };
        assert_eq!(route(&over, request, 0), (Version::Primary, Placement::Drawn), "pinned users leave with the split");
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
            let request = Request { headers: &[], client_address: None };
            assert_eq!(route(&routing(0, None), request, draw).0, Version::Primary);
            assert_eq!(route(&routing(WHOLE_PPM, None), request, draw).0, Version::Canary);
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
    }
}
