//! request -> route: rules first, then the sticky hash, then the weight; anything missing goes to primary.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::routing::cookie::{CookieId, IssuedCookie, MAX_VALUE_BYTES};
use crate::routing::lane::point_ppm;
use crate::routing::request::Request;
use crate::routing::table::{Routing, Split, StickyKey, Version, WeightPpm};
use serde::{Deserialize, Serialize};

mod lanes;

pub use self::lanes::{Candidate, pick_candidate};

/// How a request came to its version; only the randomised ones may be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// By a draw for this request.
    Drawn,
    /// By the hash of a user's key.
    Sticky,
    /// By a match rule.
    Matched,
    /// By no draw, to the primary: the lease is over, the fuse tripped, or the request is in a lane whose entry this
    /// worker does not have.
    FailSafe,
    /// Not at all: a copy of a request that the primary serves. Its answer is thrown away.
    Mirrored,
}

impl Placement {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drawn => "drawn",
            Self::Sticky => "sticky",
            Self::Matched => "matched",
            Self::FailSafe => "failSafe",
            Self::Mirrored => "mirrored",
        }
    }

    /// Whether the split decided: only such requests may be compared with each other.
    pub const fn is_split(self) -> bool {
        matches!(self, Self::Drawn | Self::Sticky)
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Which version serves it.
    pub version: Version,
    /// How it came to it.
    pub placement: Placement,
    /// The cookie that keeps its user there, with a new id, for a user without one.
    pub issued: Option<(&'a IssuedCookie, CookieId)>,
}

/// Which version serves a request in scope, and how it came to it. `draw` is uniform over all 64-bit values.
pub fn choose_version<'a>(routing: &'a Routing, request: Request<'_>, draw: u64) -> Route<'a> {
    let placed = |version, placement| Route { version, placement, issued: None };
    let Some(split) = &routing.split else {
        return placed(Version::Primary, Placement::Drawn);
    };
    if split.rules.iter().any(|rule| rule.fits(request)) {
        return placed(Version::Canary, Placement::Matched);
    }
    if let Some(value) = split.sticky.as_ref().and_then(|key| sticky_value(key, request)) {
        return placed(side(split, sticky_hash(&split.salt, value)), Placement::Sticky);
    }
    // Without a share there is nothing yet to stay on.
    if let Some(StickyKey::IssuedCookie(cookie)) = split.sticky.as_ref().filter(|_| split.weight > WeightPpm::ZERO) {
        // The hash decides from the first request on, so that the second one is served by the same version.
        let id = CookieId(draw);
        let version = side(split, sticky_hash(&split.salt, &id.bytes()));
        return Route { version, placement: Placement::Sticky, issued: Some((cookie, id)) };
    }
    placed(side(split, draw), Placement::Drawn)
}

/// Whether the canary gets a copy of a request that the primary serves. `draw` is another one than the route's.
pub fn is_mirrored(split: &Split, draw: u64) -> bool {
    is_below(split.mirror, draw)
}

/// A user's place on the line from 0 to 2^64: the same for a salt and key at any time and on every machine.
pub fn sticky_hash(salt: &str, key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(salt.as_bytes());
    hasher.write_u8(0);
    hasher.write(key);
    hasher.finish()
}

/// Who sends a request, as a number: by the key of stickiness, else by the client's address. `None` where neither is known.
pub fn user(split: &Split, request: Request<'_>) -> Option<u64> {
    let by_key = split.sticky.as_ref().and_then(|key| sticky_value(key, request));
    let user = by_key.or_else(|| sticky_value(&StickyKey::ClientAddress, request))?;
    Some(sticky_hash(&split.salt, user))
}

/// Monotone: what lies below a weight's boundary lies below every greater one's.
fn side(split: &Split, point: u64) -> Version {
    if is_below(split.weight, point) { Version::Canary } else { Version::Primary }
}

fn is_below(share: WeightPpm, point: u64) -> bool {
    point_ppm(point) < share.ppm()
}

fn sticky_value<'a>(key: &StickyKey, request: Request<'a>) -> Option<&'a [u8]> {
    let value = match key {
        StickyKey::Header(name) => request.first(name),
        StickyKey::Cookie(name) => request.cookie(name),
        StickyKey::IssuedCookie(cookie) => {
            request.cookie(cookie.name()).map(|value| value.get(..MAX_VALUE_BYTES).unwrap_or(value))
        }
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
mod tests;
