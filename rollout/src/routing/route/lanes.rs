//! Of several versions that share a service's traffic, the one that a request is about.

use super::{sticky_hash, sticky_value};
use crate::routing::cookie::{CookieId, IssuedCookie};
use crate::routing::lane::Lane;
use crate::routing::request::Request;
use crate::routing::table::{CanaryIndex, Entry, Found, Routing, Split, StickyKey, Table, WeightPpm};

/// The version that a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Where its entry stands in the table.
    pub index: CanaryIndex,
    /// Its entry.
    pub entry: &'a Entry,
    /// The part of it that routes.
    pub routing: &'a Routing,
    /// Whether the request belongs to a lane of which nothing is known: the primary serves it, and it is no trial.
    pub is_stray: bool,
    /// The cookie that keeps its user in this lane, with a new id, for a user without one.
    pub issued: Option<(&'a IssuedCookie, CookieId)>,
}

/// Match rules first, those of the first lane before the others; then the lane in which the hash of the user's key lies,
/// or without a key of this request's `draw`. Neither releases nor weights change that hash, so no user changes lanes.
pub fn pick_candidate<'a>(table: &'a Table, found: Found<'a>, request: Request<'_>, draw: u64) -> Candidate<'a> {
    let Found { index, entry, routing, .. } = found;
    let Some(service) = routing.scope.lane.as_ref().map(Lane::of) else {
        return Candidate { index, entry, routing, is_stray: false, issued: None };
    };
    let versions = || table.beside(&found);
    let is_ruled = |split: &Split| split.rules.iter().any(|rule| rule.fits(request));
    let ruled = versions().filter(|(_, _, routing)| routing.split.as_ref().is_some_and(is_ruled));
    if let Some((index, entry, routing)) =
        ruled.min_by_key(|(_, _, routing)| routing.scope.lane.as_ref().map(Lane::from))
    {
        return Candidate { index, entry, routing, is_stray: false, issued: None };
    }
    let splits = || versions().filter_map(|(_, _, routing)| routing.split.as_ref());
    // One manifest gives all versions the same key; those without a release have none in their entries.
    let key = splits().find_map(|split| split.sticky.as_ref());
    let value = key.and_then(|key| sticky_value(key, request));
    let id = CookieId(draw);
    let issued = match key {
        Some(StickyKey::IssuedCookie(cookie)) if value.is_none() => {
            // Also where this lane's version takes no traffic: else its users would be drawn again until they fall into one
            // that does, and all of them end there.
            splits().any(|split| split.weight > WeightPpm::ZERO).then_some((cookie, id))
        }
        _ => None,
    };
    let point = sticky_hash(service.as_str(), value.unwrap_or(&id.bytes()));
    let holds = |routing: &Routing| routing.scope.lane.as_ref().is_some_and(|lane| lane.holds(point));
    // While the lanes of a changed manifest arrive, two may hold the point: the one that is trying something needs it.
    let own = || versions().filter(|(_, _, routing)| holds(routing));
    match own().find(|(_, _, routing)| routing.split.is_some()).or_else(|| own().next()) {
        Some((index, entry, routing)) => Candidate { index, entry, routing, is_stray: false, issued },
        None => Candidate { index, entry, routing, is_stray: true, issued },
    }
}

#[cfg(test)]
mod tests;
